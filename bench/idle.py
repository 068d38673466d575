"""Connections that have made one request and then do nothing."""

import contextlib
import resource
import socket
import struct
import time
from collections.abc import Iterator

IP_BIND_ADDRESS_NO_PORT = 24  # ip(7); Python 3.12 has the name
CLOSE_BY_RESET = struct.pack("ii", 1, 0)  # l_onoff, l_linger: socket(7)
CONNECT_SECONDS = 45.0
"""How long all of them together may take: less than any server keeps the first one."""

SOURCE = "127.0.0.2"
"""Another address than the load's, so that neither uses up the other's ports."""


class IdleConnections:
    """A number of kept-alive connections to a server; see :func:`connected`."""

    def __init__(self) -> None:
        self._sockets: list[socket.socket] = []

    def connect(self, port: int, number: int, path: str) -> None:
        """Open `number` connections and make one request on each.

        :raises OSError: one is refused or not answered, or all of them take longer than ``CONNECT_SECONDS``.
        """
        request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode()
        deadline = time.monotonic() + CONNECT_SECONDS
        for _ in range(number):
            if time.monotonic() > deadline:
                raise TimeoutError(f"only {len(self._sockets)} idle connections within {CONNECT_SECONDS:g} s")
            connection = _socket()
            self._sockets.append(connection)
            connection.connect(("127.0.0.1", port))
            connection.sendall(request)
            if not connection.recv(65536):
                raise ConnectionResetError(f"closed without an answer, after {len(self._sockets) - 1} others")

    def still_open(self) -> int:
        """Count those that the server has not closed."""
        return sum(map(_is_open, self._sockets))

    def close(self) -> None:
        """Close all."""
        for connection in self._sockets:
            connection.close()


@contextlib.contextmanager
def connected(port: int, number: int, path: str) -> Iterator[IdleConnections]:
    """Hold `number` idle connections for the time of the block."""
    with contextlib.closing(IdleConnections()) as connections:
        connections.connect(port, number, path)
        yield connections


def raise_descriptor_limit(needed: int) -> None:
    """Allow this process, and the servers that it starts, as many descriptors as the system does.

    :raises SystemExit: these are fewer than `needed`.
    """
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most != resource.RLIM_INFINITY and most < needed:
        raise SystemExit(f"bench: {needed} file descriptors are needed and {most} allowed; raise `ulimit -Hn`")
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _socket() -> socket.socket:
    """Make a socket whose port is chosen when it connects, and free as soon as it is closed.

    Otherwise thousands of ports in ``TIME_WAIT`` from the last measurement make each ``bind`` a long search.
    """
    connection = socket.socket()
    connection.settimeout(10)
    connection.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, CLOSE_BY_RESET)
    connection.bind((SOURCE, 0))
    return connection


def _is_open(connection: socket.socket) -> bool:
    """Whether there is neither an end of file nor an error; the rest of a large answer may still be there."""
    connection.setblocking(False)
    try:
        while data := connection.recv(65536):
            del data
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False
