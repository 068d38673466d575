"""``send`` and ``recv`` that keep the interpreter lock, and calls that the socket module does not have.

The socket module gives the lock away around each call. Where many threads want it, that hands it to another thread,
which has to be woken first, twice for each response: far more than the few microseconds of a call that cannot block.
``ctypes.PyDLL`` calls with the lock held. Alone, without anybody waiting for the lock, the socket module is faster.

The functions have no ``argtypes``: to convert by them takes a third of a microsecond a call. So what is no ``int`` in
C is handed over as what it is.
"""

import ctypes
import os
import socket
from typing import Final

libc: Final = ctypes.PyDLL(None, use_errno=True)
_send: Final = libc.send
_send.restype = ctypes.c_ssize_t
_recv: Final = libc.recv
_recv.restype = ctypes.c_ssize_t
_shutdown: Final = libc.shutdown
_connect: Final = libc.connect
_NOBODY: Final = bytes(16)  # struct sockaddr whose family is AF_UNSPEC
# As plain numbers: to combine members of an IntFlag takes a third of a microsecond, too.
_DONTWAIT: Final = int(socket.MSG_DONTWAIT)
_NOSIGNAL: Final = int(socket.MSG_NOSIGNAL)
BOTH: Final = int(socket.SHUT_RDWR)
RECEIVING: Final = int(socket.SHUT_RD)
_MOST: Final = 1 << 30  # bytes a send, so that their number is an ``int`` in C


def send(fd: int, data: bytes, flags: int) -> int:
    """Send what the socket takes at once.

    :param flags: of ``send(2)``; MSG_DONTWAIT among them.
    :returns: bytes sent, perhaps not all.
    :raises OSError: as ``socket.send`` does; BlockingIOError when it takes nothing.
    """
    size = len(data)
    sent: int = _send(fd, data, size if size < _MOST else _MOST, flags | _NOSIGNAL)
    if sent < 0:
        raise error()
    return sent


def shut_down(fd: int, how: int = BOTH) -> None:
    """End a connection in both directions or one, if the descriptor is one's."""
    _shutdown(fd, how)


def disconnect(fd: int) -> bool:
    """Reset a connection of TCP at once (``connect(2)`` to no address), also if another process has the socket too.

    :returns: False: it is of another kind, or has ended.
    """
    return bool(_connect(fd, _NOBODY, len(_NOBODY)) == 0)


class Receiver:
    """Receives into a buffer of its own; for one thread at a time."""

    def __init__(self, size: int) -> None:
        self._buffer = ctypes.create_string_buffer(size)
        self._bytes = memoryview(self._buffer).cast("B")
        self._size = ctypes.c_size_t(size)

    def receive(self, fd: int) -> bytes:
        """Receive what is there.

        :returns: empty at the end.
        :raises OSError: as ``socket.recv`` does; BlockingIOError when nothing is there.
        """
        count = _recv(fd, self._buffer, self._size, _DONTWAIT)
        if count < 0:
            raise error()
        return self._bytes[:count].tobytes()


def error() -> OSError:
    """Make the exception that the last call has earned."""
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number))
