"""Whatever an application says, a client gets one well-formed response with just that in it, or 500, or a cut one.

An input describes the request (method, version), the status, the fields and the blocks of a response.
"""

import io
import logging
from collections.abc import Callable, Iterable, Iterator
from http.client import HTTPResponse
from typing import Any

import atheris

from spawning.http.line import RequestLine
from spawning.http.response import Clock
from spawning.wsgi.exchange import Exchange
from spawning.wsgi.responder import Responder

CLOCK = Clock()
NAMES = ("Content-Length", "Content-Type", "Date", "Server", "Set-Cookie", "Connection", "Transfer-Encoding", "X")
DROPPED = ("connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade")
LINES = ("Server", "Date", "Connection", "Content-Length", "Transfer-Encoding")  # may be added to the application's

logging.disable(logging.CRITICAL)  # each traceback of an application would be shown


def seeds() -> Iterator[tuple[str, bytes]]:
    """There is no collection of responses: start from a few bytes of each kind."""
    for number in range(8):
        yield str(number), bytes([number * 37 % 256] * 40 * number)


class Wire(Responder):
    """A responder that keeps all."""

    def __init__(self, line: RequestLine, minor: int, keep_alive: bool) -> None:
        self.data = b""
        self.line = line
        self.clock = CLOCK
        self.begin(minor, keep_alive)

    def send(self, data: bytes) -> None:
        self.data += data

    send_last = send

    def send_two(self, head: bytes, body: bytes) -> None:
        self.data += head + body

    def send_file(self, head: bytes, descriptor: int, offset: int, count: int) -> None:
        raise AssertionError("there is no file")

    def has_gone(self) -> bool:
        return False


class Answer:
    """What the application says, taken from the input."""

    def __init__(self, source: atheris.FuzzedDataProvider) -> None:
        usual = source.ConsumeBool()
        self.status = f"{source.ConsumeIntInRange(100, 999)} OK" if usual else source.ConsumeUnicode(12)
        self.headers = [self._field(source) for _ in range(source.ConsumeIntInRange(0, 4))]
        sizes = [source.ConsumeIntInRange(0, 40) for _ in range(source.ConsumeIntInRange(0, 4))]
        self.blocks = [source.ConsumeBytes(size) for size in sizes]
        self.how = source.PickValueInList(["list", "tuple", "iterator", "write"])

    @staticmethod
    def _field(source: atheris.FuzzedDataProvider) -> tuple[str, str]:
        name = source.PickValueInList([*NAMES, ""]) or source.ConsumeUnicode(8)
        if name == "Content-Length" and source.ConsumeBool():
            return name, str(source.ConsumeIntInRange(0, 100))
        return name, source.ConsumeUnicode(12)

    def application(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        write = start_response(self.status, self.headers)
        if self.how == "write":
            for block in self.blocks:
                write(block)
            return []
        return {"list": list, "tuple": tuple, "iterator": iter}[self.how](self.blocks)


def one_input(data: bytes) -> None:
    """Raise if what goes to the client is not what the application said."""
    source = atheris.FuzzedDataProvider(data)
    minor, head_only, keep_alive = source.ConsumeIntInRange(0, 1), source.ConsumeBool(), source.ConsumeBool()
    answer = Answer(source)
    wire = Wire(RequestLine("HEAD" if head_only else "GET", "/", "/", "", ""), minor, keep_alive)
    exchange = Exchange(wire, {"REQUEST_METHOD": "GET", "PATH_INFO": "/"})
    exchange.run(answer.application)
    if not wire.data:
        assert wire.cut, answer.__dict__
        return
    head, _, rest = wire.data.partition(b"\r\n\r\n")
    start, *lines = head.decode("latin-1").split("\r\n")
    assert all(mark >= " " or mark == "\t" for line in (start, *lines) for mark in line), wire.data
    if start == "HTTP/1.1 500 Internal Server Error" and answer.status != "500 Internal Server Error":
        assert not wire.keep_alive
        return
    assert start == f"HTTP/1.1 {answer.status}{' ' * (len(answer.status) == 3)}", wire.data
    said = lines_of(answer.headers)
    found = [line for line in lines if line in said or not line.startswith(LINES)]
    assert found == said or exchange.head.code in (204, 205), wire.data
    if not wire.cut:
        same_content(answer, wire, rest, exchange, head_only)


def lines_of(headers: list[tuple[str, str]]) -> list[str]:
    """List what has to be sent of an application's fields: none that is hop-by-hop, and one length."""
    said = []
    lengths = 0
    for name, value in headers:
        lengths += name.lower() == "content-length"
        if name.lower() not in DROPPED and (name.lower() != "content-length" or lengths == 1):
            said.append(f"{name}: {value}")
    return said


def same_content(answer: Answer, wire: Wire, rest: bytes, exchange: Exchange, head_only: bool) -> None:
    """Read the response as a client of another's making does, and compare."""
    data, content = wire.data, b"".join(answer.blocks)
    if head_only or exchange.head.bodiless:
        assert rest == b"", data
        return
    client = HTTPResponse(Socket(data), method="GET")
    client.begin()
    body = client.read()
    assert client.fp is None or client.fp.read() == b"", data
    if exchange.head.content_length >= 0:
        content = content[: exchange.head.content_length]
    assert body == content, (body, content)
    if wire.keep_alive:
        assert client.chunked or client.headers["Content-Length"] is not None, data


class Socket:
    """As much of a socket as ``http.client`` needs."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def makefile(self, mode: str) -> io.BytesIO:
        return io.BytesIO(self.data)
