"""A client that hides nothing: bytes out, one response in, no retry, no redirect, no reconnection."""

import socket
import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Self


def _unverified(newest: ssl.TLSVersion) -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.maximum_version = newest
    return context


_CONTEXTS = {"tls": _unverified(ssl.TLSVersion.TLSv1_3), "tls1.2": _unverified(ssl.TLSVersion.TLSv1_2)}

TIMEOUT = 30.0  # seconds; for one operation on the socket


class Closed(Exception):
    """The server closed the connection where a (whole) response should have been; carries what came (bytes)."""


@dataclass(frozen=True, slots=True)
class Response:
    """One response; header names are in lower case; `body` is decoded from chunks."""

    status: int
    version: str
    fields: tuple[tuple[str, str], ...]
    body: bytes

    def __getitem__(self, name: str) -> str:
        """Return a field's value, several joined by comma; empty when it is absent."""
        return ", ".join(value for key, value in self.fields if key == name.lower())

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def closes(self) -> bool:
        """Whether the server says that it closes the connection after this response."""
        connection = self["connection"].lower()
        return "close" in connection or (self.version == "HTTP/1.0" and "keep-alive" not in connection)


class Client:
    """One connection to a server on the loopback address, or on a Unix socket.

    :param where: a port, ``tls:`` or ``tls1.2:`` and a port, or a path (``@`` and a name: one without a file).
    """

    def __init__(self, where: int | str, host: str = "127.0.0.1", timeout: float = TIMEOUT) -> None:
        self.sock = connected(where, host, timeout)
        self._buffer = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self.sock.close()

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def get(self, target: str, *fields: str, method: str = "GET") -> Response:
        """Send a request without a body and read its response; `fields` are whole lines, ``"Name: value"``."""
        self.send(request(target, *fields, method=method))
        return self.read(head=method == "HEAD")

    def post(self, target: str, body: bytes, *fields: str) -> Response:
        """Send a body with its length and read the response."""
        self.send(request(target, f"Content-Length: {len(body)}", *fields, method="POST") + body)
        return self.read()

    def wait_for(self, data: bytes) -> None:
        """Receive until `data` has come, somewhere in what has not been read yet; for responses without an end.

        :raises Closed: the connection ended before.
        """
        while data not in self._buffer:
            received = self.sock.recv(65536)
            if not received:
                raise Closed(self._buffer)
            self._buffer += received

    def read(self, *, head: bool = False) -> Response:
        """Read one response (RFC 9112 section 6.3 says where it ends); interim ones (1xx) count as responses.

        :param head: the request's method was HEAD, so no body follows.
        :raises Closed: the connection ended before the response did.
        """
        start, *lines = self._until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        version, status, *_ = start.split(" ", 2)
        fields = tuple(
            (name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines if line)
        )
        response = Response(int(status), version, fields, b"")
        if head or response.status < 200 or response.status in (204, 304):
            return response
        return Response(response.status, version, fields, self._body(response))

    def read_eof(self) -> bytes:
        """Read all that comes until the server closes the connection."""
        while self._more():
            pass
        data, self._buffer = self._buffer, b""
        return data

    def _body(self, response: Response) -> bytes:
        if response["transfer-encoding"].lower() == "chunked":
            return b"".join(self._chunks())
        if length := response["content-length"]:
            return self._exactly(int(length))
        return self.read_eof()

    def _chunks(self) -> Iterable[bytes]:
        while size := int(self._until(b"\r\n").split(b";")[0], 16):
            yield self._exactly(size)
            assert self._until(b"\r\n") == b"\r\n"
        assert self._until(b"\r\n") == b"\r\n"

    def _until(self, end: bytes) -> bytes:
        while end not in self._buffer:
            if not self._more():
                raise Closed(self._buffer)
        head, _, self._buffer = self._buffer.partition(end)
        return head + end

    def _exactly(self, size: int) -> bytes:
        while len(self._buffer) < size:
            if not self._more():
                raise Closed(self._buffer)
        data, self._buffer = self._buffer[:size], self._buffer[size:]
        return data

    def _more(self) -> bool:
        try:
            data = self.sock.recv(1 << 18)
        except (ConnectionResetError, ssl.SSLEOFError):  # the latter: nobody has said the end
            raise Closed(self._buffer) from None
        self._buffer += data
        return bool(data)


def connected(where: int | str, host: str, timeout: float) -> socket.socket:
    """Connect to a port, with TLS or without, or to a Unix socket."""
    if isinstance(where, str) and (context := _CONTEXTS.get(where.partition(":")[0])):
        return context.wrap_socket(connected(int(where.partition(":")[2]), host, timeout), suppress_ragged_eofs=False)
    if isinstance(where, int):
        sock = socket.create_connection((host, where), timeout)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock
    sock = socket.socket(socket.AF_UNIX)
    try:
        sock.settimeout(timeout)
        sock.connect(f"\0{where[1:]}" if where.startswith("@") else where)
    except BaseException:
        sock.close()
        raise
    return sock


def request(target: str, *fields: str, method: str = "GET", version: str = "HTTP/1.1") -> bytes:
    """Write the head of a request, with a Host field."""
    lines = [f"{method} {target} {version}", "Host: localhost", *fields, "", ""]
    return "\r\n".join(lines).encode("latin-1")


def fetch(where: int | str, target: str = "/", *fields: str, method: str = "GET", host: str = "127.0.0.1") -> Response:
    """Get `target` on a connection of its own."""
    with Client(where, host) as client:
        return client.get(target, "Connection: close", *fields, method=method)
