"""The byte stream of a connection: a socket that never waits.

A :class:`Stream` *is* the socket, so that what the interpreter offers (``recv``, ``send``, ``sendmsg``, ``shutdown``,
``close``) costs no call in between. Each call says itself that it must not wait (``MSG_DONTWAIT``): that saves the
system call which would say so for all. Another kind of stream has the same methods.
"""

import os
import select
import socket
import sys
from typing import ClassVar, Final

from spawning.worker import syscalls

DONTWAIT: Final = int(socket.MSG_DONTWAIT)
MORE: Final = int(socket.MSG_DONTWAIT | socket.MSG_MORE)
_SHUT_WR: Final = socket.SHUT_WR
_GONE: Final = select.POLLRDHUP | select.POLLHUP | select.POLLERR
_LAST_ACK: Final = 56  # where struct tcp_info has tcpi_last_ack_recv, milliseconds
_poll: Final = select.poll  # by this name, whatever the application makes of the module


class Stream(socket.SocketType):
    """See the module. A method that sends raises BlockingIOError when nothing is taken, OSError when it is broken.

    Made from a descriptor like any socket, with a kind from :func:`never_waiting`.
    """

    __slots__ = ()

    bare: ClassVar[bool] = True
    """What is sent is what the descriptor takes, so that other ways to use that are right too (``syscalls``)."""

    def send_two(self, head: bytes, body: bytes) -> int:
        """Send two buffers with one call; returns how many bytes were taken."""
        return self.sendmsg((head, body), (), DONTWAIT)

    def send_file(self, descriptor: int, offset: int, count: int) -> int:
        """Have the kernel send a part of a file; returns how many bytes were taken."""
        return os.sendfile(self.fileno(), descriptor, offset, count)

    def never_wait(self) -> None:
        """Make every call one that does not wait: ``sendfile`` cannot be told so itself."""
        os.set_blocking(self.fileno(), False)

    def end_sending(self) -> None:
        """Let the other side see the end behind what has been sent.

        Not by close(), which would throw away what the kernel keeps, had something arrived that nobody has read.
        """
        try:  # noqa: SIM105 - contextlib.suppress() costs as much as the call
            self.shutdown(_SHUT_WR)
        except OSError:  # the client has gone
            pass

    def reset(self) -> None:
        """Let the other side see, before close(), that what it has got is incomplete (RST instead of FIN).

        Not by close() itself: that tells nothing while a process that the application has forked has the socket too. A
        Unix socket knows no RST; there the other side sees the end.
        """
        if not syscalls.disconnect(self.fileno()):
            self.hang_up()

    def disown(self) -> None:
        """Close the descriptor in a process that has been forked; the other side notices nothing."""
        socket.SocketType.close(self)

    def silent_for(self) -> float:
        """Return how long (seconds) the other side has not acknowledged anything (``TCP_INFO``, ``tcp(7)``); 0 if that
        is not to be known, as of a Unix socket.
        """
        try:
            info = self.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _LAST_ACK + 4)
        except OSError:
            return 0.0
        return int.from_bytes(info[_LAST_ACK:], sys.byteorder) / 1000

    def hang_up(self) -> None:
        """Have the next call fail, in whatever thread: the other side has gone, though it has not said so."""
        try:  # noqa: SIM105
            self.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    def has_gone(self) -> bool:
        """Ask the kernel whether the other side has closed or reset the connection. Any thread.

        The end of what it sends is all that can be seen of a close, so a client that has only half-closed looks the
        same. What it has sent before does not hide it.
        """
        fd = self.fileno()
        if fd < 0:
            return True
        poll = _poll()
        poll.register(fd, _GONE)
        return bool(poll.poll(0))


def never_waiting(kind: int) -> int:
    """Return the kind of socket by which the interpreter knows that no call on it waits.

    Without it the socket would have the time-out that the application may have set for all
    (``socket.setdefaulttimeout``), and wait that long at each call, whatever the call says.
    """
    return int(kind) | int(socket.SOCK_NONBLOCK)
