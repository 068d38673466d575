"""Idle connections cost memory only, and little of it, whatever their last request was."""

import contextlib
import resource
import socket
from collections.abc import Iterator

from integration.client import Client, request
from integration.hostile import RESET
from integration.server import Server, until

CONNECTIONS = 10_000
LARGEST = 4096  # bytes of Python memory for each


@contextlib.contextmanager
def descriptors(needed: int) -> Iterator[None]:
    """Let this process have so many descriptors for the time of the block."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, needed), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def idle_connection(port: int, number: int) -> socket.socket:
    """Connect, have one request answered, whose fields nobody else has, and do nothing."""
    sock = socket.create_connection(("127.0.0.1", port), 30, ("127.0.0.2", 0))
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)  # leaves nothing behind in the kernel
    fields = [f"X-Field-{name}: of connection {number}" for name in range(10)]
    sock.sendall(request("/", f"Cookie: session={number:01000}", *fields))
    assert sock.recv(1000).endswith(b"\r\n\r\nhello")
    return sock


def test_an_idle_connection_takes_at_most_4_kib() -> None:
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
        until(lambda: weight() - before <= LARGEST * CONNECTIONS, f"{LARGEST} bytes a connection")
        for sock in (idle[0], idle[-1]):  # they are as good as ever
            sock.sendall(request("/", "X-Other: field"))
            assert sock.recv(1000).endswith(b"\r\n\r\nhello")
