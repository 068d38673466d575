"""Limits towards clients, each by its option: how long they may take, how much they may send, how many there may be."""

import contextlib
import select
import socket
import sys
from collections.abc import Iterator

import psutil
import pytest

from integration.client import Client, Closed, request
from integration.clients import LARGE, lazy, serves
from integration.server import Server, until


def limited(limit: str, *args: str) -> list[str]:
    """Make a command line that starts Spawning with a limit of resources."""
    code = (
        f"import os, resource as r, sys; r.setrlimit(r.{limit}); "
        "os.execv(sys.executable, [sys.executable, '-m', 'spawning', '--port', '0', *sys.argv[1:]])"
    )
    return [sys.executable, "-c", code, *args]


@pytest.fixture(scope="module")
def hasty() -> Iterator[Server]:
    """One worker that has patience for a second only, whatever it waits for."""
    limits = [
        f"{option}=1" for option in ("--head-timeout", "--body-timeout", "--keepalive-timeout", "--response-timeout")
    ]
    with Server("crowd.application", "-s", "1", "-t", "2", "-l", "/dev/null", *limits) as server:
        yield server


@pytest.fixture(scope="module")
def narrow() -> Iterator[Server]:
    """One worker that takes small requests only."""
    limits = ["--max-request-line=100", "--max-head-bytes=400", "--max-fields=5", "--max-body-bytes=1000"]
    with Server("basics.application", "-s", "1", "-t", "2", "-l", "/dev/null", *limits) as server:
        yield server


def connections(server: Server, client: Client) -> bool:
    """Return whether the worker still holds its end of the client's connection."""
    port = client.sock.getsockname()[1]
    processes = server.processes()
    return any(at.raddr and at.raddr.port == port for process in processes for at in process.net_connections("tcp"))


def held(server: Server) -> list[int]:
    """Count the connections of each worker."""
    found = [psutil.Process(worker.pid).net_connections("tcp") for worker in server.workers()]
    return [sum(each.status == psutil.CONN_ESTABLISHED for each in of_worker) for of_worker in found]


# Patience ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("begun", [b"G", b"GET / HTTP/1.1\r\nHost: a", b"GET / HTTP/1.1\r\nHost: a\r\n"])
def test_a_head_that_does_not_come_to_an_end_is_408(hasty: Server, begun: bytes) -> None:
    with Client(hasty.port) as client:
        client.send(begun)
        response = client.read()
        assert (response.status, response.closes) == (408, True)
        assert client.read_eof() == b""


@pytest.mark.parametrize("field", ["Content-Length: 5", "Transfer-Encoding: chunked"])
def test_a_body_that_does_not_come_to_an_end_is_408(hasty: Server, field: str) -> None:
    with Client(hasty.port) as client:
        client.send(request("/echo", field, method="POST") + b"1\r\n")
        assert client.read().status == 408
        assert client.read_eof() == b""


def test_an_idle_connection_is_closed_without_a_word(hasty: Server) -> None:
    with Client(hasty.port) as silent, Client(hasty.port) as used:
        assert not used.get("/hello").closes
        assert (silent.read_eof(), used.read_eof()) == (b"", b"")


@pytest.mark.parametrize("target", [f"/repeat?bytes={LARGE}", "/blocks?blocks=100000"])
def test_a_reader_that_takes_nothing_is_cut_off(hasty: Server, target: str) -> None:
    with lazy(hasty) as client:
        client.send(request(target))
        assert client.sock.recv(1, socket.MSG_PEEK)  # there is a connection now
        # It finds out as soon as it wants something of the worker: there is nobody any more.
        until(lambda: not connections(hasty, client), "the end of the connection")
        with pytest.raises(Closed):
            client.read()
    assert serves(hasty)


def test_a_body_that_only_trickles_is_408(hasty: Server) -> None:
    """Each byte comes well within --body-timeout; all of them together are fewer than --min-body-rate."""
    with Client(hasty.port) as client:
        client.send(request("/echo", "Content-Length: 1000000", method="POST"))
        while not select.select([client.sock], [], [], 0.05)[0]:
            client.send(b"b")
        assert client.read().status == 408


