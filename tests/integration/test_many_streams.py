"""A thousand event streams open, in one worker: a reload ends none of them, and nobody else notices (promise 1)."""

import os
import re
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

from integration.client import Client, fetch, request
from integration.load import Load, steps_back
from integration.server import Server
from integration.test_idle import descriptors

STREAMS = 1000
LARGEST = 40 << 10  # bytes that an open response may take with ``-t 0``

# The event is a file, since nothing that a client asks reaches the old code any more.
SITE = """\
import os, threading, time

VERSION = b"{version}"
happened = threading.Event()
watching = threading.Lock()


def watch():
    while not os.path.exists("event"):
        time.sleep(0.05)
    happened.set()


def application(environ, start_response):
    if environ["PATH_INFO"] == "/events":
        start_response("200 OK", [("Content-Type", "text/event-stream")])
        return events()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(VERSION)))])
    return [VERSION]


def events():
    if watching.acquire(blocking=False):
        threading.Thread(target=watch, daemon=True).start()
    yield b"data: begun " + VERSION + b"\\n\\n"
    happened.wait()
    yield b"data: ended " + VERSION + b"\\n\\n"
"""


@pytest.fixture(params=[("-t", str(STREAMS + 100)), ("-t", "0")], ids=["threads", "green"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Server]:
    write(tmp_path, 1)
    env = {"PYTHONDONTWRITEBYTECODE": "1"}
    with (
        descriptors(2 * STREAMS),
        Server("many.application", "-s", "1", "-l", "/dev/null", *request.param, cwd=tmp_path, env=env) as server,
    ):
        yield server


def write(directory: Path, version: int) -> None:
    draft = directory / "draft"
    draft.write_text(SITE.format(version=version))
    draft.replace(directory / "many.py")


def listening(server: Server, stack: ExitStack) -> list[Client]:
    """Open the streams, and read the first event of each."""
    clients = [stack.enter_context(Client(server.port)) for _ in range(STREAMS)]
    for client in clients:
        client.send(request("/events"))
    for client in clients:
        client.wait_for(b"data: begun 1\n\n")
    return clients


def test_a_stop_waits_for_no_connections_that_nobody_takes_up(server: Server, tmp_path: Path) -> None:
    """Their worker was retired, and the one that would have taken them up has died while the service ends."""
    with ExitStack() as stack:
        clients = listening(server, stack)
        assert server.reload()
        (new,) = (worker for worker in server.workers() if worker.name == "2.1")
        os.kill(new.pid, signal.SIGSTOP)
        (tmp_path / "event").touch()
        for client in clients:
            client.wait_for(b"data: ended 1\n\n\r\n0\r\n\r\n")
        server.signal(signal.SIGTERM)
        server.wait_for_log(" stopping ")
        os.kill(new.pid, signal.SIGKILL)
        assert server.wait() == 0
    assert not re.search("ERROR|Traceback|killed", server.log())


def test_a_reload_ends_none_of_a_thousand_streams(server: Server, tmp_path: Path) -> None:
    (worker,) = server.workers()
    before = psutil.Process(worker.pid).memory_full_info().uss
    with ExitStack() as stack, Load(server.port, fresh=2, kept=2) as load:
        clients = listening(server, stack)
        needed = psutil.Process(worker.pid).memory_full_info().uss - before
        assert "threads=0" not in server.log() or needed <= LARGEST * STREAMS
        for version in (2, 3):
            write(tmp_path, version)
            assert server.reload()
            assert int(fetch(server.port).body) == version
            load.wait_for(version)
        (tmp_path / "event").touch()
        for client in clients:
            client.wait_for(b"data: ended 1\n\n\r\n0\r\n\r\n")
        server.wait_for_log(r" worker retired worker=1\.1 ")  # their connections are the new code's
    assert load.failures == []
    assert steps_back(load.answers) == []
    assert not re.search("ERROR|Traceback", server.log())
