"""What tests of slow and hostile clients share: such clients, and the check that nobody else notices them."""

import socket
import struct

from integration.client import Client, fetch
from integration.server import Server

LARGE = 20_000_000  # bytes, more than the kernel's buffers between two sockets hold


def serves(server: Server, requests: int = 10) -> bool:
    """Check that other clients are served."""
    return [fetch(server.port, "/hello").body for _ in range(requests)] == [b"Hello, world!\n"] * requests


def lazy(server: Server) -> Client:
    """Connect a client whose socket buffers little, so that what it does not read stays with the worker."""
    client = Client(server.port)
    client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 17)
    return client


def leave(client: Client, how: str) -> None:
    """Go away.

    :param how: ``"close"``, ``"reset"``, or ``"half-close"``: only send nothing more.
    """
    if how == "reset":
        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    if how == "half-close":
        client.sock.shutdown(socket.SHUT_WR)
    else:
        client.close()
