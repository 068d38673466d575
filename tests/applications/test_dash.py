"""Plotly's Dash in a browser: each change of a field asks the server, through a reload."""

import re
import shutil
from pathlib import Path

from applications.holding import APPS, held, reload_meanwhile, serve
from clients.browser import PATIENCE, browser
from clients.page import Page
from integration.gate import Gate
from integration.server import until

TYPE = """(text => {
    const field = document.querySelector('#factor');
    Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, 'value').set.call(field, text);
    field.dispatchEvent(new Event('input', {bubbles: true}));
    field.dispatchEvent(new Event('change', {bubbles: true}));
    field.blur();
})"""


def test_a_figure_follows_a_field_through_a_reload(tmp_path: Path, gate: Gate) -> None:
    """The open page gets the new code's answers, without being loaded again."""
    site = tmp_path / "site"
    shutil.copytree(APPS, site)
    with (
        serve("dash_pages:application", gate, {"PYTHONPATH": ""}, site) as server,
        browser(server.url, tmp_path),
        Page(tmp_path, server.url) as page,
    ):
        page.wait_for("[0, 2, 4, 6]", "#told")
        until(lambda: page.run("document.querySelectorAll('#figure .bars path').length") == 4, "the bars", PATIENCE)
        first = worker(page)
        with held(gate, "POST /_dash-update-component"):
            page.run(f"{TYPE}('3')")
            source = site / "dash_pages.py"
            source.write_text(source.read_text().replace('"old"', '"new"'))
            reload_meanwhile(server, gate)
            page.wait_for("[0, 3, 6, 9]", "#told")
            assert worker(page) == first
        page.run(f"{TYPE}('5')")
        page.wait_for("[0, 5, 10, 15]", "#told")
        assert worker(page)[0] == "new"
        until(lambda: page.run("document.querySelectorAll('#figure .bars path').length") == 4, "the bars", PATIENCE)


def worker(page: Page) -> tuple[str, ...]:
    """Return which code, and which process, has answered last."""
    found = re.match(r"(\w+) (\d+) ", page.run("document.querySelector('#told').innerText"))
    assert found is not None
    return found.groups()
