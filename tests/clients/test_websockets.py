"""WebSockets by other people's programs: clients, libraries of frameworks, a proxy in front, greenlets."""

import os
import queue
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests
import socketio
import websocket
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from clients.test_documented_proxies import DocumentedNginx
from integration.server import APPS as INTEGRATION_APPS
from integration.server import DEADLINE, Server

APPS = Path(__file__).parent / "apps"


@contextmanager
def site(app: str, directory: Path, *options: str) -> Iterator[Server]:
    (directory / "version").write_text("1")
    variables = {"VERSION_FILE": str(directory / "version")}
    with Server(app, "-s", "1", "-t", "2", *options, cwd=APPS, env=variables) as server:
        yield server
        assert "Traceback" not in server.log()


def opened(port: int, path: str, **options: Any) -> ClientConnection:
    made: ClientConnection = connect(f"ws://127.0.0.1:{port}{path}", proxy=None, open_timeout=DEADLINE, **options)
    return made


# Clients --------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server("sockets.application", "-s", "1", "-t", "2", "-l", "/dev/null", cwd=INTEGRATION_APPS) as server:
        yield server


MESSAGES: list[str | bytes] = ["", "Hello", "κόσμε €𝄞", b"", b"\x00\xff" * 1000, "a" * 1_000_000, b"\xfe" * 3_000_000]


@pytest.mark.parametrize("path", ["/echo", "/plain"])
def test_websockets(server: Server, path: str) -> None:
    with opened(server.port, path, max_size=None) as client:
        compressed = path == "/echo"
        response = client.response
        assert response is not None
        assert ("Sec-WebSocket-Extensions" in response.headers) is compressed
        for message in MESSAGES:
            client.send(message)
            assert client.recv(DEADLINE) == message
        client.send(["in ", "frag", "ments"])
        assert client.recv(DEADLINE) == "in fragments"
        assert client.ping().wait(DEADLINE)
        client.close(4000, "enough")
        assert client.close_code == 4000


def test_websockets_is_told_what_it_may_not_do(server: Server) -> None:
    with opened(server.port, "/small", max_size=None) as client:
        client.send("*" * 2000)
        with pytest.raises(ConnectionClosed) as closed:
            client.recv(DEADLINE)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1009
    with pytest.raises(InvalidStatus) as refused, opened(server.port, "/ours", origin="https://theirs.example"):
        pass
    assert refused.value.response.status_code == 403


def test_websocket_client(server: Server) -> None:
    client = websocket.create_connection(
        f"ws://127.0.0.1:{server.port}/about", subprotocols=["chat.v2"], timeout=DEADLINE, origin="https://a.example"
    )
    assert client.subprotocol == "chat.v2"
    assert client.recv() == "/about https://a.example chat.v2 13"
    assert client.recv_data() == (websocket.ABNF.OPCODE_CLOSE, b"\x03\xe8")
    assert client.sock is not None
    client.sock.close()  # its own close() does nothing to a connection that has been closed
    client = websocket.create_connection(f"ws://127.0.0.1:{server.port}/echo", timeout=DEADLINE)
    for message in MESSAGES:
        client.send(message, websocket.ABNF.OPCODE_TEXT if isinstance(message, str) else websocket.ABNF.OPCODE_BINARY)
        assert client.recv() == message
    client.close()


# Frameworks -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("path", "threads"), [("/flask-sock", "2"), ("/flask-sock", "0"), ("/ours", "2")])
def test_flask_through_a_reload(tmp_path: Path, path: str, threads: str) -> None:
    with site("sock_pages:app", tmp_path, "--deadman_timeout", "0.5", "-t", threads) as server:
        with opened(server.port, path) as old:
            assert old.recv(DEADLINE) == "version 1"
            (tmp_path / "version").write_text("2")
            assert server.reload()
            with opened(server.port, path) as new:
                assert new.recv(DEADLINE) == "version 2"
                with pytest.raises(ConnectionClosed):
                    old.recv(DEADLINE)  # the time of the old code is over
                new.send("still there")
                assert new.recv(DEADLINE) == "still there"
                if path == "/flask-sock":
                    new.send("close")
                    with pytest.raises(ConnectionClosed) as closed:
                        new.recv(DEADLINE)
                    assert closed.value.rcvd is not None
                    assert closed.value.rcvd.code == 1000
        assert requests.get(f"{server.url}/", timeout=DEADLINE).text == "2"


