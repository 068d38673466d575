"""Ports that nobody else gets while a test needs them, or needs to find them closed.

A port that the kernel chose is free for the next one as soon as it is closed: for the server of another test, or for
the near end of any connection. Those that it never chooses (``ip_local_port_range``) stay free. Each process of the
tests has a range of its own among them.
"""

import os
import socket
from itertools import cycle, islice
from typing import Final

_EACH: Final = 100  # ports a process
_RANGES: Final = 200
_FIRST: Final = 10_000

_start = _FIRST + os.getpid() % _RANGES * _EACH
_next = cycle(range(_start, _start + _EACH))


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    """Return the next port of this process that nobody has bound, on any address of IPv4 and IPv6.

    :raises AssertionError: all are bound.
    """
    for port in islice(_next, _EACH):
        with socket.socket(socket.AF_INET6, kind) as probe:
            try:
                probe.bind(("::", port))
            except OSError:
                continue
            return port
    raise AssertionError(f"no port from {_start} to {_start + _EACH - 1} is free")
