"""A ferry: carries what passes between a client that speaks TLS and the worker that serves it now.

A TLS session lives in the memory of one process, so its connection cannot migrate; its plaintext can. A retired worker
makes a passage (``passage``) for each connection between two requests, and sends the far end to the next generation
like any connection (``secured``). It goes on as a ferry. The worker at the far end says ``Connection: close`` with its
next response, so ferries end by themselves.

A ferry knows no HTTP, has no time-out for what is idle (the far end has one), and keeps little: one block each way.
While that is not taken it receives nothing more, so each side feels how fast the other one is.

Its two descriptors are known to the loop as this one object, which looks at both whenever something happens at either.
"""

import select
from enum import Enum
from typing import Final

from spawning.worker import passage
from spawning.worker.context import READ_SIZE, Context
from spawning.worker.output import unsent
from spawning.worker.stream import DONTWAIT, Stream
from spawning.worker.tls import TLS

TURN: Final = 2 << 20  # bytes each way before the others get their turn
LINGER: Final = 2.0  # seconds that a client may go on sending behind the end
_NOTHING: Final = memoryview(b"")
_HUNG_UP: Final = select.POLLHUP | select.POLLERR
_poll: Final = select.poll  # by this name, whatever the application makes of the module


class Stage(Enum):
    CARRYING = "the far end sends"
    LANDED = "it has said its last word"
    TOLD = "the client has been told the end, too"
    LINGERING = "the far end is gone; what the client still sends is thrown away"
    CLOSED = "closed"

    __hash__ = object.__hash__  # as in ``lifecycle.State``


CARRYING, LANDED, TOLD, LINGERING, CLOSED = Stage

TRANSITIONS: Final = {
    CARRYING: {LANDED, CLOSED},
    LANDED: {TOLD, CLOSED},
    TOLD: {LINGERING, CLOSED},
    LINGERING: {CLOSED},
    CLOSED: frozenset(),
}


