"""Clients that take their time, all in one process, for ``bench/slow.py``.

``python -m bench.slow_clients PORT HEADS BODIES READERS HANDSHAKES SECONDS``. Says ``connected`` when all are, goes on
until its standard input ends (or SECONDS have passed), and then says as one line of JSON how many of each kind the
server has closed, or answered although the request was not complete.

Once a second each of them moves by a byte: of a head that has no end, of a body that is announced with ``BODY_BYTES``;
a reader has asked for a large response and takes ``READ_BYTES`` of it. Handshakes of TLS have come as far as a part of
their first record, which has room for more than will come.
"""

import collections
import contextlib
import json
import os
import select
import socket
import sys
import time

from bench.idle import raise_descriptor_limit

BODY_BYTES = 100_000
READ_BYTES = 4096
RECEIVE_BUFFER = 4096
CONNECT_SECONDS = 20.0
STEPS = 20
"""Into how many parts a second is divided; in each, one of so many clients moves."""

BEGINNINGS = {
    "head": b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: ",
    "body": b"POST /upload HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % BODY_BYTES,
    "reader": b"GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "handshake": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # the begin of a ClientHello of 512 bytes
}


class Client:
    """One of them."""

    def __init__(self, kind: str, port: int) -> None:
        self.kind = kind
        self.fate = ""
        self._socket = socket.socket()
        if kind == "reader":
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        self._socket.settimeout(CONNECT_SECONDS)
        self._socket.connect(("127.0.0.1", port))
        self._socket.setblocking(False)
        self._socket.sendall(BEGINNINGS[kind])

    def move(self) -> None:
        """Go on by a byte, and notice what the server has done."""
        if self.fate:
            return
        try:
            if self.kind != "reader":
                self._socket.send(b"x")
            self._notice(self._socket.recv(READ_BYTES))
        except BlockingIOError:
            return
        except OSError:
            self._end("closed")

    def _notice(self, data: bytes) -> None:
        if not data:
            self._end("closed")
        elif self.kind != "reader":
            self._end("answered")

    def _end(self, fate: str) -> None:
        self.fate = fate
        self._socket.close()


def main() -> None:
    """Connect, say so, be slow until told to end."""
    port, *numbers, seconds = map(int, sys.argv[1:])
    raise_descriptor_limit(sum(numbers) + 100)
    kinds = [kind for kind, number in zip(BEGINNINGS, numbers, strict=True) for _ in range(number)]
    clients = [Client(kind, port) for kind in kinds]
    print("connected", flush=True)
    _be_slow(clients, time.monotonic() + seconds)
    fates = collections.Counter(f"{client.kind} {client.fate}" for client in clients if client.fate)
    with contextlib.suppress(BrokenPipeError):
        print(json.dumps(fates), flush=True)
    os._exit(0)  # closing them one by one would take longer


def _be_slow(clients: list[Client], deadline: float) -> None:
    step = 0
    while time.monotonic() < deadline and not select.select([sys.stdin], [], [], 1.0 / STEPS)[0]:
        for client in clients[step::STEPS]:
            client.move()
        step = (step + 1) % STEPS


if __name__ == "__main__":
    main()
