"""A client of WebSockets that sends whatever a test wants, right or wrong, and hides nothing (RFC 6455 section 5.2)."""

import socket
import ssl
import struct
from dataclasses import dataclass
from typing import Self

from integration.client import TIMEOUT, Closed, connected

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
KEY = "dGhlIHNhbXBsZSBub25jZQ=="
OPENING = ("Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {KEY}")


@dataclass(frozen=True)
class Frame:
    """One frame; `rsv` are the reserved bits as a number from 0 to 7."""

    opcode: int
    payload: bytes = b""
    fin: bool = True
    rsv: int = 0

    def encoded(self, mask: bytes = b"\x0f\xf0\x55\xaa") -> bytes:
        size = len(self.payload)
        head = bytes([self.fin << 7 | self.rsv << 4 | self.opcode])
        if size < 126:
            head += bytes([128 | size])
        elif size < 65536:
            head += struct.pack("!BH", 128 | 126, size)
        else:
            head += struct.pack("!BQ", 128 | 127, size)
        return head + mask + masked(self.payload, mask)


def masked(payload: bytes, mask: bytes) -> bytes:
    repeated = (mask * (len(payload) // 4 + 1))[: len(payload)]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(repeated, "big")).to_bytes(len(payload), "big")


def close(code: int | None = None, reason: bytes = b"") -> Frame:
    """Make a close frame."""
    return Frame(CLOSE, (struct.pack("!H", code) if code is not None else b"") + reason)


class RawWebSocket:
    """A connection that is open when it is made.

    :param secure: for TLS; None: there is none.
    :param through: a connection that there is already.

    :ivar head: what the server has answered.
    """

    def __init__(
        self,
        port: int,
        target: str = "/echo",
        *fields: str,
        secure: ssl.SSLContext | None = None,
        through: socket.socket | None = None,
    ) -> None:
        self.sock = through or connected(port, "127.0.0.1", TIMEOUT)
        if secure is not None:
            self.sock = secure.wrap_socket(self.sock, server_hostname="localhost")
        self._received = b""
        lines = [f"GET {target} HTTP/1.1", "Host: test", *OPENING, *fields]
        self.sock.sendall("\r\n".join([*lines, "", ""]).encode())
        self.head = self._read_until(b"\r\n\r\n").decode()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    def send(self, *frames: Frame | bytes, chop: int = 0) -> None:
        """Send frames, or bytes that are none; `chop`: in pieces of so many bytes."""
        data = b"".join(each if isinstance(each, bytes) else each.encoded() for each in frames)
        if not chop:
            self.sock.sendall(data)
        for start in range(0, len(data) if chop else 0, chop or 1):
            self.sock.sendall(data[start : start + chop])

    def read(self) -> Frame:
        """Read one frame; raises Closed at the end."""
        first, second = self._read(2)
        assert not second & 128, "a server masks nothing (RFC 6455 section 5.1)"
        size = second & 127
        if size == 126:
            (size,) = struct.unpack("!H", self._read(2))
        elif size == 127:
            (size,) = struct.unpack("!Q", self._read(8))
        return Frame(first & 15, self._read(size), bool(first & 128), first >> 4 & 7)

    def read_all(self) -> list[Frame]:
        """Read frames until the connection has ended."""
        frames = []
        try:
            while True:
                frames.append(self.read())
        except Closed:
            return frames

    def ends(self) -> bool:
        """Whether nothing comes any more but the end."""
        return self.read_all() == []

    def _read(self, size: int) -> bytes:
        while len(self._received) < size:
            self._receive()
        data, self._received = self._received[:size], self._received[size:]
        return data

    def _read_until(self, end: bytes) -> bytes:
        while end not in self._received:
            self._receive()
        return self._read(self._received.index(end) + len(end))

    def _receive(self) -> None:
        data = self.sock.recv(1 << 20)
        if not data:
            raise Closed(self._received)
        self._received += data
