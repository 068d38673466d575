"""A process that a view forks is no worker: it holds nothing of the server's, and ends where it comes back."""

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from integration.client import Client, fetch, request
from integration.server import Server

APP = "offspring.application"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server(APP, "-s", "1", "-t", "4") as server:
        yield server


@pytest.mark.parametrize(
    ("how", "status"),
    [
        ("raise", "1"),
        ("interrupt", "1"),
        ("exit", "7"),
        ("exit-well", "0"),
        ("exit-text", "1"),
        ("return", "0"),
        ("no-head", "0"),
        ("write", "0"),  # to nobody
        ("generator", "begun 0"),
    ],
)
def test_a_forked_process_ends_where_it_comes_back(server: Server, how: str, status: str) -> None:
    mark = server.mark()
    with Client(server.port) as client:
        assert client.get(f"/fork?how={how}").text == status
        assert client.get("/").text == str(server.workers()[0].pid)  # one response each, and by the worker
    if how in ("raise", "interrupt"):
        server.wait_for_log(r"a process that the application has forked fails pid=\d+", after=mark)
        server.wait_for_log(r"^  (RuntimeError: the child fails|KeyboardInterrupt)$", after=mark)
    if how == "exit-text":
        server.wait_for_log("^the child says why$", after=mark)
    assert [found.name for found in server.workers()] == ["1.1"]


def test_a_process_that_is_forked_when_the_response_is_closed(server: Server) -> None:
    with Client(server.port) as client:
        assert client.get("/close").text == "closing"
        assert client.get("/fork?how=closed").text == "7"


def test_a_forked_process_holds_nothing_of_the_server(server: Server) -> None:
    with Client(server.port) as another:
        assert another.get("/").status == 200
        assert fetch(server.port, "/held").text == ""
        assert another.get("/").status == 200


@pytest.mark.parametrize("by", ["Python", "C"])
def test_a_response_that_is_cut_ends_for_its_client_though_a_child_lives(server: Server, by: str) -> None:
    """For HTTP/1.0 only a reset tells it apart from a whole one; a close sends none while somebody has the socket."""
    with Client(server.port) as client:
        client.send(request(f"/cut?by={by}", version="HTTP/1.0"))
        answer: list[bytes] = []
        with pytest.raises(ConnectionResetError):
            answer.extend(iter(lambda: client.sock.recv(1000), b""))
        os.kill(int(b"".join(answer).rpartition(b"\r\n\r\n")[2]), signal.SIGKILL)


def test_so_it_does_on_a_unix_socket(tmp_path: Path) -> None:
    with Server(APP, "-s", "1", bind=f"unix:{tmp_path}/socket") as server, Client(server.where) as client:
        client.send(request("/cut?by=C", version="HTTP/1.0"))
        answer = b"".join(iter(lambda: client.sock.recv(1000), b""))
        os.kill(int(answer.rpartition(b"\r\n\r\n")[2]), signal.SIGKILL)


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT], ids=lambda each: each.name)
def test_a_forked_process_can_be_ended_politely(server: Server, signum: signal.Signals) -> None:
    expected = {signal.SIGINT: "1"}.get(signum, str(-signum))
    assert fetch(server.port, f"/terminate?signal={int(signum)}").text == expected


def test_the_address_is_free_behind_a_stop_whatever_a_view_has_forked() -> None:
    with Server(APP, "-s", "1", check_leftovers=False) as server:
        child = int(fetch(server.port, "/fork?how=block").text)
        port = server.port
        try:
            server.signal(signal.SIGTERM)
            server.wait_for_log(" stopped")
            with Server(APP, "-s", "1", "--port", str(port)) as second:
                assert fetch(second.port).text == str(second.workers()[0].pid)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)


def test_processes_of_a_pool_hold_no_port(tmp_path: Path) -> None:
    with Server(APP, "-s", "1", check_leftovers=False) as server:
        child, port = int(fetch(server.port, "/pool").text), server.port
        worker = server.workers()[0].pid
        try:
            os.kill(worker, signal.SIGKILL)
            server.wait_for_log(" worker started worker=1.2")
            server.signal(signal.SIGTERM)
            server.wait_for_log(" stopped")
            with Server(APP, "-s", "1", "--port", str(port)) as second:
                assert fetch(second.port).status == 200
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)


def test_a_process_that_is_forked_during_the_import_does_not_come_back(tmp_path: Path) -> None:
    (tmp_path / "site_app.py").write_text(
        "import os\nif os.fork() == 0:\n    raise RuntimeError('the child fails')\nos.wait()\n"
        "def application(environ, start_response):\n"
        "    start_response('200 OK', [])\n    return [b'%d' % os.getpid()]\n"
    )
    for options in ([], ["--no-preload"]):
        with Server("site_app:application", "-s", "1", *options, cwd=tmp_path) as server:
            assert fetch(server.port).text == str(server.workers()[0].pid)
            server.wait_for_log("RuntimeError: the child fails")
            assert len(server.workers()) == len(server.fork_servers()) == 1
