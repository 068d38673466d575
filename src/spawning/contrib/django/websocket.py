"""Views of Django that are WebSockets.

from spawning.contrib.django.websocket import websocket

@websocket
def chat(request, ws, room):
    for message in ws:
        ws.send(message)
"""

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.http import HttpResponse

from spawning.websocket import Refused, WebSocketWSGI

View = Callable[..., HttpResponse]


def websocket(handler: Callable[..., object] | None = None, **options: Any) -> Any:
    """Make a view of a handler, which is called with the request, the WebSocket, and what the URL says.

    :param handler: None makes a decorator.
    :param options: of :class:`~spawning.websocket.WebSocketWSGI`.
    """
    if handler is None:
        return lambda decorated: websocket(decorated, **options)
    return _view(handler, options)


def _view(handler: Callable[..., object], options: dict[str, Any]) -> View:
    @wraps(handler)
    def view(request: Any, *args: Any, **kwargs: Any) -> HttpResponse:
        opener = WebSocketWSGI(lambda ws: handler(request, ws, *args, **kwargs), **options)
        try:
            opener.serve(request.environ)
        except Refused as refused:
            status, _, reason = refused.status.partition(" ")
            return HttpResponse(f"{refused}\n", status=int(status), reason=reason, headers=dict(refused.fields))
        return HttpResponse()  # nothing of it is sent: the connection has ended

    return view
