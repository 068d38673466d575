"""A browser that stays open while its site is edited: Chromium, which nobody tells to load anything anew.

What it has seen, it tells the site itself: each page and each event asks for ``/seen/…``, which is in the access log.
"""

from pathlib import Path

from clients.browser import PATIENCE, browser
from integration.server import Server

SITE = """\
import threading

VERSION = {version}
PAGE = b'''<!doctype html><title>site</title><script>
fetch("/seen/page-%d");
new EventSource("/events").onmessage = event => fetch("/seen/event-" + event.data);
</script>'''


def application(environ, start_response):
    if environ["PATH_INFO"] == "/events":
        start_response("200 OK", [("Content-Type", "text/event-stream")])
        return events()
    start_response("200 OK", [("Content-Type", "text/html")])
    return [PAGE % VERSION]


def events():
    yield b"retry: 100\\ndata: %d\\n\\n" % VERSION
    threading.Event().wait()
"""


def write(site: Path, version: str) -> None:
    (site / "site_app.py").write_text(SITE.format(version=version))


def seen(server: Server, what: str) -> None:
    server.out.find(rf"GET /seen/{what} ", PATIENCE)


def serve(site: Path) -> Server:
    return Server("site_app:application", "-s", "1", "--reload", "dev", cwd=site)


def test_an_event_stream_goes_on_with_the_new_code(tmp_path: Path) -> None:
    write(tmp_path, "1")
    with serve(tmp_path) as server, browser(server.url, tmp_path):
        seen(server, "event-1")
        write(tmp_path, "2")
        seen(server, "event-2")


def test_a_page_about_broken_code_comes_back_by_itself(tmp_path: Path) -> None:
    write(tmp_path, "1")
    with serve(tmp_path) as server:
        write(tmp_path, "undefined")
        server.wait_for_log(r" traceback served ")
        with browser(f"{server.url}/some/page?a=b#here", tmp_path):
            server.out.find(r"GET /some/page\?spawning-refusal .* 200 |GET /some/page\?a=b .* 503 ", PATIENCE)
            mark = server.mark()
            write(tmp_path, "undefined_again")
            server.wait_for_log(r" traceback served ", after=mark)
            server.out.find(r"HEAD /some/page", PATIENCE)  # it has noticed, and loads that page
            write(tmp_path, "2")
            seen(server, "page-2")
