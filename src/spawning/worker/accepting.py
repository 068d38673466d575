"""Accepting connections: from the kernel's backlog, and from retiring workers (``handoff``).

All workers poll the same listening sockets, and each stops doing so while a sibling is the better one to accept. One
state says whether and why it does not; what is in the backlog meanwhile waits for a sibling, or for this worker when
the reason has passed. The listening sockets belong to the controller, which alone says when they end; a worker that
stops closes its own descriptors of them.
"""

import errno
import select
import socket
from collections.abc import Callable, Sequence
from enum import Enum
from math import inf
from typing import TYPE_CHECKING, Any, Final

from spawning.logs.log import Log
from spawning.worker.connection import Connection
from spawning.worker.descriptors import Reserve
from spawning.worker.handoff import HandoffSocket

if TYPE_CHECKING:
    from spawning.worker.loop import Loop

ACCEPTS: Final = 8  # connections a wake-up, so that workers share a burst
SIBLINGS_FIRST: Final = 0.01  # seconds that connections are left to the siblings, of a burst or when threads are busy
LEFTOVERS: Final = 64  # connections that are accepted at a time after that
HANDOFFS: Final = 16  # connections of retiring workers a wake-up
STARVED_FOR: Final = 1.0  # seconds until the next attempt when there were no descriptors
CALM: Final = 2.0  # seconds of accepting after which a limit that was reached is news again
_NO_DESCRIPTORS: Final = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)

log = Log("spawning.worker")


class Accept(Enum):
    """Whether a worker accepts."""

    OFF = "not yet, or no more"
    ON = "yes"
    CROWDED = "all threads are busy: what no sibling has wanted for a moment is accepted"
    FULL = "there are as many connections as there may be (--max-connections)"
    STARVED = "there are no descriptors left"


OFF, ON, CROWDED, FULL, STARVED = Accept

TRANSITIONS: Final = {
    OFF: {ON},
    ON: {OFF, CROWDED, FULL, STARVED},
    CROWDED: {OFF, ON, FULL, STARVED},
    FULL: {OFF, CROWDED},
    STARVED: {OFF, CROWDED},
}

_REASONS: Final = {FULL: "connections", STARVED: "descriptors"}  # for the log


class _Listener:
    """A listening socket, and what the socket of a connection is made from.

    ``socket.accept`` would make a socket object with 2 µs of Python; ``family`` and ``type`` look for a member of an
    enum, 0.5 µs each time.
    """

    __slots__ = ("accept", "family", "proto", "sock", "type")

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.accept: Callable[[], tuple[int, Any]] = sock._accept  # type: ignore[attr-defined]
        self.family = int(sock.family)
        self.type = int(sock.type)
        self.proto = sock.proto


