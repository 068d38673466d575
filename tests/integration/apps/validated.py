"""An application in ``wsgiref.validate``, which fails each request in which server or application break PEP 3333."""

import io
import sys
from collections.abc import Iterable, Iterator
from typing import Any
from wsgiref.validate import validator

from pep3333 import respond  # type: ignore[import-not-found]  # found in the server's working directory

Environ = dict[str, Any]

TEXT = ("Content-Type", "text/plain")


def read_everything(environ: Environ, start_response: Any) -> Iterable[bytes]:
    """Read the body in every way, a part of it each; all of it comes back."""
    source = environ["wsgi.input"]
    parts = [source.read(2), source.readline(), source.readline(3), *source.readlines(1)]
    parts += [next(iter(source), b""), source.read(1 << 20)]
    assert source.read(1) == source.readline() == b""
    found: Iterable[bytes] = respond(start_response, b"".join(parts))
    return found


def generate(environ: Environ, start_response: Any) -> Iterator[bytes]:
    start_response("200 OK", [TEXT])
    yield b""
    yield b"one, "
    print("generating", file=environ["wsgi.errors"])
    yield b"two"


def use_write(environ: Environ, start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", [TEXT])(b"written, ")
    return [b"returned"]


def recover(environ: Environ, start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", [TEXT])
    try:
        int("no number")
    except ValueError:
        start_response("503 Service Unavailable", [TEXT], sys.exc_info())
    return [b"sorry"]


def wrap_file(environ: Environ, start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", [TEXT])
    wrapped: Iterable[bytes] = environ["wsgi.file_wrapper"](io.BytesIO(b"content"), 3)
    return wrapped


def nothing(environ: Environ, start_response: Any) -> Iterable[bytes]:
    start_response(f"{environ['QUERY_STRING']} Nothing", [])
    return []


def hint(environ: Environ, start_response: Any) -> Iterable[bytes]:
    environ["wsgi.early_hints"]([("Link", "</a.css>; rel=preload")])
    found: Iterable[bytes] = respond(start_response, str(environ["spawning.client_disconnected"]()).encode())
    return found


def tell(environ: Environ, start_response: Any) -> Iterable[bytes]:
    found: Iterable[bytes] = respond(
        start_response, f"{environ['SCRIPT_NAME']}|{environ['PATH_INFO']}".encode("latin-1")
    )
    return found


PATHS = {
    "/read": read_everything,
    "/generate": generate,
    "/write": use_write,
    "/recover": recover,
    "/file": wrap_file,
    "/nothing": nothing,
    "/hint": hint,
}


@validator
def application(environ: Environ, start_response: Any) -> Iterable[bytes]:
    """Dispatch by path."""
    return PATHS.get(environ["PATH_INFO"], tell)(environ, start_response)
