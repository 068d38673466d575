"""What tests of the WSGI layer share: a responder that records, a body that counts its closes, one request driven."""

from collections.abc import Callable, Iterable
from typing import Any

from spawning.http.line import RequestLine
from spawning.http.response import Clock
from spawning.wsgi.exchange import Exchange, WSGIApplication
from spawning.wsgi.responder import ClientGone, Responder

Environ = dict[str, Any]
StartResponse = Callable[..., Callable[[bytes], None]]

CLOCK = Clock("test")
GET = RequestLine("GET", "/path", "/path", "", "")
TEXT = ("Content-Type", "text/plain")


class Recorder(Responder):
    """A responder that keeps what it sends; `gone_after` sends, the client has gone.

    :ivar looks: how often it was asked whether the client has gone.
    """

    def __init__(
        self, line: RequestLine = GET, minor: int = 1, keep_alive: bool = True, gone_after: int = 1000
    ) -> None:
        self.line = line
        self.clock = CLOCK
        self.begin(minor, keep_alive)
        self.sends: list[bytes] = []
        self.files: list[tuple[int, int]] = []
        self.lasts = 0
        self.looks = 0
        self._gone_after = gone_after

    def send(self, data: bytes) -> None:
        if len(self.sends) >= self._gone_after:
            raise ClientGone("gone")
        assert data, "nothing to send"
        self.sends.append(data)

    def send_last(self, data: bytes) -> None:
        self.send(data)
        self.lasts += 1

    def send_two(self, head: bytes, body: bytes) -> None:
        self.send(head + body)

    def send_file(self, head: bytes, descriptor: int, offset: int, count: int) -> None:
        self.send(head)
        self.files.append((offset, count))

    def has_gone(self) -> bool:
        self.looks += 1
        return len(self.sends) >= self._gone_after

    @property
    def data(self) -> bytes:
        return b"".join(self.sends)

    @property
    def head(self) -> list[str]:
        """The lines of the head; those of every response (Server, Date) are left out."""
        lines = self.data.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")
        return [line for line in lines if not line.startswith(("Server: ", "Date: "))]

    @property
    def body(self) -> bytes:
        return self.data.partition(b"\r\n\r\n")[2]


class Body:
    """An iterable that counts its closes."""

    def __init__(self, blocks: Iterable[bytes]) -> None:
        self._blocks = iter(blocks)
        self.taken = 0
        self.closes = 0

    def __iter__(self) -> "Body":
        return self

    def __next__(self) -> bytes:
        self.taken += 1
        return next(self._blocks)

    def close(self) -> None:
        self.closes += 1


def run(
    application: WSGIApplication,
    *,
    method: str = "GET",
    minor: int = 1,
    keep_alive: bool = True,
    gone_after: int = 1000,
    of: Environ | None = None,
) -> Recorder:
    """Drive `application` through one request; return what went out."""
    response = Recorder(RequestLine(method, "/path", "/path", "", ""), minor, keep_alive, gone_after)
    Exchange(response, {"REQUEST_METHOD": method, "PATH_INFO": "/path"} if of is None else of).run(application)
    return response


def answering(
    result: Iterable[bytes], *fields: tuple[str, str], status: str = "200 OK"
) -> Callable[[Environ, StartResponse], Iterable[bytes]]:
    """Make an application that answers with `result`."""

    def application(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        start_response(status, list(fields))
        return result

    return application
