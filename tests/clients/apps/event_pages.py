"""A page that reads an event stream, as recipes write one, and tells the server of each event that it gets.

A stream has two events, and the second waits at the gate in the directory that ``GATE`` names; then it ends, and the
browser asks for the next one. Events have numbers, which go on in the next stream, and name the version of the code:
what stood in ``VERSION_FILE`` when this was imported.
"""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

VERSION = Path(os.environ["VERSION_FILE"]).read_text()

PAGE = b"""\
<!doctype html>
<title>Events</title>
<script>
const tell = (text) => fetch("/tell", {method: "POST", body: text});
const source = new EventSource("/events");
source.onmessage = (event) => tell(`event ${event.data}`);
source.onerror = () => source.readyState === EventSource.CLOSED && tell("the browser gave up");
</script>
"""


def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    if environ["PATH_INFO"] == "/events":
        start_response(
            "200 OK",
            [("Content-Type", "text/event-stream"), ("Cache-Control", "no-cache"), ("Connection", "keep-alive")],
        )
        return events(int(environ.get("HTTP_LAST_EVENT_ID", "0")))
    if environ["PATH_INFO"] == "/tell":
        environ["wsgi.errors"].write(f"told: {environ['wsgi.input'].read().decode()}\n")
    start_response("200 OK", [("Content-Type", "text/html")])
    return [PAGE]


def events(last: int) -> Iterator[bytes]:
    """Yield two events; the browser is to come back at once when they end."""
    yield b"retry: 10\n\n"
    yield event(last + 1)
    with Path(os.environ["GATE"], "leave").open("rb", buffering=0) as leave:
        leave.read(1)
    yield event(last + 2)


def event(number: int) -> bytes:
    return f"id: {number}\ndata: {number} of version {VERSION}\n\n".encode()