def test_a_keepalive_timeout_of_0_keeps_no_connection() -> None:
    with (
        Server("basics.application", "-s", "1", "--keepalive-timeout", "0", "-l", "/dev/null") as server,
        Client(server.port) as client,
    ):
        assert client.get("/hello").closes
        assert client.read_eof() == b""


# Size ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "fields", "status"),
    [
        ("/hello?".ljust(87, "a"), [], 200),  # with "GET", "HTTP/1.1" and two spaces a line of 100 bytes
        ("/hello?".ljust(88, "a"), [], 414),
        ("/hello", ["X: x"] * 4, 200),
        ("/hello", ["X: x"] * 5, 431),
        ("/hello", ["X: " + "x" * 400], 431),
    ],
)
def test_a_head_that_is_too_large_is_refused(narrow: Server, target: str, fields: list[str], status: int) -> None:
    with Client(narrow.port) as client:
        response = client.get(target, *fields)
        assert (response.status, response.closes) == (status, status != 200)


def test_a_body_up_to_the_limit_is_taken(narrow: Server) -> None:
    with Client(narrow.port) as client:
        assert client.post("/echo", b"b" * 1000).body == b"b" * 1000
        client.send(request("/echo", "Transfer-Encoding: chunked", method="POST") + b"3e8\r\n" + b"b" * 1000)
        client.send(b"\r\n0\r\n\r\n")
        assert client.read().body == b"b" * 1000


@pytest.mark.parametrize("expectation", [[], ["Expect: 100-continue"]])
def test_a_body_announced_too_large_is_413_before_it_is_sent(narrow: Server, expectation: list[str]) -> None:
    with Client(narrow.port) as client:
        client.send(request("/echo", "Content-Length: 1001", *expectation, method="POST"))
        response = client.read()
        assert (response.status, response.closes) == (413, True)
        assert client.read_eof() == b""


def test_a_body_that_becomes_too_large_is_413(narrow: Server) -> None:
    with Client(narrow.port) as client:
        client.send(request("/echo", "Transfer-Encoding: chunked", method="POST"))
        client.send(b"1f4\r\n" + b"b" * 500 + b"\r\n1f4\r\n" + b"b" * 500 + b"\r\n1\r\n")
        assert client.read().status == 413


def test_a_client_that_goes_on_sending_sees_why_it_was_refused(narrow: Server) -> None:
    """Closing at once would turn what arrives later into a reset, which destroys the answer (RFC 9112 section 9.6)."""
    with Client(narrow.port) as client:
        client.send(request("/echo", f"Content-Length: {LARGE}", method="POST"))
        with contextlib.suppress(ConnectionError):
            client.send(b"b" * 1_000_000)
        assert client.read().status == 413


# Number --------------------------------------------------------------------------------------------------------------


def test_at_its_limit_of_connections_a_worker_lets_others_wait() -> None:
    """While all of them are busy; a body that is arriving makes one busy, too."""
    with Server("basics.application", "-s", "1", "--max-connections", "2", "-l", "/dev/null") as server:
        with Client(server.port) as first, Client(server.port) as second, Client(server.port) as third:
            for client in (first, second):
                client.send(request("/echo", "Content-Length: 2", method="POST") + b"a")
            third.send(request("/hello"))
            server.wait_for_log(r"connection limit reached connections=2$")
            first.send(b"b")
            assert first.read().status == 200
            second.close()
            assert third.read().status == 200
        server.wait_for_log(r"accepting again connections=\d reason=connections$")
        assert len([line for line in server.err.since() if "connection limit reached" in line]) == 1


