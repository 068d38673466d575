"""Accepting connections: from the kernel's backlog, and from retiring workers (``handoff``).

All workers poll the same listening sockets, and each stops doing so while a sibling is the better one to accept. One
state says whether and why it does not; what is in the backlog meanwhile waits for a sibling, or for this worker when
the reason has passed. The listening sockets belong to the controller, which alone says when they end; a worker that
stops closes its own descriptors of them.
"""

import errno
import select
from collections.abc import Sequence
from enum import Enum
from heapq import nsmallest
from math import inf
from operator import attrgetter
from typing import Final

from spawning.logs.log import Log
from spawning.standard import FIRST_OF_OURS, moved
from spawning.worker.context import Context
from spawning.worker.descriptors import Reserve
from spawning.worker.handoff import HandoffSocket
from spawning.worker.listener import Listener
from spawning.worker.poller import Poller
from spawning.worker.roles import Connection
from spawning.worker.stream import Stream

ACCEPTS: Final = 8  # connections a wake-up, so that workers share a burst
SIBLINGS_FIRST: Final = 0.01  # seconds that connections are left to the siblings, of a burst or when threads are busy
LEFTOVERS: Final = 64  # connections that are accepted at a time after that
HANDOFFS: Final = 16  # connections of retiring workers a wake-up
STARVED_FOR: Final = 1.0  # seconds until the next attempt when there were no descriptors
CALM: Final = 2.0  # seconds of accepting after which a limit that was reached is news again
FULL_FOR: Final = 0.05  # seconds that connections are left to the siblings when there is no room, and between two looks
ROOM: Final = 1 / 256  # share of the connections that is closed, idle ones, when somebody waits and no sibling accepts
_poll: Final = select.poll  # by this name, whatever the application makes of the module
_NO_DESCRIPTORS: Final = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)

log = Log("spawning.worker")


class Accept(Enum):
    """Whether a worker accepts."""

    OFF = "not yet, or no more"
    ON = "yes"
    CROWDED = "all threads are busy: what no sibling has wanted for a moment is accepted"
    FULL = "there are as many connections as there may be (--max-connections)"
    STARVED = "there are no descriptors left"

    __hash__ = object.__hash__  # as in ``lifecycle.State``: the table of looks is read at each poll


OFF, ON, CROWDED, FULL, STARVED = Accept

TRANSITIONS: Final = {
    OFF: {ON},
    ON: {OFF, CROWDED, FULL, STARVED},
    CROWDED: {OFF, ON, FULL, STARVED},
    FULL: {OFF, CROWDED},
    STARVED: {OFF, CROWDED},
}

LOOKS: Final = {CROWDED: SIBLINGS_FIRST, FULL: FULL_FOR}  # seconds until the next look, where that is not the sweep

_REASONS: Final = {FULL: "connections", STARVED: "descriptors"}  # for the log


