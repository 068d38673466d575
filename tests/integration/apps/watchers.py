"""Applications that wait where the server cannot wake them, and are told of their clients' going:
``spawn watchers.application``.
"""

import os
import queue
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

Environ = dict[str, Any]
StartResponse = Callable[..., Any]


def stream(environ: Environ, start_response: StartResponse) -> Iterator[bytes]:
    """Wait for an event that never comes; with ``?begun`` behind a first block, else yield nothing at all."""
    start_response("200 OK", [("Content-Type", "text/event-stream")])
    events = queue.Queue[None]()
    environ["spawning.client_disconnected"].call(lambda: events.put(None))
    _say(environ, "waits")
    try:
        if environ["QUERY_STRING"].startswith("begun"):
            yield b"begun"
        events.get()
    finally:
        _say(environ, "closed")


def page(environ: Environ, start_response: StartResponse) -> list[bytes]:
    """Wait before there is any response."""
    gone = threading.Event()
    environ["spawning.client_disconnected"].call(gone.set)
    _say(environ, "waits")
    gone.wait()
    _say(environ, "closed")
    return respond(start_response, b"")


def quick(environ: Environ, start_response: StartResponse) -> list[bytes]:
    """Answer at once, and want to be told all the same."""
    environ["spawning.client_disconnected"].call(lambda: _say(environ, "told"))
    return respond(start_response, b"quick")


def wrong(environ: Environ, start_response: StartResponse) -> list[bytes]:
    """Have something called that raises, and something that ends the program, before what wakes this."""
    gone = threading.Event()
    disconnected = environ["spawning.client_disconnected"]
    disconnected.call(lambda: 1 / 0)
    disconnected.call(lambda: sys.exit(3))
    disconnected.call(gone.set)
    _say(environ, "waits")
    gone.wait()
    _say(environ, "closed")
    return respond(start_response, b"")


def nothing(environ: Environ, start_response: StartResponse) -> list[bytes]:
    """Give what cannot be called."""
    try:
        environ["spawning.client_disconnected"].call(None)
    except TypeError as error:
        return respond(start_response, str(error).encode())
    return respond(start_response, b"")


def pid(environ: Environ, start_response: StartResponse) -> list[bytes]:
    return respond(start_response, str(os.getpid()).encode())


def _say(environ: Environ, what: str) -> None:
    environ["wsgi.errors"].write(f"{environ['PATH_INFO']}?{environ['QUERY_STRING']} {what}\n")


def respond(start_response: StartResponse, body: bytes) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]


PATHS: dict[str, Callable[[Environ, StartResponse], Iterable[bytes]]] = {
    f"/{each.__name__}": each for each in (stream, page, quick, wrong, nothing, pid)
}


def application(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Dispatch by path."""
    return PATHS[environ["PATH_INFO"]](environ, start_response)
