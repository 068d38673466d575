"""A worker that could not run when its time was over: what it receives afterwards is answered by the new code.

What keeps it from running is real: a stopped process, and a call that keeps the interpreter lock.
"""

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from integration.client import Client, request
from integration.server import Server

CLIENTS = 10

Stall = Callable[[Server, Path], contextlib.AbstractContextManager[Callable[[], None]]]

_SITE = """\
import ctypes
import gc
import os
import sys

from spawning.ipc.messages import Frozen, encode

VERSION = {version!r}
keeping_the_lock = ctypes.PyDLL(None)


def application(environ, start_response):
    if environ["PATH_INFO"].startswith("/lock"):
        fifo = os.open(environ["QUERY_STRING"], os.O_RDWR)
        if environ["PATH_INFO"] == "/lock-and-fill":
            sys.setswitchinterval(1000)
        print("keeps the lock", file=sys.stderr, flush=True)
        keeping_the_lock.read(fifo, ctypes.create_string_buffer(1), 1)
        os.close(fifo)
        if environ["PATH_INFO"] == "/lock-and-fill":
            (worker,) = [each for each in gc.get_objects() if type(each).__name__ == "Worker"]
            channel = worker._channel.fileno()
            word = encode(Frozen())
            while keeping_the_lock.send(channel, word, len(word), 0) > 0:
                pass
            print("the channel is full", file=sys.stderr, flush=True)
            sys.setswitchinterval(0.005)
    start_response("200 OK", [("Content-Length", "1")])
    return [VERSION.encode()]
"""


def write_site(directory: Path, version: str) -> None:
    (directory / "site_app.py").write_text(_SITE.format(version=version))


@contextlib.contextmanager
def stopped(server: Server, directory: Path) -> Iterator[Callable[[], None]]:
    """Stop the worker; what is given lets it go on."""
    (worker,) = server.workers()
    os.kill(worker.pid, signal.SIGSTOP)
    yield lambda: os.kill(worker.pid, signal.SIGCONT)


@contextlib.contextmanager
def keeping_the_lock(server: Server, directory: Path, path: str = "/lock") -> Iterator[Callable[[], None]]:
    """Have a request keep the interpreter lock; what is given lets the worker go on."""
    fifo = directory / "fifo"
    os.mkfifo(fifo)
    with Client(server.port) as client:
        client.send(request(f"{path}?{fifo}"))
        server.wait_for_log("^keeps the lock$")

        def go_on() -> None:
            fifo.write_bytes(b"x")

        yield go_on
        assert client.read().text == "1"  # it was sent before the cutover


@pytest.mark.parametrize("threads", ["1", "4"])
@pytest.mark.parametrize("stalled", [stopped, keeping_the_lock])
def test_what_a_worker_receives_behind_its_time_is_answered_by_the_new_code(
    tmp_path: Path,
    stalled: Callable[[Server, Path], contextlib.AbstractContextManager[Callable[[], None]]],
    threads: str,
) -> None:
    write_site(tmp_path, "1")
    options = ("-s", "1", "-t", threads, "-l", "/dev/null")
    with (
        Server("site_app:application", *options, cwd=tmp_path, env={"PYTHONDONTWRITEBYTECODE": "1"}) as server,
        contextlib.ExitStack() as stack,
    ):
        clients = [stack.enter_context(Client(server.port)) for _ in range(CLIENTS)]
        assert {client.get("/").text for client in clients} == {"1"}
        with stalled(server, tmp_path) as go_on:
            half = stack.enter_context(Client(server.port))
            half.send(request("/")[:10])
            write_site(tmp_path, "2")
            assert server.reload()
            server.wait_for_log(r"worker did not stop accepting in time worker=1\.1 ")
            assert stack.enter_context(Client(server.port)).get("/").text == "2"
            for client in clients:
                client.send(request("/") * 2)
            half.send(request("/")[10:])
            go_on()
            assert [client.read().text for client in clients for _ in range(2)] == ["2"] * 2 * CLIENTS
            assert half.read().text == "2"
        server.wait_for_log(r"worker retired worker=1\.1 ")
        assert all(client.get("/").text == "2" for client in (*clients, half))  # none of them was closed


@pytest.mark.parametrize("said", [b"", b"PROXY TCP4 203.0.113.7"])
def test_so_is_what_waits_for_the_rest_of_a_proxy_header(tmp_path: Path, plain_bind: str, said: bytes) -> None:
    write_site(tmp_path, "1")
    with (
        Server("site_app:application", "-s", "1", cwd=tmp_path, bind=f"{plain_bind}?proxy") as server,
        contextlib.ExitStack() as stack,
    ):
        clients = [stack.enter_context(Client(server.where)) for _ in range(CLIENTS)]
        for client in clients[1:]:
            client.send(said)
        clients[0].send(b"PROXY UNKNOWN\r\n")
        assert clients[0].get("/").text == "1"  # so the worker has looked at what came before
        with stopped(server, tmp_path) as go_on:
            write_site(tmp_path, "2")
            assert server.reload()
            server.wait_for_log(r"worker did not stop accepting in time worker=1\.1 ")
            rest = b"PROXY TCP4 203.0.113.7 192.0.2.1 1 2\r\n"[len(said) :]
            for client in clients[1:]:
                client.send(rest + request("/"))
            go_on()
            assert {client.read().text for client in clients[1:]} == {"2"}
            assert clients[0].get("/").text == "2"
        server.out.find(r'^203\.0\.113\.7 - - .*"GET / ', 30)


def test_a_worker_whose_controller_reads_nothing_moves_its_connections_all_the_same(tmp_path: Path) -> None:
    write_site(tmp_path, "1")
    options = ("-s", "1", "-t", "4", "-l", "/dev/null")
    env = {"PYTHONDONTWRITEBYTECODE": "1"}
    with Server("site_app:application", *options, cwd=tmp_path, env=env) as server, Client(server.port) as client:
        assert client.get("/").text == "1"
        with keeping_the_lock(server, tmp_path, "/lock-and-fill") as go_on:
            write_site(tmp_path, "2")
            assert server.reload()
            server.wait_for_log(r"worker did not stop accepting in time worker=1\.1 ")
            os.kill(server.pid, signal.SIGSTOP)
            try:
                go_on()
                server.wait_for_log("^the channel is full$")
                assert client.get("/").text == "2"
            finally:
                os.kill(server.pid, signal.SIGCONT)
        server.wait_for_log(r"worker retired worker=1\.1 ")
        assert "bug" not in server.log()


def test_so_is_who_connects_while_no_other_worker_accepts(tmp_path: Path) -> None:
    """Only the worker whose time is over can accept them at first: the one of the new code is stopped meanwhile."""
    write_site(tmp_path, "1")
    env = {"PYTHONDONTWRITEBYTECODE": "1"}
    with (
        Server("site_app:application", "-s", "1", "-t", "1", "-l", "/dev/null", cwd=tmp_path, env=env) as server,
        contextlib.ExitStack() as stack,
    ):
        with keeping_the_lock(server, tmp_path) as go_on:
            write_site(tmp_path, "2")
            assert server.reload()
            (new,) = [worker for worker in server.workers() if worker.generation == 2]
            os.kill(new.pid, signal.SIGSTOP)
            clients = [stack.enter_context(Client(server.port)) for _ in range(CLIENTS)]
            for client in clients:
                client.send(request("/"))
            go_on()
            server.wait_for_log(r"worker retired worker=1\.1 ")
            os.kill(new.pid, signal.SIGCONT)
        assert {client.read().text for client in clients} == {"2"}
