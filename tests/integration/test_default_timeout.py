"""``socket.setdefaulttimeout`` in an application is for its own sockets: the server's wait as they did."""

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from integration.client import Client, fetch, request
from integration.server import Server

SECONDS = 0.2
APPLICATION = """\
import socket, sys, time
if {at_import}:
    socket.setdefaulttimeout({seconds})

def application(environ, start_response):
    socket.setdefaulttimeout({seconds})
    if environ["PATH_INFO"] == "/wait":
        time.sleep(0.05)
    body = environ["wsgi.input"].read()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
"""


@pytest.fixture(params=[True, False], ids=["at-import", "in-a-view"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Server]:
    code = APPLICATION.format(at_import=request.param, seconds=SECONDS)
    (tmp_path / "site_app.py").write_text(code)
    with Server("site_app:application", "-s", "1", "-t", "4", cwd=tmp_path) as server:
        for _ in range(3):
            assert fetch(server.port).status == 200
        yield server


def idle() -> None:
    """Let the default timeout pass, several times: what is asked here is whether that makes a difference."""
    threading.Event().wait(5 * SECONDS)


@pytest.mark.parametrize("path", ["/", "/wait"], ids=["inline", "in-a-thread"])
def test_an_idle_connection_is_kept(server: Server, path: str) -> None:
    with Client(server.port) as client:
        for _ in range(3):
            assert client.get(path).status == 200
        idle()
        assert client.get(path).status == 200


def test_slow_uploads_hold_nobody_up_and_are_not_cut(server: Server) -> None:
    with contextlib.ExitStack() as stack:
        slow = [stack.enter_context(Client(server.port)) for _ in range(2)]
        for client in slow:
            client.send(request("/", "Content-Length: 20", method="POST") + b"x" * 10)
        with Client(server.port) as another:
            for _ in range(20):
                assert another.get("/").status == 200
        idle()
        for client in slow:
            client.send(b"x" * 10)
            assert client.read().text == "x" * 20


def test_requests_in_threads_are_served_beside_idle_connections(server: Server) -> None:
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(Client(server.port)) for _ in range(8)]
        for _ in range(3):
            for client in clients:
                client.send(request("/wait"))
            assert [client.read().status for client in clients] == [200] * 8
            idle()


def test_a_connection_moves_to_the_next_generation(server: Server) -> None:
    with Client(server.port) as client:
        assert client.get("/").status == 200
        assert server.reload()
        assert client.get("/").status == 200
        idle()
        assert client.get("/").status == 200
