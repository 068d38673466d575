"""A worker through its socket: threads that wait, clients that are slow or vanish."""

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from integration.client import Client, fetch, request
from integration.clients import LARGE, lazy, serves
from integration.gate import Gate
from integration.server import Server, until


@pytest.fixture(scope="module")
def pair() -> Iterator[Server]:
    """One worker with two request threads."""
    with Server("crowd.application", "-s", "1", "-t", "2", "-l", "/dev/null") as server:
        yield server


@pytest.fixture(scope="module")
def single() -> Iterator[Server]:
    """One worker with one request thread: whatever holds that, holds everybody."""
    with Server("crowd.application", "-s", "1", "-t", "1", "-l", "/dev/null") as server:
        yield server


# Threads -------------------------------------------------------------------------------------------------------------


def test_a_request_that_waits_does_not_keep_the_one_that_ends_its_waiting(pair: Server) -> None:
    """Both are there at the same time only if the lead was taken from the thread in the first one."""
    with Client(pair.port) as first, Client(pair.port) as second:
        first.send(request("/meet?parties=2"))
        second.send(request("/meet?parties=2"))
        assert (first.read().body, second.read().body) == (b"met", b"met")
    assert serves(pair)


@pytest.mark.parametrize("threads", [3, 20])
def test_as_many_requests_as_threads_execute_at_a_time(threads: int) -> None:
    with (
        Server("crowd.application", "-s", "1", "-t", str(threads), "-l", "/dev/null") as server,
        contextlib.ExitStack() as stack,
    ):
        for _ in range(3):
            clients = [stack.enter_context(Client(server.port)) for _ in range(threads)]
            for client in clients:
                client.send(request(f"/meet?parties={threads}"))
            assert [client.read().body for client in clients] == [b"met"] * threads


def test_what_finds_all_threads_busy_waits_for_one(pair: Server, gate: Gate) -> None:
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(Client(pair.port)) for _ in range(8)]
        for client in clients:
            assert client.get("/hello").status == 200  # accepted: a worker whose threads are busy accepts nobody
        for client in clients:
            client.send(request(gate.target))
        gate.wait_entered(2)
        for _ in range(6):
            gate.open()
            gate.wait_entered()
        gate.open(2)
        assert [client.read().body for client in clients] == [b"held\n"] * 8
    assert fetch(pair.port, "/peak").body == b"2"


def test_requests_without_a_thread_of_their_own_are_executed_by_the_others(gate: Gate) -> None:
    """As where the kernel limits threads (``ulimit -u``, ``pids.max``): fewer execute at a time, but all do."""
    with (
        Server("crowd.application", "-s", "1", "-t", "20", "-l", "/dev/null") as server,
        contextlib.ExitStack() as stack,
    ):
        clients = [stack.enter_context(Client(server.port)) for _ in range(8)]
        for client in clients[:2]:
            client.send(request("/meet?parties=2"))
        assert [client.read().body for client in clients[:2]] == [b"met"] * 2
        assert fetch(server.port, "/cage").body == b"caged"
        for client in clients:
            client.send(request(gate.target))
        server.wait_for_log("no further request thread can be started")
        for _ in clients:
            gate.wait_entered()
            gate.open()
        assert [client.read().body for client in clients] == [b"held\n"] * 8
        assert serves(server)


def test_where_no_thread_can_be_started_a_request_that_waits_keeps_the_leader(gate: Gate) -> None:
    with Server("crowd.application", "-s", "1", "-t", "20", "-l", "/dev/null") as server:
        assert fetch(server.port, "/cage").body == b"caged"
        with Client(server.port) as holder:
            holder.send(request(gate.target))
            gate.wait_entered()
            server.wait_for_log("no further request thread can be started")
            gate.open()
            assert holder.read().body == b"held\n"
            holder.send(request("/hello"))
            assert holder.read().status == 200


def test_sys_exit_costs_no_thread(pair: Server, single: Server) -> None:
    for server in (pair, single):
        assert [fetch(server.port, "/leave").status for _ in range(5)] == [500] * 5
        assert serves(server)


# Slow readers --------------------------------------------------------------------------------------------------------


def test_a_large_response_to_a_slow_reader_holds_no_thread(single: Server) -> None:
    with lazy(single) as client:
        client.send(request(f"/repeat?bytes={LARGE}"))
        assert serves(single)
        assert client.read().body == b"x" * LARGE
        assert client.get("/hello").status == 200