def test_at_its_limit_of_connections_a_worker_closes_the_longest_idle() -> None:
    """One thread, so that a request is over before the next one begins. A thread that has lost the lead knows the time
    from the leader's last poll, which may be the same for two requests. So the second client asks once more: what it
    asks when it has its response is polled for behind that.
    """
    with (
        Server("basics.application", "-s", "1", "-t", "1", "--max-connections", "2", "-l", "/dev/null") as server,
        Client(server.port) as first,
        Client(server.port) as second,
        Client(server.port) as third,
    ):
        for client in (second, first, second, second, third):
            assert client.get("/hello").status == 200
        assert first.read_eof() == b""
        assert second.get("/hello").status == 200


def test_at_its_limit_of_connections_a_worker_leaves_others_to_its_siblings() -> None:
    with (
        Server("basics.application", "-s", "2", "--max-connections", "1", "-l", "/dev/null") as server,
        Client(server.port) as first,
        Client(server.port) as second,
    ):
        for client in (first, second):  # both busy, so neither is closed for the other
            client.send(request("/echo", "Content-Length: 2", method="POST") + b"a")
        until(lambda: sum(held(server)) == 2, "both are accepted")
        assert held(server) == [1, 1]


def test_idle_connections_are_closed_for_new_ones_when_no_sibling_has_room() -> None:
    """That a worker leaves them to siblings for a moment is in the unit tests: how long these need for it depends."""
    with (
        Server("basics.application", "-s", "2", "--max-connections", "2", "-l", "/dev/null") as server,
        contextlib.ExitStack() as stack,
    ):
        clients: list[Client] = []
        while len(clients) < 4:  # there is room for all, in the two
            client = stack.enter_context(Client(server.port))
            assert client.get("/hello").status == 200
            clients = [*(each for each in clients if not _has_ended(each)), client]
        with Client(server.port) as further:
            assert further.get("/hello").status == 200
            assert 2 <= sum(map(_is_served, clients)) <= 3  # each worker may have made room


def _is_served(client: Client) -> bool:
    try:
        return client.get("/hello").status == 200
    except (Closed, ConnectionError):
        return False


def _has_ended(client: Client) -> bool:
    """Whether the server has closed an idle connection."""
    readable, _, _ = select.select([client.sock], [], [], 0)
    return bool(readable)


def test_without_descriptors_a_worker_serves_whom_it_has_and_accepts_others_later() -> None:
    with Server("hoard.application", "-s", "1", "-t", "2", "-l", "/dev/null") as server, Client(server.port) as client:
        assert int(client.get("/hoard").body) > 0
        with Client(server.port) as second, Client(server.port) as third:
            for waiting in (second, third):
                waiting.send(request("/hello"))
            server.wait_for_log(r"cannot accept connections=1 error=Too many open files$")
            assert client.get("/one").body == b"opened"  # the descriptor that was kept in reserve
            assert client.get("/release").status == 200
            assert second.read().status == third.read().status == 200
        server.wait_for_log(r"accepting again connections=\d reason=descriptors$")
        assert len([line for line in server.err.since() if "cannot accept" in line]) == 1


def test_without_descriptors_a_large_body_is_503_and_concerns_nobody_else() -> None:
    with (
        Server("hoard.application", "-s", "1", "-t", "2", "-l", "/dev/null") as server,
        Client(server.port) as client,
        Client(server.port) as uploader,
        Client(server.port) as late,
    ):
        assert uploader.get("/hello").status == 200
        assert int(client.get("/hoard").body) > 0
        late.send(request("/hello"))
        server.wait_for_log("cannot accept")
        assert int(client.get("/hoard").body) > 0  # the reserve, too
        assert client.get("/hoard").status == 200  # and what the watchdog had open while that one lasted
        uploader.send(request("/echo", "Content-Length: 1000000", method="POST"))
        with contextlib.suppress(ConnectionError):  # it may be refused before all of it is sent
            uploader.send(b"b" * 1_000_000)
        assert uploader.read().status == 503
        assert client.post("/echo", b"small").body == b"small"
        assert client.get("/release").status == 200
        assert client.post("/echo", b"b" * 1_000_000).body == b"b" * 1_000_000


