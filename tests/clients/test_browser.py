"""A browser that stays open while its site is edited: Chromium, which nobody tells to load anything anew.

What it has seen, it tells the site itself: each page and each event asks for ``/seen/…``, which is in the access log.
"""

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

from clients.programs import program
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
BROWSER_SECONDS = 60.0  # to start on a loaded machine


def write(site: Path, version: str) -> None:
    (site / "site_app.py").write_text(SITE.format(version=version))


@contextlib.contextmanager
def browser(url: str, profile: Path) -> Iterator[None]:
    """Have a page open in a browser without a window."""
    options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", f"--user-data-dir={profile}"]
    with subprocess.Popen(
        [program("chromium"), *options, url], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            yield
        finally:
            process.terminate()
            process.wait()


def seen(server: Server, what: str) -> None:
    server.out.find(rf"GET /seen/{what} ", BROWSER_SECONDS)


def serve(site: Path) -> Server:
    return Server("site_app:application", "-s", "1", "--reload", "dev", cwd=site)


def test_an_event_stream_goes_on_with_the_new_code(tmp_path: Path) -> None:
    write(tmp_path, "1")
    with serve(tmp_path) as server, browser(server.url, tmp_path / "profile"):
        seen(server, "event-1")
        write(tmp_path, "2")
        seen(server, "event-2")


def test_a_page_about_broken_code_comes_back_by_itself(tmp_path: Path) -> None:
    write(tmp_path, "1")
    with serve(tmp_path) as server:
        write(tmp_path, "undefined")
        server.wait_for_log(r" traceback served ")
        with browser(f"{server.url}/some/page?a=b#here", tmp_path / "profile"):
            server.out.find(r"GET /some/page\?spawning-refusal .* 200 |GET /some/page\?a=b .* 503 ", BROWSER_SECONDS)
            mark = server.mark()
            write(tmp_path, "undefined_again")
            server.wait_for_log(r" traceback served ", after=mark)
            server.out.find(r"HEAD /some/page", BROWSER_SECONDS)  # it has noticed, and loads that page
            write(tmp_path, "2")
            seen(server, "page-2")
