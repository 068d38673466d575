"""Clients that read slowly, or not at all: they cost bounded memory and no threads, and steady ones are not cut off."""

import contextlib
import os
import select
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import psutil
import pytest

from integration.client import Client, Closed, fetch, request
from integration.clients import LARGE, lazy
from integration.gate import Gate
from integration.server import Server, until
from integration.test_limits import connections, limited

READERS = 100
PAGE = 5_000_000  # bytes, made for each request
BUDGET = 16 << 20  # bytes
MARGIN = 48 << 20  # bytes: a page that is being made, what the allocator keeps, and buffers of 100 connections


def worker_of(server: Server) -> psutil.Process:
    (worker,) = server.workers()
    return psutil.Process(worker.pid)


def spooled(worker: psutil.Process, directory: Path) -> int:
    """Count the temporary files that a worker has open."""
    count = 0
    for name in os.listdir(f"/proc/{worker.pid}/fd"):
        with contextlib.suppress(OSError):
            count += os.readlink(f"/proc/{worker.pid}/fd/{name}").startswith(str(directory))
    return count


@pytest.mark.parametrize("budget", [BUDGET, 0])
def test_readers_that_do_not_read_cost_bounded_memory_and_get_all_of_it_in_the_end(tmp_path: Path, budget: int) -> None:
    options = ("basics.application", "-s", "1", "-t", "2", "-l", "/dev/null", "--max-kept-output", str(budget))
    with Server(*options, env={"TMPDIR": str(tmp_path)}) as server, contextlib.ExitStack() as stack:
        worker = worker_of(server)
        assert len(fetch(server.port, f"/repeat?bytes={PAGE}").body) == PAGE
        before = worker.memory_info().rss
        clients = [stack.enter_context(lazy(server)) for _ in range(READERS)]
        for client in clients:
            client.send(request(f"/repeat?bytes={PAGE}"))
        least = READERS if not budget else READERS // 2  # the kernel takes a part of each
        until(lambda: spooled(worker, tmp_path) >= least, f"{least} responses are in files")
        assert worker.memory_info().rss - before <= budget + MARGIN
        assert os.listdir(tmp_path) == []  # they have no names, so nothing is left of a worker that is killed
        assert fetch(server.port, "/hello").status == 200
        for client in clients:
            assert client.read().body.count(b"x") == PAGE
        until(lambda: not spooled(worker, tmp_path), "the files are gone")
        assert worker.memory_info().rss - before <= budget + MARGIN


@contextlib.contextmanager
def full_disk(_directory: Path) -> Iterator[Server]:
    options = ("basics.application", "-s", "1", "-t", "2", "-l", "/dev/null", "--max-kept-output", "0")
    with Server(command=limited("RLIMIT_FSIZE, (0, 0)", *options)) as server:
        yield server


@contextlib.contextmanager
def missing_directory(directory: Path) -> Iterator[Server]:
    place = directory / "gone"
    place.mkdir()
    options = ("basics.application", "-s", "1", "-t", "2", "-l", "/dev/null", "--max-kept-output", "0")
    with Server(*options, env={"TMPDIR": str(place)}) as server:
        with Client(server.port) as client:  # it has used the place
            assert len(client.post("/echo", b"b" * 1_000_000).body) == 1_000_000
        place.rmdir()
        yield server


@pytest.mark.parametrize("trouble", [full_disk, missing_directory])
def test_a_response_that_has_no_place_is_cut_and_concerns_nobody_else(
    tmp_path: Path, trouble: type[contextlib.AbstractContextManager[Server]]
) -> None:
    with trouble(tmp_path) as server, lazy(server) as client:  # type: ignore[call-arg]
        client.send(request(f"/repeat?bytes={LARGE}"))
        server.wait_for_log(r" ERROR response cannot be kept for a slow client bytes=\d+ error=")
        with pytest.raises(Closed):
            client.read()
        assert fetch(server.port, "/hello").status == 200


# Threads -------------------------------------------------------------------------------------------------------------


