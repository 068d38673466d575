"""An application with one path for each thing that HTTP and WSGI tests ask for: ``spawn basics.application``."""

import contextlib
import io
import json
import os
import select
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

Environ = dict[str, Any]
StartResponse = Callable[..., Any]

TEXT = ("Content-Type", "text/plain")


def hello(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    return _respond(start_response, b"Hello, world!\n")


def accept(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Accept CONNECT: everything until the end of the connection is the answer."""
    start_response("200 Connection established", [])
    return [f"connected to {environ['RAW_URI']}".encode()]


def echo(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    return _respond(start_response, environ["wsgi.input"].read())


def echo_lines(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Read the body line by line, go back to its beginning and read it again: the input is complete and seekable."""
    source = environ["wsgi.input"]
    lines = list(source)
    source.seek(0)
    assert b"".join(lines) == source.read()
    return _respond(start_response, str(len(lines)).encode())


def show_environ(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    shown = {name: value for name, value in environ.items() if isinstance(value, str | bool | tuple)}
    return _respond(start_response, json.dumps({**shown, "pid": os.getpid()}).encode())


def status(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Answer with the status in the query, without a body."""
    start_response(f"{_query(environ, 'code')} Whatever", [])
    return []


def repeat(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Answer with as many bytes as asked for, length known."""
    return _respond(start_response, b"x" * int(_query(environ, "bytes")))


def stream(environ: Environ, start_response: StartResponse) -> Iterator[bytes]:
    """Answer with ten parts and an empty one, length unknown."""
    start_response("200 OK", [TEXT])
    for number in range(10):
        yield f"part {number}\n".encode()
        yield b""


def write(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Use the ``write`` callable of old."""
    start_response("200 OK", [TEXT])(b"written, ")
    return [b"returned"]


def file(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Send the file in the query through ``wsgi.file_wrapper``."""
    path = Path(_query(environ, "path"))
    start_response("200 OK", [TEXT, ("Content-Length", str(path.stat().st_size))])
    wrapped: Iterable[bytes] = environ["wsgi.file_wrapper"](path.open("rb"), 4096)
    return wrapped


def file_like(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """The same with something that has no descriptor."""
    start_response("200 OK", [TEXT])
    wrapped: Iterable[bytes] = environ["wsgi.file_wrapper"](io.BytesIO(b"y" * 100_000))
    return wrapped


def hold(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Enter a gate (``integration/gate.py``) and wait to be let out."""
    gate = Path(_query(environ, "gate"))
    leave = os.open(gate / "leave", os.O_RDONLY)
    entered = os.open(gate / "entered", os.O_WRONLY)
    os.write(entered, b".")
    _read(leave)
    os.close(leave)
    os.close(entered)
    return _respond(start_response, b"held\n")


def _read(descriptor: int) -> bytes:
    """Read a byte. With ``-t 0`` it is gevent that waits for it, in the place of ``select``."""
    os.set_blocking(descriptor, False)
    while True:
        select.select([descriptor], [], [])
        with contextlib.suppress(BlockingIOError):  # others wait for such a byte as well
            return os.read(descriptor, 1)


def raise_early(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    raise LookupError("early on purpose")


def raise_started(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", [TEXT])
    raise LookupError("started on purpose")


def raise_late(environ: Environ, start_response: StartResponse) -> Iterator[bytes]:
    start_response("200 OK", [TEXT])
    yield b"so far so good\n"
    raise LookupError("late on purpose")


def not_bytes(environ: Environ, start_response: StartResponse) -> Iterable[Any]:
    start_response("200 OK", [TEXT])
    return ["text"]


def too_short(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", [TEXT, ("Content-Length", "10")])
    return [b"12345"]


def too_long(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", [TEXT, ("Content-Length", "5")])
    return [b"1234567890"]


def streamed(application: Callable[[Environ, StartResponse], Iterable[bytes]]) -> Callable[..., Iterable[bytes]]:
    """Send what an application returns in pieces, so that its length is not known before the head goes out."""

    def in_pieces(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        (content,) = application(environ, start_response)
        return (piece for piece in (content[:3], content[3:]))

    return in_pieces


def split_header(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", [TEXT, ("X-Split", "a\r\nX-Injected: b")])
    return [b""]


def recovered(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Replace the response by an error page (PEP 3333, `exc_info`)."""
    start_response("200 OK", [TEXT])
    try:
        int("no number")
    except ValueError:
        start_response("503 Service Unavailable", [TEXT], sys.exc_info())
    return [b"sorry\n"]


class Closing:
    """A body that leaves a file behind when it is closed."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __iter__(self) -> Iterator[bytes]:
        while True:
            yield b"z" * 65536

    def close(self) -> None:
        with self.path.open("a") as file:
            file.write("closed\n")


def endless(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", [TEXT])
    return Closing(Path(_query(environ, "path")))


PATHS = {
    "/": hello,
    "": accept,
    "/hello": hello,
    "/echo": echo,
    "/echo-lines": echo_lines,
    "/environ": show_environ,
    "/status": status,
    "/repeat": repeat,
    "/stream": stream,
    "/write": write,
    "/file": file,
    "/file-like": file_like,
    "/hold": hold,
    "/raise-early": raise_early,
    "/raise-started": raise_started,
    "/raise-late": raise_late,
    "/not-bytes": not_bytes,
    "/too-short": too_short,
    "/too-long": too_long,
    "/too-short-stream": streamed(too_short),
    "/too-long-stream": streamed(too_long),
    "/split-header": split_header,
    "/recovered": recovered,
    "/endless": endless,
}


def application(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Dispatch by path."""
    return PATHS.get(environ["PATH_INFO"], show_environ)(environ, start_response)


def _respond(start_response: StartResponse, body: bytes) -> list[bytes]:
    start_response("200 OK", [TEXT, ("Content-Length", str(len(body)))])
    return [body]


def _query(environ: Environ, name: str) -> str:
    value: str = parse_qs(environ["QUERY_STRING"])[name][0]
    return value
