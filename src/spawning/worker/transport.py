"""Writing to a connection without waiting for its client (``wsgi.bridge.Transport``).

Used by whoever owns the connection (``connection``). What the socket does not take at once is kept by reference in an
:class:`~spawning.worker.output.Output`, which the leader flushes.
"""

import select
import socket
from abc import ABC, abstractmethod
from time import monotonic
from typing import TYPE_CHECKING, Final

from spawning.http.response import LAST_CHUNK
from spawning.worker import syscalls
from spawning.worker.output import BytesSegment, FileSegment, Output
from spawning.wsgi.bridge import ClientGone

if TYPE_CHECKING:
    from spawning.worker.loop import Loop

_DONTWAIT: Final = int(socket.MSG_DONTWAIT)
_MORE: Final = int(socket.MSG_DONTWAIT | socket.MSG_MORE)
_GONE: Final = select.POLLRDHUP | select.POLLHUP | select.POLLERR


class Transport(ABC):
    """The writing half of a connection.

    :ivar output: what is kept; None while the client takes all at once.
    :ivar deadline: (monotonic seconds) when the client has taken nothing for too long.
    :ivar ended_sending: nothing more will be sent, and the client can see it.
    """

    __slots__ = ("deadline", "ended_sending", "fd", "loop", "output", "sock")

    loop: "Loop"
    sock: socket.SocketType
    fd: int
    deadline: float
    output: Output | None
    ended_sending: bool

    @abstractmethod
    def register(self) -> None:
        """Have events reported, once and for all."""

    @abstractmethod
    def flush_beside_owner(self) -> None:
        """Send what is kept while the owner still produces; leader only."""

    def has_gone(self) -> bool:
        """``spawning.client_disconnected``: ask the kernel whether the client has closed or reset the connection. Any
        thread.

        The end of what the client sends is all that can be seen of a close, so a client that has only half-closed
        looks the same. What it has sent before does not hide it.
        """
        fd = self.sock.fileno()
        if fd < 0:
            return True
        poll = select.poll()
        poll.register(fd, _GONE)
        return bool(poll.poll(0))

    def send(self, data: bytes, flags: int = _DONTWAIT) -> None:
        """Send, keep what the socket does not take.

        :raises ClientGone: the connection is broken.
        """
        if self.output is not None:
            if data is not LAST_CHUNK:  # the end of a response has nobody behind it who could produce too much
                self._make_room()
            self._keep(BytesSegment(data, 0))
            return
        try:
            sent = syscalls.send(self.fd, data, flags) if self.loop.contended else self.sock.send(data, flags)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            raise ClientGone(str(error)) from None
        if sent < len(data):
            self._keep(BytesSegment(data, sent))

    def send_last(self, data: bytes) -> None:
        """As :meth:`send`, when nothing more will be sent: the kernel keeps the data until it has the end of the
        connection (FIN) as well, and sends one packet, for which a client is woken once.

        :raises ClientGone: the connection is broken.
        """
        self.send(data, _MORE)
        if self.output is None:
            self.end_sending()

    def end_sending(self) -> None:
        """Let the client see the end behind what has been sent. Not by close(), which would throw away what the kernel
        keeps, had something arrived that nobody has read.
        """
        self.ended_sending = True
        try:  # noqa: SIM105 - contextlib.suppress() costs as much as the call
            self.sock.shutdown(socket.SHUT_WR)
        except OSError:  # the client has gone
            pass

    def send_two(self, head: bytes, body: bytes) -> None:
        """Send two buffers with one call.

        :raises ClientGone: the connection is broken.
        """
        if self.output is not None:
            self._make_room()
            self._keep(BytesSegment(head, 0))
            self._keep(BytesSegment(body, 0))
            return
        try:
            sent = self.sock.sendmsg((head, body), (), _DONTWAIT)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            raise ClientGone(str(error)) from None
        if sent < len(head):
            self._keep(BytesSegment(head, sent))
            self._keep(BytesSegment(body, 0))
        elif sent < len(head) + len(body):
            self._keep(BytesSegment(body, sent - len(head)))

    def send_file(self, head: bytes, descriptor: int, offset: int, count: int) -> None:
        """Send a head, and have the kernel send a part of a file with it.

        A head that went ahead would be a packet of its own; and where the kernel paces what it sends (BBR), the file
        would follow at less than half the speed.

        :raises ClientGone: the connection is broken.
        """
        self.send(head, _MORE)
        self.sock.setblocking(False)  # sendfile() cannot be told to not wait, as send() can
        segment = FileSegment(descriptor, offset, count)
        if self.output is None:
            try:
                while segment.size:
                    segment.send(self.sock)
            except BlockingIOError:
                pass
            except OSError as error:
                raise ClientGone(str(error)) from None
        if segment.size:
            segment.outlive_file()
            self._keep(segment)

    def _keep(self, segment: BytesSegment | FileSegment) -> None:
        output = self.output
        if output is None:
            output = Output()
            output.put(segment)
            self.register()
            self.deadline = monotonic() + self.loop.settings.response_timeout
            # The socket may have become writable before `output` was there to be seen: the leader has to look.
            self.output = output
            self.loop.post(self.flush_beside_owner)
        elif output.put(segment):
            # The leader has sent all that was kept, so no event will tell it that there is more.
            self.loop.post(self.flush_beside_owner)

    def _make_room(self) -> None:
        """Wait while too much is kept. Only who has more to send comes here: what is complete costs memory, no thread.

        :raises ClientGone: the connection is broken.
        """
        output = self.output
        if output is not None and output.above_high_water:
            self.loop.give_up_lead()  # whoever waits for a client must not be the one who serves it
            output.wait()