class Accepting:
    """A worker's accepting. Leader only; anybody may look at ``state``.

    :param loop: the worker's.
    :param epoll: that of the loop.
    :param listeners: listening sockets, non-blocking.
    :param handoff: its receiving end is one more listener.
    :param room: most connections at a time.
    """

    def __init__(
        self, loop: "Loop", epoll: select.epoll, listeners: Sequence[socket.socket], handoff: HandoffSocket, room: int
    ) -> None:
        self.state = OFF
        self._room = room
        self._reserve = Reserve()
        self._reached: dict[Accept, float] = {}  # limits that the log tells of: when last (monotonic seconds)
        self._loop = loop
        self._epoll = epoll
        self._handoff = handoff
        self._listeners = {sock.fileno(): _Listener(sock) for sock in listeners}
        self._look_at = 0.0  # monotonic seconds
        self._left_at = inf  # since when (monotonic seconds) a burst has been left to the siblings

    def start(self) -> None:
        """Accept from now on."""
        if self.state is OFF:
            self._become(ON)

    def stop(self) -> None:
        """Accept nothing any more."""
        if self.state is not OFF:
            self._become(OFF)
        self._let_go()

    def finish(self, most: int) -> bool:
        """Accept what the kernel has queued, at most so many, and what retiring workers have sent; then nothing more.

        :returns: False when a request has cost the lead; then the next leader has to finish.
        """
        if self.state is not OFF:
            for listener in self._listeners.values():
                if not self._accept(listener, most):
                    return False
            self._become(OFF)
        self._let_go()
        return self._take_rest()

    def _let_go(self) -> None:
        """Close this worker's descriptors of the listening sockets: when nobody accepts any more, who connects is to be
        refused, not to wait for the end of the last worker, and the address is free for another server.
        """
        for listener in self._listeners.values():
            listener.sock.close()
        self._listeners.clear()

    def leave_to_siblings(self) -> None:
        """Stop, because all threads are busy: a worker that has one to spare will be faster."""
        if self.state is ON:
            self._crowd()

    def look(self) -> bool:
        """Accept again if the reason not to has passed; False: the lead is lost."""
        state = self.state
        if state is OFF:
            return True
        if state is not CROWDED:
            if not self._may_go_on():
                return True
            self._crowd()
        if not self._loop.threads.full:
            self._become(ON)
        elif self._loop.now >= self._look_at:
            return self._accept_leftovers()
        return True

    def sweep(self) -> None:
        """Tell the log when a limit has not been reached for a while; once a second."""
        for state, last in list(self._reached.items()):
            if self.state not in (OFF, state) and self._loop.now - last > CALM:
                del self._reached[state]
                log.info("accepting again connections=%d reason=%s", len(self._loop.connections), _REASONS[state])

    def on_event(self, fd: int) -> None:
        """Accept, if the event is that of a listener, and was not polled before it was unregistered."""
        if self.state is not ON:
            return
        if fd == self._handoff.receiving_fd:
            self._take_over()
        elif fd in self._listeners:
            # A sibling that is idle has accepted by then; if none is, clients would wait for round after round.
            unwanted = self._loop.now - self._left_at >= SIBLINGS_FIRST
            self._accept(self._listeners[fd], LEFTOVERS if unwanted else ACCEPTS)

    def _crowd(self) -> None:
        self._become(CROWDED)
        self._look_at = self._loop.now + SIBLINGS_FIRST

    def _may_go_on(self) -> bool:
        """Find out whether a limit that was reached is no longer."""
        if self.state is FULL:
            return len(self._loop.connections) < self._room
        if self._loop.now < self._look_at:
            return False
        self._look_at = self._loop.now + STARVED_FOR
        return self._reserve.take()

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

    def _accept(self, listener: "_Listener", most: int) -> bool:
        """Accept and serve; False: the lead is lost."""
        loop = self._loop
        box = loop.box
        for _ in range(most):
            if len(loop.connections) >= self._room:
                self._fill()
                return True
            try:
                fd, address = listener.accept()
            except BlockingIOError:
                self._left_at = inf
                return True
            except OSError as error:
                if error.errno in _NO_DESCRIPTORS:
                    self._starve(error.strerror or str(error))
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
        self._left_at = min(self._left_at, loop.now)
        return True

    def _take_over(self) -> None:
        """Receive connections of retiring workers.

        A message whose descriptor finds no place has lost it, and with it the client. So each gets the place of the
        reserve.
        """
        loop = self._loop
        box = loop.box
        for _ in range(HANDOFFS):
            if len(loop.connections) >= self._room:
                self._fill()
                return
            self._reserve.release()
            received = self._handoff.receive()
            if not self._reserve.take():
                self._starve("no descriptor is left")
            if received is not None:
                self._handoff.take_up(*received)
            if received is None or loop.box is not box or self.state is not ON:
                return

    def _take_rest(self) -> bool:
        """Receive what nobody will receive any more, if the controller is dead or ends; False: the lead is lost."""
        box = self._loop.box
        while self._loop.box is box:
            received = self._handoff.receive()
            if received is None:
                return True
            self._handoff.take_up(*received)
        return False

    # -- limits -------------------------------------------------------------------------------------------------------

    def _fill(self) -> None:
        """Stop until a connection is gone: there are as many as there may be."""
        if FULL not in self._reached:
            log.warning("connection limit reached connections=%d", len(self._loop.connections))
        self._reach(FULL)

    def _starve(self, reason: str) -> None:
        """Stop for a while: there are no descriptors left. Requests under way get the reserve."""
        self._reserve.release()
        self._look_at = self._loop.now + STARVED_FOR
        if STARVED not in self._reached:
            log.error("cannot accept connections=%d error=%s", len(self._loop.connections), reason)
        self._reach(STARVED)

    def _reach(self, state: Accept) -> None:
        self._reached[state] = self._loop.now
        if self.state in (ON, CROWDED):
            self._become(state)
