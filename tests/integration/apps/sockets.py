"""WebSockets and other tunnels, for tests. ``VERSION_FILE`` holds what ``/version`` and ``/greeting`` say."""

import os
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from spawning.websocket import WebSocket, WebSocketWSGI

VERSION = Path(os.environ.get("VERSION_FILE", os.devnull)).read_text("utf-8") or "1"
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"

Environ = dict[str, Any]


def echo(ws: WebSocket) -> None:
    for message in ws:
        ws.send(message)


def greeting(ws: WebSocket) -> None:
    ws.send(f"version {VERSION}")
    echo(ws)


def raises(ws: WebSocket) -> None:
    ws.wait()
    raise LookupError("on purpose")


def closes(ws: WebSocket) -> None:
    ws.close(4001, "enough")


def elsewhere(ws: WebSocket) -> None:
    """Wait for something that is no message."""
    ws.send("waiting")
    threading.Event().wait()


def late(ws: WebSocket) -> None:
    """Send what becomes of the wait for a message that does not come."""
    try:
        ws.wait(timeout=0.01)
    except TimeoutError:
        ws.send("nothing came")
    echo(ws)


def both(ws: WebSocket) -> None:
    """Receive fifty messages, while another thread sends as many."""

    def send() -> None:
        for _ in range(50):
            ws.send(bytes(100_000))

    sending = threading.Thread(target=send)
    sending.start()
    received = sum(len(ws.wait() or b"") for _ in range(50))
    sending.join()
    ws.send(str(received))


def about(ws: WebSocket) -> None:
    ws.send(f"{ws.path} {ws.origin} {ws.protocol} {ws.version}")


def raw(environ: Environ, _: Any) -> Iterable[bytes]:
    """Echo, in no protocol at all."""
    tunnel = environ["spawning.socket"]
    tunnel.sendall(SWITCH)
    while data := tunnel.recv(1000):
        tunnel.sendall(data)
    return [b"this is dropped"]


def lines(environ: Environ, start_response: Any) -> Iterable[bytes]:
    """Read lines by a file, and answer behind the tunnel as frameworks do."""
    with environ["spawning.socket"] as tunnel, tunnel.makefile("rwb") as file:
        file.write(SWITCH)
        file.flush()
        for line in file:
            file.write(line.upper())
            file.flush()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return iter([b"this is ", b"dropped"])


def proxy(environ: Environ, start_response: Any) -> Iterable[bytes]:
    """Accept CONNECT and echo."""
    tunnel = environ["spawning.socket"]
    tunnel.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    while data := tunnel.recv(1000):
        tunnel.sendall(data)
    return []


def detached(environ: Environ, start_response: Any) -> Iterable[bytes]:
    """Pass the connection to a thread of the application's own, and return."""
    import socket

    tunnel = environ["spawning.socket"]
    tunnel.sendall(SWITCH)
    own = socket.socket(fileno=tunnel.detach())

    def serve() -> None:
        with own:
            while data := own.recv(1000):
                own.sendall(data)

    threading.Thread(target=serve, daemon=True).start()
    return []


def too_late(environ: Environ, start_response: Any) -> Iterable[bytes]:
    """Use the connection when the response has begun."""
    start_response("200 OK", [("Content-Type", "text/plain")])
    yield b"begun, "
    try:
        environ["spawning.socket"].sendall(SWITCH)
    except OSError as error:
        yield str(error).encode()


def hangs(environ: Environ, start_response: Any) -> Iterable[bytes]:
    while True:
        time.sleep(0.01)


_kept: list[Any] = []


def keep(environ: Environ, start_response: Any) -> Iterable[bytes]:
    """Keep what is offered, and use what an earlier request has kept."""
    said = "offered" if "spawning.socket" in environ else "not offered"
    if _kept:
        try:
            _kept.pop().sendall(SWITCH)
        except OSError as error:
            said = str(error)
    if "spawning.socket" in environ:
        _kept.append(environ["spawning.socket"])
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [said.encode()]


PLACES: dict[str, Any] = {
    "/echo": WebSocketWSGI(echo),
    "/plain": WebSocketWSGI(echo, compression=False),
    "/small": WebSocketWSGI.configured(echo, max_message_length=1000),
    "/impatient": WebSocketWSGI(echo, ping_interval=0.05, ping_timeout=0.05),
    "/pinging": WebSocketWSGI(echo, ping_interval=0.05),
    "/stuck": WebSocketWSGI(lambda ws: ws.send(bytes(50_000_000)), send_timeout=0.2),
    "/greeting": WebSocketWSGI(greeting),
    "/raises": WebSocketWSGI(raises),
    "/closes": WebSocketWSGI(closes),
    "/late": WebSocketWSGI(late),
    "/elsewhere": WebSocketWSGI(elsewhere),
    "/both": WebSocketWSGI(both, compression=False),
    "/about": WebSocketWSGI(about, supported_protocols=["chat.v2", "chat.v1"]),
    "/ours": WebSocketWSGI(echo, origin_checker=lambda origin: origin == "https://ours.example"),
    "/raw": raw,
    "/lines": lines,
    "/detached": detached,
    "/too-late": too_late,
    "/keep": keep,
    "/hangs": hangs,
}


def application(environ: Environ, start_response: Any) -> Iterable[bytes]:
    if environ["REQUEST_METHOD"] == "CONNECT":
        return proxy(environ, start_response)
    place = PLACES.get(environ["PATH_INFO"])
    if place is not None:
        answer: Iterable[bytes] = place(environ, start_response)
        return answer
    body = f"version {VERSION}".encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
