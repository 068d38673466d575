"""Connections between two requests on their way from a retiring worker to one that serves.

The handoff socket is a ``SOCK_SEQPACKET`` pair that the controller owns and every worker holds: retiring workers send,
serving ones receive, and what nobody has received yet waits in the kernel. The order is what makes a reload unnoticed:
a retiring worker first *freezes* its connections (stops reading them), then says so to the controller, and only
then sends them, as fast as the socket takes them. So nobody serves one of them before the new workers do. A connection
that is busy with a request follows when its response is written.

For the receiving worker the socket is one more listener. What the other one had received of further requests (a part of
a head, whatever a client has pipelined) comes along as bytes; those that arrived on the way are reported when the
connection is registered.
"""

import errno
import os
import select
import socket
from collections import deque
from typing import TYPE_CHECKING, Final

from spawning.ipc.channel import Channel
from spawning.ipc.messages import Handoff
from spawning.logs.log import Log
from spawning.worker.connection import Connection
from spawning.worker.states import LEAVING

if TYPE_CHECKING:
    from spawning.worker.loop import Loop

_FULL: Final = (errno.EAGAIN, errno.ETOOMANYREFS, errno.ENOBUFS, errno.ENOMEM)  # later, then

log = Log("spawning.worker")


class HandoffSocket:
    """A worker's ends of the handoff socket. Leader only.

    :param loop: the worker's.
    :param epoll: that of the loop.
    :param sending: where a retiring worker puts its connections.
    :param receiving: where a serving worker finds them.
    """

    def __init__(self, loop: "Loop", epoll: select.epoll, sending: Channel, receiving: Channel) -> None:
        sending.sock.setblocking(False)
        receiving.sock.setblocking(False)
        self._loop = loop
        self._epoll = epoll
        self._sending = sending
        self._receiving = receiving
        self._leaving: deque[Connection] = deque()
        self._waiting = False
        self.receiving_fd = receiving.fileno()
        self.sending_fd = sending.fileno()

    def put(self, connection: Connection) -> None:
        """Take a frozen connection (state ``LEAVING``), to be sent with the next :meth:`send`."""
        self._leaving.append(connection)

    def send(self) -> None:
        """Send what the socket takes; the rest when it takes more."""
        while self._leaving:
            connection = self._leaving[0]
            if connection.state is LEAVING and not self._send_one(connection):
                self._wait(True)
                return
            self._leaving.popleft()
        self._wait(False)

    def _send_one(self, connection: Connection) -> bool:
        family = connection.sock.family
        unread = connection.reader.unread.decode("latin-1")
        message = Handoff(connection.address, connection.port, family, connection.deadline, unread)
        try:
            self._sending.send(message, [connection.fd])
        except OSError as error:
            if error.errno in _FULL:
                return False
            raise
        connection.close()
        return True

    def _wait(self, wait: bool) -> None:
        if wait and not self._waiting:
            self._epoll.register(self.sending_fd, select.EPOLLOUT)
        elif self._waiting and not wait:
            self._epoll.unregister(self.sending_fd)
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
        """Serve a connection that was received; a request that came along may cost the lead."""
        loop = self._loop
        sock = socket.SocketType(message.family, socket.SOCK_STREAM, 0, fd)
        connection = Connection(loop, sock, message.address, message.port)
        loop.connections[fd] = connection
        connection.take_up(message.unread.encode("latin-1"), message.deadline)
