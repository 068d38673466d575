"""Accepting connections: from the kernel's backlog, and from retiring workers (``handoff``).

All workers poll the same listening sockets, and each stops doing so while a sibling is the better one to accept. One
state says whether and why it does not; what is in the backlog meanwhile waits for a sibling, or for this worker when
the reason has passed. The listening sockets belong to the controller; nothing here closes them.
"""

import errno
import logging
import select
import socket
from collections.abc import Sequence
from enum import Enum
from typing import TYPE_CHECKING, Final

from spawning.worker.connection import Connection
from spawning.worker.handoff import HandoffSocket

if TYPE_CHECKING:
    from spawning.worker.loop import Loop

ACCEPTS: Final = 8  # connections a wake-up, so that workers share a burst
SIBLINGS_FIRST: Final = 0.01  # seconds that new connections are left to the siblings when all threads are busy
LEFTOVERS: Final = 64  # connections that are accepted after that
STARVED_FOR: Final = 1.0  # seconds until the next attempt when there were no descriptors
_NO_DESCRIPTORS: Final = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)

log = logging.getLogger("spawning.worker")


class Accept(Enum):
    """Whether a worker accepts."""

    OFF = "not yet, or no more"
    ON = "yes"
    CROWDED = "all threads are busy: what no sibling has wanted for a moment is accepted"
    STARVED = "there are no descriptors left"


OFF, ON, CROWDED, STARVED = Accept

TRANSITIONS: Final = {
    OFF: {ON},
    ON: {OFF, CROWDED, STARVED},
    CROWDED: {OFF, ON, STARVED},
    STARVED: {OFF, CROWDED},
}


class Accepting:
    """A worker's accepting. Leader only; anybody may look at ``state``.

    :param loop: the worker's.
    :param epoll: that of the loop.
    :param listeners: listening sockets, non-blocking.
    :param handoff: its receiving end is one more listener.
    """

    def __init__(
        self, loop: "Loop", epoll: select.epoll, listeners: Sequence[socket.socket], handoff: HandoffSocket
    ) -> None:
        self.state = OFF
        self._loop = loop
        self._epoll = epoll
        self._handoff = handoff
        self._listeners = {sock.fileno(): sock for sock in listeners}
        self._look_at = 0.0  # monotonic seconds

    def start(self) -> None:
        """Accept from now on."""
        if self.state is OFF:
            self._become(ON)

    def stop(self) -> None:
        """Accept nothing any more."""
        if self.state is not OFF:
            self._become(OFF)

    def finish(self, most: int) -> bool:
        """Accept what the kernel has queued, at most so many, then nothing any more.

        :returns: False when a request has cost the lead; then the next leader has to finish.
        """
        if self.state is not OFF:
            for listener in self._listeners.values():
                if not self._accept(listener, most):
                    return False
            self._become(OFF)
        return True

    def leave_to_siblings(self) -> None:
        """Stop, because all threads are busy: a worker that has one to spare will be faster."""
        if self.state is ON:
            self._become(CROWDED)
            self._look_at = self._loop.now + SIBLINGS_FIRST

    def look(self) -> bool:
        """Accept again if the reason not to has passed; False: the lead is lost."""
        if self.state is OFF:
            return True
        due = self._loop.now >= self._look_at
        if self.state is STARVED:
            if not due:
                return True
            self._become(CROWDED)
        if not self._loop.threads.full:
            self._become(ON)
        elif due:
            return self._accept_leftovers()
        return True

    def on_event(self, fd: int) -> None:
        """Accept, if the event is that of a listener, and was not polled before it was unregistered."""
        if self.state is not ON:
            return
        if fd == self._handoff.receiving_fd:
            self._handoff.receive()
        elif fd in self._listeners:
            self._accept(self._listeners[fd], ACCEPTS)

    def _become(self, state: Accept) -> None:
        """Change the state; a transition that the table does not have is a bug."""
        old = self.state
        if state not in TRANSITIONS[old]:
            raise AssertionError(f"accepting cannot go from {old.name} to {state.name}")
        self.state = state
        for fd in (*self._listeners, self._handoff.receiving_fd):
            if state is ON:
                self._epoll.register(fd, select.EPOLLIN | select.EPOLLEXCLUSIVE)
            elif old is ON:
                self._epoll.unregister(fd)

    def _accept_leftovers(self) -> bool:
        """Accept what no sibling has wanted either, so that a client waits for a thread and not for ever."""
        self._look_at = self._loop.now + SIBLINGS_FIRST
        return all(self._accept(listener, LEFTOVERS) for listener in self._listeners.values())

    def _accept(self, listener: socket.SocketType, most: int) -> bool:
        """Accept and serve; False: the lead is lost."""
        loop = self._loop
        box = loop.box
        for _ in range(most):
            try:
                # accept() would make a socket object with 2 µs of Python.
                fd, address = listener._accept()  # type: ignore[attr-defined]
            except BlockingIOError:
                return True
            except OSError as error:
                if error.errno in _NO_DESCRIPTORS:
                    self._starve(error)
                return True
            sock = socket.SocketType(listener.family, listener.type, listener.proto, fd)
            if type(address) is tuple:
                connection = Connection(loop, sock, address[0], str(address[1]))
            else:
                connection = Connection(loop, sock, "", "")
            loop.connections[fd] = connection
            connection.read()
            if loop.box is not box:
                # Another thread leads now, and `connection` is not ours; register() was its owner's business.
                return False
            if not connection.registered and loop.connections.get(fd) is connection:
                connection.register()
        return True

    def _starve(self, error: OSError) -> None:
        """Stop for a while: there are no descriptors left."""
        self._look_at = self._loop.now + STARVED_FOR
        if self.state in (ON, CROWDED):
            log.error("cannot accept connections=%d error=%s", len(self._loop.connections), error.strerror)
            self._become(STARVED)
