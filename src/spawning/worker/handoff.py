"""Connections between two requests on their way from a retiring worker to one that serves.

The handoff socket is a ``SOCK_SEQPACKET`` pair that the controller owns and every worker holds: retiring workers send,
serving ones receive, and what nobody has received yet waits in the kernel. The order is what makes a reload unnoticed:
a retiring worker first *freezes* its connections (stops reading them), then says so to the controller, and only
then sends them, as fast as the socket takes them. So nobody serves one of them before the new workers do. A connection
that is busy with a request follows when its response is written.

For the receiving worker the socket is one more listener. What the other one had received of further requests (a part of
a head, whatever a client has pipelined) comes along as bytes, and the name of the listener that the connection came
from; what arrived on the way is reported when the connection is registered.
"""

import errno
import os
import select
from collections import deque
from socket import SOCK_STREAM
from typing import Final

from spawning.ipc.channel import Channel
from spawning.ipc.messages import Handoff
from spawning.logs.log import Log
from spawning.worker.context import Context
from spawning.worker.listener import Listeners
from spawning.worker.poller import Poller
from spawning.worker.roles import Leaver
from spawning.worker.stream import Stream, never_waiting

_FULL: Final = (errno.EAGAIN, errno.ETOOMANYREFS, errno.ENOBUFS)  # until somebody receives
# No memory, or no descriptor for the passage of a connection over TLS or for the memory file of a long message.
_LACKING: Final = (errno.ENOMEM, errno.EMFILE, errno.ENFILE)
_KIND: Final = never_waiting(SOCK_STREAM)

log = Log("spawning.worker")


class HandoffSocket:
    """A worker's ends of the handoff socket. Leader only.

    :param context: of the worker.
    :param poller: where connections are known.
    :param listeners: of the worker; without one, nobody sends it anything.
    :param sending: where a retiring worker puts its connections.
    :param receiving: where a serving worker finds them.
    """

    def __init__(
        self, context: Context, poller: Poller, listeners: Listeners, sending: Channel, receiving: Channel
    ) -> None:
        sending.sock.setblocking(False)
        receiving.sock.setblocking(False)
        self._context = context
        self._poller = poller
        self._listeners = listeners
        self._sending = sending
        self._receiving = receiving
        self._leaving: deque[Leaver] = deque()
        self._lacking: list[Leaver] = []  # cannot be sent before the machine has more to give
        self._waiting = False
        self.receiving_fd = receiving.fileno()
        self.sending_fd = sending.fileno()

    def put(self, connection: Leaver) -> None:
        """Send a frozen connection, now or when there is room."""
        self._leaving.append(connection)
        self.send()

    def send(self) -> None:
        """Send what the socket takes; the rest when it takes more."""
        while self._leaving:
            connection = self._leaving[0]
            try:
                trouble = self._send_one(connection) if connection.leaving else 0
                if trouble in _FULL:
                    self._wait(True)
                    return
                if trouble:
                    self._lacking.append(connection)
            except Exception:  # boundary: one that cannot be sent must not hold up those behind it
                self._poller.drop(connection)
            self._leaving.popleft()
        self._wait(False)

    def _send_one(self, connection: Leaver) -> int:
        """Send a connection; return 0, or why that has to wait."""
        try:
            self._sending.send(connection.luggage(), [connection.fd])
        except OSError as error:
            if error.errno in _FULL or error.errno in _LACKING:
                return error.errno
            raise
        connection.has_left()
        return 0

    def sweep(self) -> None:
        """Try again to send what could not be sent for a reason of its own."""
        if self._lacking:
            self._leaving.extend(self._lacking)
            self._lacking.clear()
            self.send()

    def _wait(self, wait: bool) -> None:
        if wait and not self._waiting:
            self._poller.epoll.register(self.sending_fd, select.EPOLLOUT)
        elif self._waiting and not wait:
            self._poller.epoll.unregister(self.sending_fd)
        self._waiting = wait

    def receive(self) -> tuple[Handoff, int] | None:
        """Receive a connection of a retiring worker, for :meth:`take_up`; None: there is none."""
        try:
            message, fds = self._receiving.receive()
        except BlockingIOError:
            return None
        except ValueError as error:
            log.warning("a connection is lost error=%r", str(error))
            return None
        if not isinstance(message, Handoff) or not fds:
            for fd in fds:  # the kernel delivers a message without its descriptor when there are none left
                os.close(fd)
            return None
        return message, fds[0]

    def take_up(self, message: Handoff, fd: int) -> None:
        """Serve a connection that was received. Raises LeadLost: a request that came along has cost it."""
        listener = self._listeners.named(message.listener).saying(message.environ)
        stream = Stream(message.family, _KIND, 0, fd)
        make = listener.first if message.fresh else listener.ferried if message.ferried else listener.protocol
        connection = make(self._context, listener, stream, message.address, message.port)
        if message.ferried:
            connection.is_from(message.term)
        self._poller.pollables[fd] = connection
        try:
            connection.take_up(message.unread.encode("latin-1"), message.deadline)
        except Exception:  # boundary: what one connection does wrong must not cost the others theirs
            self._poller.drop(connection)