@pytest.mark.parametrize(
    ("transports", "mode", "threads"),
    [
        (["websocket"], "threading", "4"),
        (["polling", "websocket"], "threading", "4"),
        (["polling", "websocket"], "gevent", "0"),
    ],
)
def test_flask_socketio_through_a_reload(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, transports: list[str], mode: str, threads: str
) -> None:
    heard: queue.Queue[Any] = queue.Queue()
    monkeypatch.setenv("ASYNC_MODE", mode)
    with site("socketio_pages:app", tmp_path, "--deadman_timeout", "0.5", "-t", threads) as server:
        client = socketio.Client(reconnection_delay=0.1, reconnection_delay_max=0.2)
        client.on("connect", lambda: client.emit("greet"))
        client.on("greeting", heard.put)
        client.on("said", heard.put)
        client.connect(server.url, transports=transports)
        try:
            assert heard.get(timeout=DEADLINE) == "version 1"
            assert client.transport() == "websocket"
            client.emit("say", {"nested": ["Hello", 1]})
            assert heard.get(timeout=DEADLINE) == {"nested": ["Hello", 1]}
            (tmp_path / "version").write_text("2")
            assert server.reload()
            assert heard.get(timeout=DEADLINE) == "version 2"  # it has come back by itself
            client.emit("say", "again")
            assert heard.get(timeout=DEADLINE) == "again"
        finally:
            client.disconnect()


def test_a_view_of_django(tmp_path: Path) -> None:
    command = ("--factory=spawning.django_factory.config_factory", "pages_settings", "-s", "1", "-t", "2")
    with Server(*command, cwd=APPS, env={"PAGES_FILES": str(tmp_path)}) as server:
        with opened(server.port, "/chat/kitchen", subprotocols=["chat"]) as client:
            assert client.recv(DEADLINE) == "kitchen chat None"
            client.send("Hello")
            assert client.recv(DEADLINE) == "Hello"
        refused = requests.get(f"{server.url}/chat/kitchen", timeout=DEADLINE)
        assert (refused.status_code, refused.headers["Upgrade"]) == (426, "websocket")
        assert "Traceback" not in server.log()


# A proxy in front -----------------------------------------------------------------------------------------------------


def test_nginx_in_front_through_a_reload(tmp_path: Path) -> None:
    with (
        site("sock_pages:app", tmp_path, "--deadman_timeout", "0.5") as server,
        DocumentedNginx(tmp_path, server.port) as front,
        opened(front.port, "/ours") as old,
    ):
        assert old.recv(DEADLINE) == "version 1"
        (tmp_path / "version").write_text("2")
        assert server.reload()
        with opened(front.port, "/ours") as new:
            assert new.recv(DEADLINE) == "version 2"
            with pytest.raises(ConnectionClosed) as closed:
                old.recv(DEADLINE)
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1012
            new.send("x" * 1_000_000)
            assert new.recv(DEADLINE) == "x" * 1_000_000


# Greenlets ------------------------------------------------------------------------------------------------------------


def test_the_same_code_in_greenlets() -> None:
    """gevent has patched before anything else is imported; see the script."""
    script = Path(__file__).parent / "greenlets.py"
    finished = subprocess.run(
        [sys.executable, str(script)],
        check=False,
        capture_output=True,
        text=True,
        timeout=2 * DEADLINE,
        env={**os.environ, "PYTHONPATH": str(script.parents[1])},
    )
    assert (finished.returncode, finished.stdout, finished.stderr) == (0, "all is well\n", "")
