"""An application that answers as few do, or as none should: ``spawn unusual.application``."""

import errno
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from basics import hold  # type: ignore[import-not-found]  # found in the server's working directory

Environ = dict[str, Any]
StartResponse = Callable[..., Any]

BLOCK = b"x" * 1000


class Blob(bytes):
    """A block as BSON's and numpy's: bytes with ideas of their own."""

    def __len__(self) -> int:
        return 0

    def __bool__(self) -> bool:
        return False

    def __add__(self, other: object) -> bytes:
        raise TypeError("not to be added to")

    __radd__ = __add__


VALUES: dict[str, Any] = {
    "blob": Blob(b"blob"),
    "bytearray": bytearray(b"array"),
    "memoryview": memoryview(b"view"),
    "str": "text",
    "NoneType": None,
    "int": 7,
    "empty-str": "",
    "zero": 0,
    "empty-list": [],
    "empty-bytearray": bytearray(),
}


def blocks(environ: Environ, start_response: StartResponse) -> Iterable[Any]:
    """Answer with a block of an unusual type: ``?how=HOW&what=WHAT``, and ``&behind=1`` behind a usual one."""
    value = VALUES[_query(environ, "what")]
    parts: list[Any] = [b"usual ", value] if "behind" in environ["QUERY_STRING"] else [value]
    how = _query(environ, "how")
    write = start_response("200 OK", [])
    if how == "write":
        for part in parts:
            write(part)
        return []
    made: dict[str, Callable[[list[Any]], Iterable[Any]]] = {
        "list": list,
        "tuple": tuple,
        "iterator": iter,
        "generator": lambda parts: (part for part in parts),
    }
    return made[how](parts)


def fields(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Set the field in the query: ``?NAME=VALUE``."""
    start_response("200 OK", [(name, value) for name, (value,) in parse_qs(environ["QUERY_STRING"]).items()])
    return [b"content"]


def events(environ: Environ, start_response: StartResponse) -> Iterator[bytes]:
    """Answer as the recipes for event streams do."""
    start_response("200 OK", [("Content-Type", "text/event-stream"), ("Connection", "keep-alive"), ("Keep-Alive", "5")])
    yield b"data: 1\n\n"


def _fails(environ: Environ) -> Iterator[bytes]:
    for _ in range(int(_query(environ, "blocks"))):
        yield BLOCK
    print("failing", file=environ["wsgi.errors"])
    raise LookupError("on purpose")


def cut(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Fail behind much content."""
    start_response("200 OK", [])
    return _fails(environ)


def cut_length(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Length", str(len(BLOCK) * int(_query(environ, "blocks")) + 1))])
    return _fails(environ)


def cut_short(environ: Environ, start_response: StartResponse) -> Iterator[bytes]:
    """End before the length that was announced."""
    start_response("200 OK", [("Content-Length", str(len(BLOCK) * int(_query(environ, "blocks")) + 1))])
    for _ in range(int(_query(environ, "blocks"))):
        yield BLOCK
    print("failing", file=environ["wsgi.errors"])


def cut_write(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    write = start_response("200 OK", [])
    for block in _fails(environ):
        write(block)
    return []


def length(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Answer with five bytes in one of several ways, and the length in the query."""
    how = _query(environ, "how")
    start_response("200 OK", [("Content-Length", _query(environ, "length"))])
    if how == "file":
        path = Path(_query(environ, "path"))
        path.write_bytes(b"12345")
        wrapped: Iterable[bytes] = environ["wsgi.file_wrapper"](path.open("rb"))
        return wrapped
    made: dict[str, Iterable[bytes]] = {
        "one": [b"12345"], "list": [b"123", b"45"], "tuple": (b"123", b"45"), "iterator": iter([b"123", b"45"]),
        "none": (block for block in list[bytes]()), "nothing": (block for block in (b"", b"")),
    }  # fmt: skip
    return made[how]


class Quiet:
    """An iterable of empty blocks that does not end, and says so when it is closed."""

    def __init__(self, environ: Environ, pause: float, first: bytes) -> None:
        self._say = environ["wsgi.errors"]
        self._pause = pause
        self._first = first
        self._leave = -1

    def __iter__(self) -> "Quiet":
        print("begun", file=self._say)
        return self

    def __next__(self) -> bytes:
        first, self._first = self._first, b""
        if self._pause and not first:
            time.sleep(self._pause)
        return first

    def close(self) -> None:
        print("closed", file=self._say)


def quiet(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Answer with empty blocks for ever: ``?pause=SECONDS&first=TEXT``, or ``&how=generator``."""
    start_response("200 OK", [])
    first = b"first" if "first" in environ["QUERY_STRING"] else b""
    made = Quiet(environ, float(_query(environ, "pause")), first)
    if "generator" not in environ["QUERY_STRING"]:
        return made

    def generator() -> Iterator[bytes]:
        try:
            yield from made
        finally:
            made.close()

    return generator()


def patient(environ: Environ, start_response: StartResponse) -> Iterator[bytes]:
    """Yield empty blocks for a second and a half, and then content."""
    start_response("200 OK", [])
    for _ in range(15):
        yield b""
        time.sleep(0.1)
    yield b"at last"


def wrapped(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Write until the client has gone, and raise something of our own then: ``?how=from``, ``none`` or ``again``."""
    write = start_response("200 OK", [])
    how = _query(environ, "how")
    try:
        while True:
            write(b"x" * 65536)
    except OSError as error:
        if how == "swallowed":
            write(b"y")
        if how == "exc_info":
            start_response("500 Oh", [], sys.exc_info())
        if how == "from":
            raise LookupError("the other side has hung up") from error
        raise OSError(errno.EIO, "hung up") from None


def file(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    opened = Path(_query(environ, "path")).open("rb")  # noqa: SIM115 - whoever sends it closes it
    made: Iterable[bytes] = environ["wsgi.file_wrapper"](opened)
    return made


PATHS: dict[str, Callable[[Environ, StartResponse], Iterable[bytes]]] = {
    "/blocks": blocks,
    "/fields": fields,
    "/events": events,
    "/cut": cut,
    "/cut-length": cut_length,
    "/cut-short": cut_short,
    "/cut-write": cut_write,
    "/length": length,
    "/quiet": quiet,
    "/patient": patient,
    "/wrapped": wrapped,
    "/file": file,
    "/hold": hold,
}


def usual(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(os.getpid()).encode()]


def application(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Dispatch by path."""
    return PATHS.get(environ["PATH_INFO"], usual)(environ, start_response)


def _query(environ: Environ, name: str) -> str:
    value: str = parse_qs(environ["QUERY_STRING"], keep_blank_values=True)[name][0]
    return value
