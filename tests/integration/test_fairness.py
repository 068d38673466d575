"""One client that asks for much lets others have their turn: counted in answers, not in seconds."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

from integration.client import Client, request
from integration.server import Server

FILE = 300_000_000  # bytes


class Other:
    """A client that asks for something small again and again between entry and exit, and counts its answers."""

    def __init__(self, port: int) -> None:
        self.answers = 0
        self.failure: Exception | None = None
        self._port = port
        self._over = threading.Event()
        self._begun = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._begun.wait(30)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()
        assert self.failure is None

    def _run(self) -> None:
        try:
            with Client(self._port) as client:
                while not self._over.is_set():
                    assert client.get("/hello").status == 200
                    self.answers += 1
                    self._begun.set()
        except Exception as error:
            self.failure = error


@pytest.fixture(scope="module")
def busy() -> Iterator[Server]:
    with Server("busy.application", "-s", "1", "-t", "4", "-l", "/dev/null") as server:
        yield server


def pipelined(count: int, ms: int, *fields: str, kind: str = "busy", version: str = "HTTP/1.1") -> bytes:
    return b"".join(request(f"/{kind}?ms={ms}&number={number}", *fields, version=version) for number in range(count))


def send(client: Client, data: bytes) -> threading.Thread:
    """Send in a thread of its own: the server reads so many requests only as it answers them."""

    def run() -> None:
        with contextlib.suppress(OSError):  # the test has seen enough, and has closed
            client.send(data)

    thread = threading.Thread(target=run)
    thread.start()
    return thread


@pytest.mark.parametrize(
    ("connections", "count", "ms", "answers"),
    [(1, 3000, 5, 10), (1, 10_000, 1, 10), (20, 200, 1, 2), (200, 5, 5, 2)],
)
def test_pipeliners_let_others_have_their_turn(
    busy: Server, connections: int, count: int, ms: int, answers: int
) -> None:
    """So many of the other's requests, one after the other, are answered before the pipeliners have all of theirs."""
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(Client(busy.port)) for _ in range(connections)]
        other = stack.enter_context(Client(busy.port))
        before = int(other.get("/count").text)
        threads = [send(client, pipelined(count, ms)) for client in clients]
        assert clients[0].read().text == "0"
        for _ in range(answers):
            done = int(other.get("/count").text) - before
        assert done < connections * count
        for client in clients:
            with contextlib.suppress(OSError):
                client.sock.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join()


@pytest.mark.parametrize("kind", ["busy", "sleep"])
@pytest.mark.parametrize(("workers", "threads"), [(1, 1), (1, 4), (1, 100), (3, 4)])
def test_pipeliners_take_turns(kind: str, workers: int, threads: int) -> None:
    """Between two requests of one client of many, few of the others are executed; whether the route waits or computes.

    A thread from which the machine takes the processor may find that more have been, so a few are allowed to.
    """
    clients, count = 20, 64
    turns: list[list[tuple[int, int, int]]] = [[] for _ in range(clients)]  # process, done before it, done behind it
    data = pipelined(count, 1, kind=kind)

    def ask(number: int) -> None:
        with Client(server.port, timeout=60) as client:
            client.send(data)
            for _ in range(count):
                process, before, behind = map(int, client.read()["x-turn"].split())
                turns[number].append((process, before, behind))

    with Server("busy.application", "-s", str(workers), "-t", str(threads), "-l", "/dev/null") as server:
        threads_of_clients = [threading.Thread(target=ask, args=(number,)) for number in range(clients)]
        for thread in threads_of_clients:
            thread.start()
        for thread in threads_of_clients:
            thread.join()
    between = [later[1] - earlier[2] for turn in turns for earlier, later in pairwise(turn)]
    assert len(between) == clients * (count - 1)
    long = [each for each in between if each > 5 * clients]
    assert len(long) <= clients // 4, long


def test_a_large_file_lets_others_have_their_turn(busy: Server, tmp_path: Path) -> None:
    path = tmp_path / "large"
    with path.open("wb") as file:
        file.truncate(FILE)
    with Client(busy.port) as reader, Other(busy.port) as other:
        reader.send(request(f"/file?path={path}"))
        size, buffer = 0, bytearray(1 << 20)
        while size < FILE:
            received = reader.sock.recv_into(buffer)
            if not size:
                before = other.answers
            assert received
            size += received
        assert other.answers - before >= 20


@pytest.mark.parametrize("version", ["HTTP/1.1", "HTTP/1.0"])
@pytest.mark.parametrize("half_closed", [False, True])
@pytest.mark.parametrize("ms", [0, 1])
def test_whatever_is_pipelined_is_answered_in_order(busy: Server, version: str, half_closed: bool, ms: int) -> None:
    count = 200
    with Client(busy.port) as client, Other(busy.port):
        client.send(pipelined(count, ms, "Connection: keep-alive", version=version))
        if half_closed:
            client.sock.shutdown(socket.SHUT_WR)
        assert [client.read().text for _ in range(count)] == [str(number) for number in range(count)]
        if half_closed:
            assert client.read_eof() == b""
        else:
            assert client.get("/hello").status == 200


def test_a_reload_among_pipelined_requests_loses_none() -> None:
    count = 600
    with (
        Server("busy.application", "-s", "1", "-t", "4", "-l", "/dev/null") as server,
        Client(server.port) as client,
        Other(server.port),
    ):
        thread = send(client, pipelined(count, 5))
        assert [client.read().text for _ in range(50)] == [str(number) for number in range(50)]
        assert server.reload()
        assert [client.read().text for _ in range(50, count)] == [str(number) for number in range(50, count)]
        thread.join()
        server.wait_for_log(r"worker retired worker=1\.1 ")
        assert client.get("/hello").status == 200
