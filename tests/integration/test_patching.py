"""A view that has the standard library patched, in the middle of a request: the server goes on as it was."""

from pathlib import Path

import pytest

from integration.client import Client, fetch
from integration.server import Server

APPLICATION = """\
import os, sys, threading, time, warnings

def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/patch":
        warnings.simplefilter("ignore")
        {code}
    elif path == "/wait":
        time.sleep(0.05)
    start_response("200 OK", [("Content-Type", "text/plain")])
    if path == "/large":
        return iter([b"x" * (1 << 20)] * 8)
    return [b"%d" % os.getpid()]
"""

PATCHES = {
    "grequests": "from gevent import monkey; monkey.patch_all(thread=False, select=False)",
    "gevent": "from gevent import monkey; monkey.patch_all()",
    "gevent-socket": "from gevent import monkey; monkey.patch_socket()",
    "gevent-thread": "from gevent import monkey; monkey.patch_thread()",
    "gevent-time": "from gevent import monkey; monkey.patch_time()",
    "eventlet": "import eventlet; eventlet.monkey_patch()",
    "pytest-socket": """import socket
        class Guarded(socket.socket):
            def __new__(cls, *args, **kwargs):
                raise RuntimeError("sockets are not allowed")
        socket.socket = socket.SocketType = Guarded""",
}


@pytest.mark.parametrize("patch", PATCHES.values(), ids=PATCHES)
def test_the_server_goes_on(tmp_path: Path, patch: str) -> None:
    (tmp_path / "site_app.py").write_text(APPLICATION.format(code=patch))
    options = ["-s", "1", "-t", "8", "--deadman_timeout", "5"]
    with Server("site_app:application", *options, cwd=tmp_path) as server:
        worker = str(server.workers()[0].pid)
        with Client(server.port) as kept:
            assert kept.get("/").text == worker
            assert fetch(server.port, "/patch").text == worker
            assert kept.get("/").text == worker
            for _ in range(3):
                assert fetch(server.port).text == worker
            clients = [Client(server.port) for _ in range(6)]
            for client in clients:
                client.send(b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n" * 2)
            for client in clients:
                assert [client.read().text, client.read().text] == [worker] * 2
                client.send(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
            for client in clients:
                assert len(client.read().body) == 8 << 20
                client.close()
            assert kept.get("/wait").text == worker
            assert server.reload()
            assert kept.get("/").text != worker
            assert fetch(server.port).status == 200
