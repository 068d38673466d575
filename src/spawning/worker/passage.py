"""The passage: a socket pair that carries the plaintext of a TLS connection between the worker that has the session
(``ferry``) and the one that serves.

The end of what a Unix socket sends looks the same whether the other side has closed it, has given the response up, or
has died; over TLS a client can tell, and has to: a response may end with its connection. So the far end says that it
ends well. Its last word is a byte with a descriptor beside it, which keeps its place behind the response and cannot be
taken for a part of it. The ferry takes no descriptor, so the kernel only tells it that there was one.
"""

import _socket
import socket
import sys
from contextlib import suppress
from typing import Final

from spawning.standard import moved
from spawning.worker.stream import DONTWAIT, Stream, never_waiting

FAMILY: Final = int(socket.AF_UNIX)
KIND: Final = never_waiting(socket.SOCK_STREAM)
_END: Final = b"."
_A_DESCRIPTOR: Final = int(socket.MSG_CTRUNC)
_MORE_ROOM: Final = 1 << 20  # bytes: more than a socket has at first, so that the last word fits behind a full buffer

# By this name: to look for the method of a base class takes longer than to call it.
_recv: Final = socket.SocketType.recv
_send: Final = socket.SocketType.send
_close: Final = socket.SocketType.close


def make() -> tuple[Stream, Stream]:
    """Make both ends: the ferry's and the other one, which becomes a :class:`FarEnd` where it arrives.

    :raises OSError: no descriptor is left.
    """
    near, far = (Stream(FAMILY, KIND, 0, moved(each.detach())) for each in _socket.socketpair())
    return near, far


def receive(near: Stream, size: int) -> tuple[bytes, bool]:
    """Receive what the serving worker sends; empty at its end.

    :returns: and whether that was its last word.
    :raises BlockingIOError: there is nothing.
    """
    try:
        data, _, flags, _ = near.recvmsg(size, 0, DONTWAIT)
    except ConnectionResetError:  # it has not read all that was sent to it
        return b"", False
    return (data[: -len(_END)], True) if flags & _A_DESCRIPTOR else (data, False)


class FarEnd(Stream):
    """The end of the worker that serves. An application that takes its connection goes through this too, as it does
    through a session, so that the end is said whichever process ends.

    :param stream: of which this takes the descriptor.
    """

    __slots__ = ("_silent",)

    bare = False

    def __init__(self, stream: Stream) -> None:
        super().__init__(FAMILY, KIND, 0, stream.detach())
        self._silent = False  # nothing is to be said at the end, or has been

    def recv(self, size: int, flags: int = DONTWAIT) -> bytes:
        return _recv(self, size, flags)

    def send(self, data: bytes | memoryview, flags: int = DONTWAIT) -> int:  # type: ignore[override]
        return _send(self, data, flags)

    def end_sending(self) -> None:
        if not self._silent:
            self._say_the_end()
        super().end_sending()

    def reset(self) -> None:
        self._silent = True

    def close(self) -> None:
        if not self._silent:
            self._say_the_end()
        _close(self)

    def _say_the_end(self) -> None:
        self._silent = True
        # Any descriptor would do. This one keeps the socket open until the ferry has come that far, and no longer.
        own = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, self.fileno().to_bytes(4, sys.byteorder))]
        with suppress(OSError):  # the client has gone
            self.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _MORE_ROOM)
            self.sendmsg((_END,), own, DONTWAIT)