class Ferry:
    """See the module. Leader only.

    :param context: of the worker.
    :param session: with the client.
    :param near: this end of the passage.
    :param address: of the client.

    :ivar fd: the client's descriptor; -1 when it is closed.
    :ivar deadline: (monotonic seconds) of the next look at whether the client takes what is on its way to it; while
        ``LINGERING``, until when it may send.
    """

    __slots__ = (
        "_context", "_hears", "_incoming", "_moved", "_near", "_near_fd", "_outgoing", "_session", "_silent", "_stage",
        "_waiting", "_yielded", "address", "deadline", "ended", "fd",
    )  # fmt: skip

    def __init__(self, context: Context, session: TLS, near: Stream, address: str) -> None:
        self.address = address
        self.ended = False
        self.fd = session.fileno()
        self.deadline = context.now + context.settings.response_timeout
        self._context = context
        self._session = session
        self._near = near
        self._near_fd = near.fileno()
        self._stage = CARRYING
        self._incoming = _NOTHING  # received from the client, and not taken by the far end
        self._outgoing = _NOTHING  # received from the far end, and not taken by the client
        self._silent = False  # the client will send nothing more
        self._hears = True  # the far end takes what the client sends
        self._yielded = False  # it is the turn of the others
        self._moved = False  # something has been sent to the client since the last look
        self._waiting = 0  # bytes that were on their way to the client at the last look

    @property
    def idle(self) -> bool:
        return False  # the far end knows

    def begin(self, registered: bool) -> None:
        """Be looked after by the loop.

        :param registered: the client's descriptor is registered.
        :raises OSError: the kernel has no room for it.
        """
        context = self._context
        context.ferries += 1
        context.poller.replace(self.fd, self)
        context.poller.replace(self._near_fd, self)
        context.poller.register(self._near_fd)
        if not registered:
            context.poller.register(self.fd)
        self._yield()  # while the connection was frozen, nobody has looked

    # -- carrying -----------------------------------------------------------------------------------------------------

    def on_event(self) -> None:
        """Carry what there is."""
        if self._stage is CLOSED:
            return
        try:
            more = self._carry_out()
            more |= self._carry_in()
        except OSError:  # the client has gone, or has to see that the response is not whole
            self.close()
            return
        if self._stage is TOLD and self._has_hung_up():
            self._end()
        if more and not self._yielded:
            self._yield()

    def _yield(self) -> None:
        self._yielded = True
        self._context.post(self._go_on)

    def _go_on(self) -> None:
        self._yielded = False
        self.on_event()

    def _carry_out(self) -> bool:
        """Carry what the far end sends to the client.

        :returns: whether there may be more, but it is the turn of the others.
        :raises OSError: the client has gone, or the far end has without its last word.
        """
        carried = 0
        while carried < TURN:
            if self._outgoing:
                try:
                    sent = self._session.send(self._outgoing)
                except BlockingIOError:
                    return False
                self._outgoing = self._outgoing[sent:]
                self._moved = True
                carried += sent
                continue
            if self._stage is not CARRYING and self._stage is not LANDED:
                return False
            try:
                data, last = passage.receive(self._near, READ_SIZE)
            except BlockingIOError:
                return False
            if last and self._stage is CARRYING:
                self._become(LANDED)
            if data:
                self._outgoing = memoryview(data)
            elif not last:
                self._tell_the_end()
        return True

    def _carry_in(self) -> bool:
        """Carry what the client sends to the far end; as :meth:`_carry_out`.

        :raises OSError: the client has gone.
        """
        carried = 0
        while carried < TURN and not self._silent:
            if self._incoming:
                try:
                    sent = self._near.send(self._incoming, DONTWAIT)
                except BlockingIOError:
                    return False
                except OSError:
                    self._hears = False
                    sent = len(self._incoming)
                self._incoming = self._incoming[sent:]
                carried += sent
                continue
            try:
                data = self._session.recv(READ_SIZE)
            except BlockingIOError:
                return False
            if not data:
                self._silent = True
                self._near.end_sending()
            elif self._hears:
                self._incoming = memoryview(data)
            else:
                carried += len(data)
        return not self._silent

    # -- the end ------------------------------------------------------------------------------------------------------

    def _become(self, stage: Stage) -> None:
        if stage not in TRANSITIONS[self._stage]:
            raise AssertionError(f"ferry cannot go from {self._stage.name} to {stage.name}")
        self._stage = stage

    def _tell_the_end(self) -> None:
        """Send the client the end of the session.

        :raises OSError: the far end has not said that it ends well; the client sees that something may be missing.
        """
        if self._stage is not LANDED:
            self._session.reset()
            raise ConnectionAbortedError("cut by the worker that serves")
        self._become(TOLD)
        self._session.end_sending()

    def _has_hung_up(self) -> bool:
        """Ask the kernel whether the far end is closed; it may have ended only what it sends."""
        poll = _poll()
        poll.register(self._near_fd, _HUNG_UP)
        return bool(poll.poll(0))

    def _end(self) -> None:
        """Close, but not at once when the client has sent what nobody has read (see ``closing``)."""
        if self._silent or (self._hears and not self._incoming):
            self.close()
        else:
            self._become(LINGERING)
            self.deadline = self._context.now + LINGER

    def on_deadline(self) -> None:
        """Drop a client that takes nothing, or whose link is down."""
        context = self._context
        if self._stage is CLOSED or self.deadline >= context.polled:
            return
        if self._stage is LINGERING:
            self.close()
            return
        timeout = context.settings.response_timeout
        waiting = unsent(self._session) + len(self._outgoing)
        if waiting and self._waiting:
            takes = self._moved or waiting < self._waiting
            if not takes or self._session.silent_for() > timeout:
                self.abandon()
                return
        self._moved = False
        self._waiting = waiting
        self.deadline = context.now + timeout

    def abandon(self) -> None:
        """Be closed abruptly."""
        if self._stage is not CLOSED:
            self._session.reset()
            self.close()

    def close(self) -> None:
        """Close both ends."""
        self._become(CLOSED)
        context = self._context
        context.ferries -= 1
        context.poller.forget(self.fd)
        context.poller.forget(self._near_fd)
        self.fd = -1
        self._near.close()
        self._session.close()

    def disown(self) -> None:
        """Close the descriptors in a process that the application has forked; nobody notices."""
        self.fd = -1
        self._near.disown()
        self._session.disown()

    # -- what is the far end's business -------------------------------------------------------------------------------

    def forget(self) -> None:
        """Do nothing: nothing is remembered."""

    def freeze(self) -> None:
        """Go on: the far end migrates once more, this end does not."""

    def depart(self) -> None:
        """Go on, likewise."""

    def close_if_idle(self, fresh_too: bool) -> None:
        """Go on: the far end is closed when nothing is under way."""