def test_bodies_that_are_only_announced_cost_a_socket_each() -> None:
    with (
        Server("hoard.application", "-s", "1", "-t", "2", "-l", "/dev/null") as server,
        contextlib.ExitStack() as stack,
    ):
        # More than half of the descriptors that this application leaves itself.
        clients = [stack.enter_context(Client(server.port)) for _ in range(130)]
        head = request("/echo", "Content-Length: 70000000", "Expect: 100-continue", method="POST")
        for client in clients:
            client.send(head)
        assert [client.read().status for client in clients] == [100] * len(clients)  # so they have been read
        with Client(server.port) as other:
            assert other.get("/one").body == b"opened"
            assert other.post("/echo", b"b" * 1_000_000).body == b"b" * 1_000_000


def test_bodies_in_files_leave_descriptors_to_others() -> None:
    with (
        Server("hoard.application", "-s", "1", "-t", "2", "-l", "/dev/null") as server,
        contextlib.ExitStack() as stack,
    ):
        clients = [stack.enter_context(Client(server.port)) for _ in range(100)]
        for client in clients:
            client.send(request("/echo", "Content-Length: 70000000", "Expect: 100-continue", method="POST"))
            assert client.read().status == 100
            client.send(b"b" * 100_000)
        server.wait_for_log("request body cannot be kept status=503 bytes=.* error=too many bodies are in files$")
        with Client(server.port) as other:
            assert other.get("/one").body == b"opened"


def test_the_soft_limit_of_descriptors_is_raised_in_any_case() -> None:
    options = ("basics.application", "-s", "1", "-l", "/dev/null", "--max-connections", "2")
    with Server(command=limited("RLIMIT_NOFILE, (128, 1000)", *options)) as server:
        (worker,) = server.workers()
        assert psutil.Process(worker.pid).rlimit(psutil.RLIMIT_NOFILE) == (1000, 1000)


# A full disk ---------------------------------------------------------------------------------------------------------


def test_a_body_that_the_disk_cannot_take_is_507_and_concerns_nobody_else() -> None:
    with Server("full_disk.application", "-s", "1", "-t", "2", "-l", "/dev/null") as server:
        for size, status in ((100_000, 200), (700_000, 200), (700_001, 507), (2_000_000, 507)):
            with Client(server.port) as client:
                client.send(request("/echo", f"Content-Length: {size}", method="POST"))
                with contextlib.suppress(ConnectionError):  # it may be refused before all of it is sent
                    client.send(b"b" * size)
                response = client.read()
                assert response.status == status
                assert b"/tmp" not in response.body  # the place is nobody's business
                assert status != 200 or response.body == b"b" * size
        assert serves(server)
        told = "request body cannot be kept status=507"
        until(lambda: len([line for line in server.err.since() if told in line]) == 2, "a line for each of them")


def test_without_any_place_for_temporary_files_medium_bodies_are_taken() -> None:
    # No file can have a byte, so no directory is found that takes one, as on a read-only disk; nor one for a socket.
    options = ("basics.application", "-s", "1", "-l", "/dev/null")
    nowhere = {"SPAWNING_CONTROL_DIRECTORY": "/proc/nowhere"}
    with Server(command=limited("RLIMIT_FSIZE, (0, 0)", *options), env=nowhere) as server:
        server.wait_for_log(r" WARNING no control socket, spawnctl will not find this server reason=")
        server.wait_for_log(r"no directory for temporary files, larger request bodies get 507 bytes=524288 error=")
        for size, status in ((1, 200), (65_537, 200), (524_288, 200), (524_289, 507), (2_000_000, 507)):
            with Client(server.port) as client:
                client.send(request("/echo", f"Content-Length: {size}", method="POST"))
                with contextlib.suppress(ConnectionError):  # it may be refused before all of it is sent
                    client.send(b"b" * size)
                response = client.read()
                assert response.status == status
                assert status != 200 or response.body == b"b" * size
        assert serves(server)
