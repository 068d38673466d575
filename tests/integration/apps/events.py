"""An endless stream of events, which says when it has ended."""

from collections.abc import Callable, Iterator
from threading import Event
from typing import Any

PAUSE = 0.02  # seconds between two events; the thread waits, so the route gets threads


class Stream:
    """Events until its client has gone."""

    def __init__(self, environ: dict[str, Any]) -> None:
        self._errors = environ["wsgi.errors"]
        self._pause = Event()

    def __iter__(self) -> Iterator[bytes]:
        while not self._pause.wait(PAUSE):
            yield b"data: tick\n\n"

    def close(self) -> None:
        self._errors.write("the stream has ended\n")


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
    if environ["PATH_INFO"] == "/events":
        start_response("200 OK", [("Content-Type", "text/event-stream")])
        return Stream(environ)
    body = environ["wsgi.input"].read() or b"Hello, world!\n"
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [body]