class Accepting:
    """A worker's accepting. Leader only; anybody may look at ``state``.

    :param context: of the worker.
    :param poller: where listeners are registered.
    :param listeners: of the worker.
    :param handoff: its receiving end is one more listener.
    :param room: most connections at a time.
    """

    def __init__(
        self, context: Context, poller: Poller, listeners: Sequence[Listener], handoff: HandoffSocket, room: int
    ) -> None:
        self.state = OFF
        self._room = room
        self._reserve = Reserve()
        self._reached: dict[Accept, float] = {}  # limits that the log tells of: when last (monotonic seconds)
        self._context = context
        self._poller = poller
        self._handoff = handoff
        self._listeners = {each.sock.fileno(): each for each in listeners if each.sock is not None}
        self._waiting = _poll()  # tells whether anybody waits to be accepted
        for fd in self._listeners:
            self._waiting.register(fd, select.POLLIN)
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

    def finish(self, most: int) -> None:
        """Accept what the kernel has queued, at most so many, and what retiring workers have sent; then nothing more.

        :raises LeadLost: the next leader has to finish.
        """
        if self.state is not OFF:
            for listener in list(self._listeners.values()):
                self._accept(listener, most)
            self._become(OFF)
        self._let_go()
        self._take_rest()

    def _let_go(self) -> None:
        """Close this worker's descriptors of the listening sockets: when nobody accepts any more, who connects is to be
        refused, not to wait for the end of the last worker, and the address is free for another server.
        """
        for listener in self._listeners.values():
            assert listener.sock is not None
            listener.sock.close()
        self._listeners.clear()

    def look(self) -> None:
        """Stop because all threads are busy, or accept again if the reason not to has passed. Raises LeadLost."""
        context = self._context
        state = self.state
        if state is OFF:
            context.crowded = False
            return
        if state is ON:
            if context.crowded:  # a sibling that has a thread to spare will be faster
                self._crowd()
            return
        if state is not CROWDED:
            if not self._may_go_on() or self.state is OFF:  # what has arrived may have told that the worker retires
                return
            self._crowd()
        if not context.full:
            self._become(ON)
        elif context.now >= self._look_at:
            self._accept_leftovers()

    def sweep(self) -> None:
        """Log when a limit has not been reached for a while; once a second."""
        for state, last in list(self._reached.items()):
            if self.state not in (OFF, state) and self._context.now - last > CALM:
                del self._reached[state]
                log.info("accepting again connections=%d reason=%s", len(self._poller.pollables), _REASONS[state])

    def on_event(self, fd: int) -> None:
        """Accept, if the event is that of a listener, and was not polled before it was unregistered."""
        if self.state is not ON:
            return
        if fd == self._handoff.receiving_fd:
            self._receive()
        elif self._context.crowded:
            return
        elif fd in self._listeners:
            # A sibling that is idle has accepted by then; if none is, clients would wait for round after round.
            unwanted = self._context.now - self._left_at >= SIBLINGS_FIRST
            self._accept(self._listeners[fd], LEFTOVERS if unwanted else ACCEPTS)

    def _crowd(self) -> None:
        self._become(CROWDED)
        self._look_at = self._context.now + SIBLINGS_FIRST

    def _may_go_on(self) -> bool:
        """Find out whether a limit that was reached is no longer."""
        if self.state is FULL:
            return len(self._poller.pollables) < self._room or self._make_room()
        if self._context.now < self._look_at:
            return False
        self._look_at = self._context.now + STARVED_FOR
        return self._reserve.take()

    def _become(self, state: Accept) -> None:
        """Change the state; a transition that the table does not have is a bug."""
        old = self.state
        if state not in TRANSITIONS[old]:
            raise AssertionError(f"accepting cannot go from {old.name} to {state.name}")
        self.state = state
        self._context.crowded = state is CROWDED
        self._poller.tells = state is FULL
        for fd in (*self._listeners, self._handoff.receiving_fd):
            if state is ON:
                self._poller.epoll.register(fd, select.EPOLLIN | select.EPOLLEXCLUSIVE)
            elif old is ON:
                self._poller.epoll.unregister(fd)

    def _accept_leftovers(self) -> None:
        """Accept what no sibling has wanted either, so that a client waits for a thread and not for ever."""
        self._look_at = self._context.now + SIBLINGS_FIRST
        for listener in list(self._listeners.values()):  # it may learn meanwhile that it has been succeeded, and stop
            self._accept(listener, LEFTOVERS)

    def _accept(self, listener: Listener, most: int) -> None:
        """Accept and serve. Raises LeadLost; then register() was the business of the connection's owner."""
        context = self._context
        poller = self._poller
        pollables = poller.pollables
        first = listener.first
        for _ in range(most):
            if len(pollables) >= self._room:
                self._fill()
                return
            try:
                fd, address = listener.accept()
                if fd < FIRST_OF_OURS:
                    fd = moved(fd)
            except BlockingIOError:
                self._left_at = inf
                return
            except OSError as error:
                if error.errno in _NO_DESCRIPTORS:
                    self._starve(error.strerror or str(error))
                return
            stream = Stream(listener.family, listener.kind, listener.proto, fd)
            if type(address) is tuple:
                connection: Connection = first(context, listener, stream, address[0], str(address[1]))
            else:
                connection = first(context, listener, stream, "", "")
            pollables[fd] = connection
            try:
                connection.on_event()
                if not connection.registered and pollables.get(fd) is connection and not connection.leaving:
                    connection.register()
            except Exception:  # boundary: what one connection does wrong must not cost the others theirs
                poller.drop(connection)
        self._left_at = min(self._left_at, context.now)

    def _receive(self) -> None:
        """Receive connections of retiring workers. Raises LeadLost.

        A message whose descriptor finds no place has lost it, and with it the client. So each gets the place of the
        reserve.
        """
        for _ in range(HANDOFFS):
            if len(self._poller.pollables) >= self._room:
                self._fill()
                return
            self._reserve.release()
            try:
                received = self._handoff.receive()
            finally:
                if not self._reserve.take():
                    self._starve("no descriptor is left")
            if received is None:
                return
            self._handoff.take_up(*received)
            if self.state is not ON:
                return

    def _take_rest(self) -> None:
        """Receive what nobody will receive any more, if the controller is dead or ends. Raises LeadLost."""
        while (received := self._handoff.receive()) is not None:
            self._handoff.take_up(*received)

    # -- limits -------------------------------------------------------------------------------------------------------

    def _make_room(self) -> bool:
        """Close the connections that have been idle for the longest time, if somebody waits whom no sibling has wanted.

        A request that has arrived on one of them meanwhile is served. Raises LeadLost.

        :returns: whether there is room now.
        """
        if self._context.now < self._look_at:
            return False
        self._look_at = self._context.now + FULL_FOR
        if not self._waiting.poll(0):
            return False
        idle = [each for each in list(self._poller.pollables.values()) if each.idle]
        for each in nsmallest(max(1, int(self._room * ROOM)), idle, key=attrgetter("deadline")):
            each.close_if_idle(False)
        return len(self._poller.pollables) < self._room

    def _fill(self) -> None:
        """Stop until a connection is gone: there are as many as there may be."""
        self._look_at = self._context.now + FULL_FOR
        if self._reach(FULL):
            log.warning("connection limit reached connections=%d", len(self._poller.pollables))

    def _starve(self, reason: str) -> None:
        """Stop for a while: there are no descriptors left. Requests under way get the reserve."""
        self._reserve.release()
        self._look_at = self._context.now + STARVED_FOR
        if self._reach(STARVED):
            log.error("cannot accept connections=%d error=%s", len(self._poller.pollables), reason)

    def _reach(self, state: Accept) -> bool:
        """Stop because of a limit; True: the log has to be told, now that whatever it raises does no harm."""
        news = state not in self._reached
        self._reached[state] = self._context.now
        if self.state in (ON, CROWDED):
            self._become(state)
        return news
