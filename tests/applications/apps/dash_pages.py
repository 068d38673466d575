"""A figure of Plotly's that follows a field: each change asks the server."""

import os

from dash import Dash, Input, Output, dcc, html
from held import held

VERSION = "old"

dash = Dash(__name__)
dash.layout = html.Div(
    [dcc.Input(id="factor", type="number", value=2), html.P(id="told"), dcc.Graph(id="figure")]
)  # fmt: skip


@dash.callback(Output("told", "children"), Output("figure", "figure"), Input("factor", "value"))
def draw(factor: int) -> tuple[str, dict[str, object]]:
    heights = [factor * each for each in range(4)]
    return f"{VERSION} {os.getpid()} {heights}", {"data": [{"type": "bar", "y": heights}]}


application = held(dash.server)
