"""The documentation as a site: built, every page reached by links, complete without a network, and whole on a phone."""

import contextlib
import json
import os
import queue
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from clients.browser import PATIENCE, browser
from integration.server import DEADLINE

ROOT = Path(__file__).parents[2]
PHONE = 390  # CSS pixels of width


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of the site. A link that leads nowhere ends the command (``strict``)."""
    directory = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(directory)]
    environ = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(
        command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=4 * DEADLINE, check=False
    )
    assert done.returncode == 0, done.stderr
    return directory


class Links(HTMLParser):
    """Collects what a page leads to, and what it loads."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.leads_to: list[str] = []
        self.loads: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        values = dict(attributes)
        if tag == "a":
            self.leads_to.append(values.get("href") or "")
        elif tag == "link" and values.get("rel") == "stylesheet":
            self.loads.append(values.get("href") or "")
        elif "src" in values:
            self.loads.append(values["src"] or "")


def pages(site: Path) -> Iterator[Path]:
    yield from (page for page in site.rglob("*.html") if page.name != "404.html")


def test_every_page_is_reached_from_the_first_one(site: Path) -> None:
    reached = {site / "index.html"}
    ahead = list(reached)
    while ahead:
        page = ahead.pop()
        for link in Links(page.read_text()).leads_to:
            target = (page.parent / link.partition("#")[0]).resolve()
            if ":" not in link and target.suffix == ".html" and target.is_file() and target not in reached:
                reached.add(target)
                ahead.append(target)
    assert set(pages(site)) - reached == set()
    assert len(reached) > 40


def test_nothing_is_loaded_from_elsewhere(site: Path) -> None:
    for page in pages(site):
        for name in Links(page.read_text()).loads:
            assert not re.match(r"(https?:)?//", name), (page.name, name)
            assert (page.parent / name.partition("?")[0]).exists(), (page.name, name)
    styles = "".join(style.read_text() for style in site.rglob("*.css"))
    assert re.findall(r"url\(['\"]?(?:https?:)?//|@import", styles) == []


class Probe(SimpleHTTPRequestHandler):
    """Serves the site, and takes what a script in the browser has found."""

    found: ClassVar[queue.Queue[dict[str, int]]] = queue.Queue()

    def do_POST(self) -> None:
        self.found.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(204)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Be silent."""


@contextlib.contextmanager
def served(directory: Path) -> Iterator[str]:
    """Serve a directory for a browser; give the address."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Probe, directory=str(directory))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def test_pages_fit_on_a_phone(site: Path, tmp_path: Path) -> None:
    """Each page in a frame as wide as a phone: nothing of it is wider, but what scrolls by itself."""
    names = sorted(str(page.relative_to(site)) for page in pages(site) if page.parent.name != "design")
    (site / "probe.htm").write_text(f"""<!DOCTYPE html>
<iframe id="phone" style="width:{PHONE}px;height:844px;border:0"></iframe>
<script>
const names = {json.dumps(names)}, phone = document.getElementById("phone"), widths = {{}};
let at = 0;
phone.onload = () => {{
  widths[names[at]] = phone.contentDocument.scrollingElement.scrollWidth;
  if (++at < names.length) phone.src = names[at];
  else fetch("found", {{method: "POST", body: JSON.stringify(widths)}});
}};
phone.src = names[0];
</script>""")
    with served(site) as address, browser(f"{address}/probe.htm", tmp_path):
        widths = Probe.found.get(timeout=PATIENCE)
    assert widths.keys() == set(names)
    assert {name: width for name, width in widths.items() if width > PHONE} == {}