def test_readers_of_streams_that_do_not_read_hold_no_threads_from_others(gate: Gate) -> None:
    with (
        Server("basics.application", "-s", "1", "-t", "4", "-l", "/dev/null") as server,
        contextlib.ExitStack() as stack,
    ):
        worker = worker_of(server)
        for _ in range(20):
            stack.enter_context(lazy(server)).send(request("/endless?path=/dev/null"))
        until(lambda: worker.num_threads() >= 22, "each stream has a thread")  # beside the leader and the main thread
        waiting = [stack.enter_context(Client(server.port)) for _ in range(3)]
        for client in waiting:
            client.send(request(gate.target))
        gate.wait_entered(3)
        assert fetch(server.port, "/hello").status == 200
        gate.open(3)
        assert [client.read().status for client in waiting] == [200] * 3


@pytest.mark.parametrize(("most", "status"), [(0, 503), (2, 503), (4, 200)])
def test_as_many_readers_as_may_hold_no_thread(most: int, status: int) -> None:
    """Four of them, for two threads; what waits for a thread too long is answered."""
    options = ("--max-waiting-writers", str(most), "--queue-timeout", "1")
    with (
        Server("basics.application", "-s", "1", "-t", "2", "-l", "/dev/null", *options) as server,
        contextlib.ExitStack() as stack,
    ):
        readers = [stack.enter_context(lazy(server)) for _ in range(4)]
        for reader in readers:
            reader.send(request("/endless?path=/dev/null"))
            assert reader.sock.recv(1)
        until(lambda: fetch(server.port, "/hello").status == status, f"status {status}")
        assert fetch(server.port, "/hello").status == status


# Progress ------------------------------------------------------------------------------------------------------------


def trickle(client: Client, left: int) -> int:
    """Take a little, and pause; return how much is left then, -1 when the connection has ended."""
    select.select([], [], [], 0.2)
    try:
        received = len(client.sock.recv(min(left, 32768)))
    except ConnectionResetError:
        return -1
    return left - received if received else -1


class Trickling:
    """Takes a little at a time between entry and exit, in a thread of its own: whatever the test does meanwhile."""

    def __init__(self, client: Client, left: int) -> None:
        self.left = left
        self._client = client
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while self.left > 0 and not self._over.is_set():
            self.left = trickle(self._client, self.left)


def test_who_reads_slowly_but_steadily_is_not_cut_and_who_stops_is() -> None:
    """What the kernel keeps for a client is megabytes: it is not for minutes that it wants more for a slow one."""
    options = ("--response-timeout", "4")
    with (
        Server("basics.application", "-s", "1", "-t", "2", "-l", "/dev/null", *options) as server,
        lazy(server) as steady,
    ):
        steady.send(request(f"/repeat?bytes={LARGE}"))
        with Trickling(steady, LARGE) as reading:
            for _ in range(2):  # one that stops, and one that stops later
                with lazy(server) as stopped:
                    stopped.send(request(f"/repeat?bytes={LARGE}"))
                    assert stopped.sock.recv(1)
                    until(lambda: not connections(server, stopped), "it is cut")
                    assert reading.left > 0
        assert connections(server, steady)
        left = reading.left
        while left > 0:  # the head is more than is counted here
            received = steady.sock.recv(min(left, 1 << 20))
            assert received
            left -= len(received)


def test_who_reads_steadily_but_too_slowly_is_cut_where_a_rate_is_asked_for() -> None:
    options = ("--response-timeout", "1", "--min-response-rate", "10000000")
    with (
        Server("basics.application", "-s", "1", "-t", "2", "-l", "/dev/null", *options) as server,
        lazy(server) as steady,
    ):
        steady.send(request(f"/repeat?bytes={LARGE}"))
        assert steady.sock.recv(1)
        left = LARGE
        while connections(server, steady):
            left = trickle(steady, left)
        assert fetch(server.port, "/hello").status == 200
        with pytest.raises(Closed):
            steady.read()
