"""Idle connections cost memory only, and little of it, whatever their last request was."""

import contextlib
import json
import resource
import socket
from collections.abc import Iterator

from integration.client import Client, request
from integration.control import spawnctl
from integration.hostile import RESET
from integration.server import Server, until

CONNECTIONS = 10_000
LARGEST = 4096  # bytes of Python memory for each
HELLO = b"\r\n\r\nhello"


@contextlib.contextmanager
def descriptors(needed: int) -> Iterator[None]:
    """Let this process have so many descriptors for the time of the block."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, needed), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def last_requests(number: int) -> tuple[bytes, int]:
    """Make what a connection sends before it becomes idle, and count the requests; one of several kinds."""
    fields = [f"X-Field-{name}: of connection {number}" for name in range(10)]
    cookie = f"Cookie: session={number:01000}"
    kinds = [
        (request("/", cookie, *fields), 1),
        (request("/", cookie) * 3, 3),
        (request(f"/{number:04000}?{number:04000}", cookie), 1),
        (request("/", cookie, "Content-Length: 30000", method="POST") + bytes(30_000), 1),
        (request("/", cookie, "Transfer-Encoding: chunked", method="PUT") + b"3e8\r\n%b\r\n0\r\n\r\n" % bytes(1000), 1),
    ]
    return kinds[number % len(kinds)]


def idle_connection(port: int, number: int) -> socket.socket:
    """Connect, have requests answered, whose fields nobody else has, and do nothing."""
    sock = socket.create_connection(("127.0.0.1", port), 30, ("127.0.0.2", 0))
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)  # leaves nothing behind in the kernel
    data, count = last_requests(number)
    sock.sendall(data)
    answers = b""
    while answers.count(HELLO) < count:
        more = sock.recv(10_000)
        assert more
        answers += more
    return sock


def connections(server: Server) -> int:
    """Ask the controller how many connections the worker has."""
    (generation,) = json.loads(spawnctl("-a", f"127.0.0.1:{server.port}", "status", "--json").out)["generations"]
    (worker,) = generation["workers"]
    return int(worker["connections"])


def test_an_idle_connection_takes_at_most_4_kib_and_no_thread() -> None:
    """With one thread, somebody else is served all the time; none of the connections is closed meanwhile."""
    options = ("-s", "1", "-t", "1", "-l", "/dev/null", "--max-connections", str(CONNECTIONS + 100))
    with (
        descriptors(CONNECTIONS + 500),
        Server("weight.application", *options) as server,
        contextlib.ExitStack() as stack,
        Client(server.port) as client,
    ):

        def weight() -> int:
            return int(client.get("/weight").body)

        for number in range(200):  # what all connections share is there, and bounded
            idle_connection(server.port, number).close()
        before = weight()
        idle = [stack.enter_context(idle_connection(server.port, number)) for number in range(CONNECTIONS)]
        until(lambda: connections(server) == CONNECTIONS + 1, "all connections counted")
        until(lambda: weight() - before <= LARGEST * CONNECTIONS, f"{LARGEST} bytes a connection")
        assert weight() - before > 100 * CONNECTIONS, "what is measured has nothing to do with the connections"
        for sock in idle:  # they are as good as ever
            sock.sendall(request("/", "X-Other: field"))
            assert sock.recv(1000).endswith(HELLO)