def test_a_large_file_to_a_slow_reader_holds_no_thread(single: Server, tmp_path: Path) -> None:
    path = tmp_path / "large"
    path.write_bytes(bytes(range(250)) * (LARGE // 250))
    with lazy(single) as client:
        client.send(request(f"/file?path={path}"))
        assert serves(single)
        assert client.read().body == path.read_bytes()
        assert client.get("/hello").status == 200


def test_a_stream_waits_for_its_reader_and_for_nobody_else(pair: Server) -> None:
    blocks = LARGE // 65536
    with lazy(pair) as client:
        client.send(request(f"/blocks?blocks={blocks}"))
        assert serves(pair)
        assert int(fetch(pair.port, "/produced").body) < blocks
        assert client.read().body == b"s" * 65536 * blocks
        assert client.get("/hello").status == 200


def test_pipelined_requests_behind_a_slow_reader_are_answered_in_order(single: Server) -> None:
    with lazy(single) as client:
        client.send(request(f"/repeat?bytes={LARGE}") + request("/hello") + request("/repeat?bytes=3"))
        assert serves(single)
        assert [len(client.read().body) for _ in range(3)] == [LARGE, 14, 3]


# Clients that go -----------------------------------------------------------------------------------------------------


def test_a_client_that_vanishes_ends_its_stream(pair: Server) -> None:
    before = int(fetch(pair.port, "/closed").body)
    with lazy(pair) as client:
        client.send(request("/blocks?blocks=100000"))
        assert client.sock.recv(1000)
    until(lambda: int(fetch(pair.port, "/closed").body) == before + 1, "close() of the stream")
    assert serves(pair)


def test_a_client_that_vanishes_while_its_request_executes_harms_nobody(pair: Server, gate: Gate) -> None:
    for _ in range(4):
        with Client(pair.port) as client:
            client.send(request(gate.target))
            gate.wait_entered()
        gate.open()
        assert serves(pair)


def test_a_half_closed_client_is_answered(pair: Server) -> None:
    with Client(pair.port) as client:
        client.send(request("/hello") + request("/repeat?bytes=3"))
        client.sock.shutdown(socket.SHUT_WR)
        assert (client.read().body, client.read().body) == (b"Hello, world!\n", b"xxx")
        assert client.read_eof() == b""


def test_a_client_that_half_closes_while_its_request_executes_is_answered(pair: Server, gate: Gate) -> None:
    with Client(pair.port) as client:
        client.send(request(gate.target))
        gate.wait_entered()
        client.sock.shutdown(socket.SHUT_WR)
        gate.open()
        assert client.read().body == b"held\n"
        assert client.read_eof() == b""


def test_a_client_that_asks_again_and_half_closes_while_its_request_executes_is_not_kept(
    pair: Server, gate: Gate
) -> None:
    """The end comes along with a request that the thread reads itself, and no other event tells of it."""
    with Client(pair.port) as client:
        client.send(request(gate.target))
        gate.wait_entered()
        client.send(request("/hello"))
        client.sock.shutdown(socket.SHUT_WR)
        assert serves(pair)  # so the leader has seen it
        gate.open()
        assert [client.read().body for _ in range(2)] == [b"held\n", b"Hello, world!\n"]
        assert client.read_eof() == b""


@pytest.mark.parametrize("length", [100_000, 100_001])
def test_the_end_of_a_client_is_seen_behind_more_than_is_read_at_once(pair: Server, gate: Gate, length: int) -> None:
    """It half-closes behind a request, or in the middle of one, that arrives while another one executes."""
    with Client(pair.port) as client:
        client.send(request(gate.target))
        gate.wait_entered()
        client.send(request("/echo", f"Content-Length: {length}", method="POST") + b"x" * 100_000)
        client.sock.shutdown(socket.SHUT_WR)
        assert serves(pair)  # so the leader has seen it
        gate.open()
        assert client.read().body == b"held\n"
        if length == 100_000:
            assert client.read().body == b"x" * 100_000
        assert client.read_eof() == b""


# What arrives while a request executes -------------------------------------------------------------------------------


def test_a_request_behind_one_that_executes_is_answered_next(pair: Server, gate: Gate) -> None:
    with Client(pair.port) as client:
        client.send(request(gate.target))
        gate.wait_entered()
        client.send(request("/hello") + request("/repeat?bytes=3"))
        gate.open()
        assert [client.read().body for _ in range(3)] == [b"held\n", b"Hello, world!\n", b"xxx"]


def test_what_arrives_too_late_does_not_cost_the_response_of_a_connection_that_closes(pair: Server, gate: Gate) -> None:
    """The response and the end of the connection go out together, but before close() sees that something is unread."""
    with Client(pair.port) as client:
        client.send(request(gate.target, "Connection: close"))
        gate.wait_entered()
        client.send(b"\r\n")
        gate.open()
        assert client.read().body == b"held\n"


def test_a_response_and_the_end_of_its_connection_do_not_wait_for_close(pair: Server, gate: Gate) -> None:
    """What the application does behind its response, such as giving back its connection to the database, may last."""
    with Client(pair.port) as client:
        for _ in range(3):
            client.send(request(gate.target.replace("/hold", "/unhurried")))
            assert client.read().body == b"all there"
            gate.wait_entered()
            gate.open()
        client.send(request(gate.target.replace("/hold", "/unhurried"), "Connection: close"))
        assert client.read().body == b"all there"
        assert client.read_eof() == b""
        client.close()
        gate.wait_entered()
        gate.open()
    assert serves(pair)


def test_an_expectation_behind_one_that_executes_is_met(pair: Server, gate: Gate) -> None:
    with Client(pair.port) as client:
        expecting = request("/echo", "Content-Length: 4", "Expect: 100-continue", method="POST")
        client.send(request(gate.target) + expecting)
        gate.wait_entered()
        gate.open()
        assert client.read().body == b"held\n"
        assert client.read().status == 100
        client.send(b"body")
        assert client.read().body == b"body"


def test_nonsense_behind_one_that_executes_is_refused_after_its_answer(pair: Server, gate: Gate) -> None:
    with Client(pair.port) as client:
        client.send(request(gate.target) + b"\0nonsense\r\n\r\n")
        gate.wait_entered()
        gate.open()
        assert client.read().body == b"held\n"
        assert client.read().status == 400


def test_nul_behind_a_known_request_line_is_no_request(single: Server) -> None:
    with Client(single.port) as client:
        assert client.get("/hello").status == 200
        client.send(b"GET /hello\0")
        assert client.read().status == 400
    assert serves(single)
