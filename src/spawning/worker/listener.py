"""A listener of a worker: a listening socket, and what its connections are."""

import socket
from collections.abc import Callable
from typing import Any

from spawning.worker.stream import never_waiting
from spawning.wsgi.environ import EnvironBase


class Listener:
    """A listening socket, and what a connection of it is made from.

    ``socket.accept`` would make a socket object with 2 µs of Python; ``family`` and ``type`` look for a member of an
    enum, 0.5 µs each time.

    :param sock: the listening socket, non-blocking.
    :param base: what every environ of a request on it has, the scheme among it.
    :param protocol: the class of its connections: a ``roles.Connection`` made from context, listener, stream, and
        address and port of the peer.

    :ivar name: what workers of other generations know it by: its address, as text.
    """

    __slots__ = ("accept", "base", "family", "kind", "name", "proto", "protocol", "sock")

    def __init__(self, sock: socket.socket, base: EnvironBase, protocol: Callable[..., Any]) -> None:
        self.sock = sock
        self.base = base
        self.protocol = protocol
        self.name = name_of(sock)
        self.accept: Callable[[], tuple[int, Any]] = sock._accept  # type: ignore[attr-defined]
        self.family = int(sock.family)
        self.kind = never_waiting(sock.type)
        self.proto = sock.proto


def name_of(sock: socket.socket) -> str:
    """Return the address of a listening socket as text: ``127.0.0.1:8080``, ``[::1]:8080``, a path."""
    address = sock.getsockname()
    if type(address) is not tuple:
        return str(address)
    host = f"[{address[0]}]" if ":" in address[0] else address[0]
    return f"{host}:{address[1]}"
