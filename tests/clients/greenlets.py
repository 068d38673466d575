"""WebSockets of a process that gevent has patched; run by ``test_websockets.py``.

The server's side is this script: what it offers is one end of a socket pair, and like the main thread of a worker, a
real thread ends the connections.
"""

from gevent import monkey

monkey.patch_all()

import os  # noqa: E402
import socket  # noqa: E402
import threading  # noqa: E402
from typing import Any  # noqa: E402

import gevent  # noqa: E402
from gevent.threadpool import ThreadPool  # noqa: E402

from integration.frames import KEY, PING, TEXT, Frame, close  # noqa: E402
from spawning.websocket import WebSocket, WebSocketWSGI  # noqa: E402
from spawning.wsgi.tunnel import RESTART, Tunnel  # noqa: E402

FIELDS = {
    "REQUEST_METHOD": "GET", "SERVER_PROTOCOL": "HTTP/1.1", "PATH_INFO": "/", "HTTP_UPGRADE": "websocket",
    "HTTP_CONNECTION": "Upgrade", "HTTP_SEC_WEBSOCKET_VERSION": "13", "HTTP_SEC_WEBSOCKET_KEY": KEY,
}  # fmt: skip
HELLO = b"\x81\x05Hello"


class Connection:
    """One that a handler has taken, and its client."""

    def __init__(self, application: WebSocketWSGI) -> None:
        self.client, self._server = socket.socketpair()
        self.client.settimeout(10)
        self.tunnel = Tunnel(self)
        environ: dict[str, Any] = {**FIELDS, "spawning.socket": self.tunnel}
        self.request = gevent.spawn(lambda: list(application(environ, lambda *_: None)))
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += self.client.recv(1)

    def give_away(self, tunnel: Tunnel) -> tuple[int, bytes, None]:
        return os.dup(self._server.fileno()), b"", None

    def end(self) -> None:
        """As the main thread of a worker does."""
        self.client_gets = self.tunnel.leave(RESTART)
        self._server.shutdown(socket.SHUT_RD)

    def read(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            data += self.client.recv(size - len(data))
        return data


def echo(ws: WebSocket) -> None:
    for message in ws:
        ws.send(message)


def waits(ws: WebSocket) -> None:
    threading.Event().wait()


def main() -> None:
    many = [Connection(WebSocketWSGI(echo, compression=False)) for _ in range(100)]
    for each in many:  # all wait in one thread
        each.client.sendall(Frame(TEXT, b"Hello").encoded())
    for each in many:
        assert each.read(7) == HELLO

    pinged = Connection(WebSocketWSGI(echo, ping_interval=0.01, compression=False))
    assert pinged.read(2) == bytes([0x80 | PING, 0])

    slow = Connection(WebSocketWSGI(lambda ws: ws.send(bytes(10_000_000)), send_timeout=0.1))
    slow.request.join(10)
    assert slow.request.ready(), "a client that takes nothing holds its handler"

    many[0].client.sendall(close(1000).encoded())
    assert many[0].read(4) == b"\x88\x02\x03\xe8"
    many[1].client.close()
    many[0].request.join(10)
    many[1].request.join(10)

    other = Connection(WebSocketWSGI(waits, compression=False))
    thread = ThreadPool(1)  # of real ones
    for each in (*many[2:], other):
        thread.apply(each.end)
        assert each.client_gets == b"\x88\x02\x03\xf4"
    for each in many[2:]:
        each.request.join(10)
        assert each.request.successful(), each.request.exception
    print("all is well")


main()
