"""A blocking socket for an application, over a session of TLS that itself never waits.

The session is the connection's, and for one thread at a time; an application receives in one and sends in another. So
each call to the session is made with a lock, which nobody has while waiting: for that there is ``select.poll``, as the
application has it by then (gevent replaces it).
"""

import select
import socket
from errno import EOPNOTSUPP, EPIPE
from typing import Any, Final, NoReturn, Protocol

from spawning.primitives import allocate_lock

READABLE: Final = select.POLLIN
WRITABLE: Final = select.POLLOUT


class Session(Protocol):
    """What never waits; as ``worker.tls``."""

    def recv(self, size: int) -> bytes:
        """Receive; BlockingIOError: nothing is there."""

    def send(self, data: memoryview) -> int:
        """Send; BlockingIOError: nothing is taken, and who tries again begins with the same bytes."""

    def end_sending(self) -> None:
        """Let the other side see the end."""


class EncryptedSocket:
    """See the module. What is not here is as in the socket.

    :param own: a socket of the application's for the same connection, by which it waits.
    :param session: of the connection.
    """

    def __init__(self, own: socket.socket, session: Session) -> None:
        self._own = own
        self._session = session
        self._lock = allocate_lock()
        self._over = False  # the session is the server's again

    def __getattr__(self, name: str) -> Any:
        return getattr(self._own, name)

    def recv(self, size: int, flags: int = 0) -> bytes:
        _allow_no(flags)
        while (data := self.receive_now(size)) is None:
            self._wait(READABLE)
        return data

    def receive_now(self, size: int) -> bytes | None:
        """Receive without waiting; None: nothing is there, empty: the end."""
        with self._lock:
            if self._over:
                return b""
            try:
                return self._session.recv(size)
            except BlockingIOError:
                return None

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        view = memoryview(buffer).cast("B")
        data = self.recv(nbytes or len(view), flags)
        view[: len(data)] = data
        return len(data)

    def send(self, data: Any, flags: int = 0) -> int:
        self.sendall(data, flags)  # as a blocking socket does
        return memoryview(data).nbytes

    def sendall(self, data: Any, flags: int = 0) -> None:
        _allow_no(flags)
        left = memoryview(data).cast("B")
        while left:
            sent = self._send_now(left)
            if sent:
                left = left[sent:]
            else:
                self._wait(WRITABLE)

    def _send_now(self, data: memoryview) -> int:
        with self._lock:
            if self._over:
                raise BrokenPipeError(EPIPE, "the connection has ended")
            try:
                return self._session.send(data)
            except BlockingIOError:
                return 0

    def sendmsg(self, buffers: Any, *_: Any) -> int:
        return self.send(b"".join(buffers))

    def say(self, last_words: bytes) -> None:
        """Send something small, unless the application is just using the session. A thread of the server."""
        if self._lock.acquire(blocking=False):
            try:
                if not self._over:
                    self._session.send(memoryview(last_words))
            finally:
                self._lock.release()

    def shutdown(self, how: int) -> None:
        if how != socket.SHUT_RD:
            with self._lock:
                if not self._over:
                    self._session.end_sending()
        if how != socket.SHUT_WR:
            self._own.shutdown(socket.SHUT_RD)

    def detach(self) -> NoReturn:
        raise OSError(EOPNOTSUPP, "a connection over TLS cannot be detached: its session is the server's")

    def revoke(self) -> None:
        """Return the session to the server: no thread of the application is inside, and none enters any more."""
        with self._lock:
            self._over = True

    def _wait(self, event: int) -> None:
        """Wait for the kernel, as long as the socket's timeout says.

        :raises TimeoutError: that is over.
        :raises BlockingIOError: it is none at all.
        """
        seconds = self._own.gettimeout()
        if seconds == 0:
            raise BlockingIOError
        poll = select.poll()
        poll.register(self._own.fileno(), event)
        if not poll.poll(None if seconds is None else seconds * 1000):
            raise TimeoutError("timed out")


def _allow_no(flags: int) -> None:
    if flags:
        raise ValueError("there are no flags for a connection over TLS")
