"""The end of a connection: closing, lingering, aborting, and being dropped.

A response that is cut ends like any other, behind all that was sent, where its framing tells the client that something
is missing (RFC 9112 section 8). Where the content ends with the connection only a reset tells, whatever that destroys.

A close while the client is still sending, or with data that nobody has read, turns into a reset, which can destroy the
response on its way. So then the connection *lingers*: it is closed in one direction, and what still comes is thrown
away, until the client has closed too or has had enough time (RFC 9112 section 9.6).
"""

from abc import abstractmethod
from time import monotonic
from typing import Final

from spawning.logs.log import Log
from spawning.worker.context import READ_SIZE
from spawning.worker.lifecycle import CLOSED, LINGERING, TRANSITIONS, State
from spawning.worker.sending import Sending
from spawning.worker.stream import DONTWAIT
from spawning.wsgi.responder import ClientGone

MAX_READS: Final = 16  # reads in a row before others get their turn
LINGER: Final = 2.0  # seconds that a client may go on sending
_GONE: Final = (ClientGone, BrokenPipeError, ConnectionResetError, ConnectionAbortedError, TimeoutError)

log = Log("spawning.worker")


class Closing(Sending):
    """A connection as far as its end is concerned. Leader only, but what its owner calls: ``become``, ``register``,
    ``linger``, ``broken``, ``abort``, ``abandon`` and ``close``.

    :ivar address: of the peer.
    :ivar registered: its events are reported.
    """

    __slots__ = ("address", "registered", "state")

    address: str
    registered: bool
    state: State

    @abstractmethod
    def close(self) -> None:
        """Close the socket; the connection is forgotten."""

    @abstractmethod
    def let_go(self) -> None:
        """Let go of the socket and of all else, of a connection that is closed; may be done again."""

    @abstractmethod
    def on_event(self) -> None:
        """Do what the state asks for."""

    def become(self, state: State) -> None:
        """Change the state; a transition that the table does not have is a bug. The two of every request,
        ``READING`` to ``EXECUTING`` and back, are assignments where they happen.
        """
        if state not in TRANSITIONS[self.state]:
            raise AssertionError(f"connection cannot go from {self.state.name} to {state.name}")
        self.state = state

    def register(self) -> None:
        """Have events reported, once and for all.

        :raises OSError: the kernel has no room for it.
        """
        if not self.registered:
            self.context.poller.register(self.fd)
            self.registered = True

    def unregister(self) -> None:
        if self.registered:
            self.registered = False
            self.context.poller.unregister(self.fd)

    def linger(self) -> None:
        """Close, but not at once; see the module."""
        self.deadline = monotonic() + LINGER
        self.become(LINGERING)
        self.context.post(self._half_close)

    def discard(self) -> None:
        """Throw away what has arrived on a lingering connection."""
        try:
            for _ in range(MAX_READS):
                if not self.stream.recv(READ_SIZE, DONTWAIT):
                    self.close()
                    return
            self.context.post(self.on_event)
        except BlockingIOError:
            return
        except OSError:
            self.close()

    def _half_close(self) -> None:
        if self.state is not LINGERING:
            return
        self.stream.end_sending()
        self.register()
        self.discard()

    def broken(self, error: OSError) -> None:
        """Close, because the socket does not work any more; say so unless the client has just gone."""
        if not isinstance(error, _GONE):
            log.warning("connection failed address=%s error=%s", self.address, error)
        self.close()

    def abort(self) -> None:
        """Close so that a client can tell whose response ends with the connection, and at once (RST instead of FIN)."""
        self.stream.reset()
        self.close()

    def disown(self) -> None:
        """Close the descriptor in a process that the application has forked; the client notices nothing."""
        self.fd = -1
        self.stream.disown()

    def abandon(self) -> None:
        """Close abruptly, whatever the state. Who has found a bug: it may have struck in the midst of a close."""
        self.cut = True
        if self.state is CLOSED:
            self.let_go()
        else:
            self.abort()
