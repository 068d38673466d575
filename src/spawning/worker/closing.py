"""The life of a connection and its end: states, registration, lingering, aborting.

A close while the client is still sending, or with data that nobody has read, turns into a reset, which can destroy the
response on its way. So then the connection *lingers*: it is closed in one direction, and what still comes is thrown
away, until the client has closed too or has had enough time (RFC 9112 section 9.6).
"""

import contextlib
import socket
from abc import abstractmethod
from time import monotonic
from typing import Final

from spawning.logs.log import Log
from spawning.worker.states import LINGERING, TRANSITIONS, State
from spawning.worker.transport import Transport
from spawning.wsgi.bridge import ClientGone

READ_SIZE: Final = 65536  # bytes a recv
MAX_READS: Final = 16  # reads in a row before others get their turn
LINGER: Final = 2.0  # seconds that a client may go on sending
_DONTWAIT: Final = socket.MSG_DONTWAIT
_GONE: Final = (ClientGone, BrokenPipeError, ConnectionResetError, ConnectionAbortedError, TimeoutError)

log = Log("spawning.worker")


class Closing(Transport):
    """A connection as far as its end is concerned. Leader only, but what its owner calls: ``become``, ``register``,
    ``linger``, ``broken``, ``abort`` and ``close``.

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
        """Have events reported, once and for all."""
        if not self.registered:
            self.registered = True
            self.loop.register(self)

    def unregister(self) -> None:
        if self.registered:
            self.registered = False
            self.loop.unregister(self)

    def linger(self) -> None:
        """Close, but not at once; see the module."""
        self.deadline = monotonic() + LINGER
        self.become(LINGERING)
        self.loop.post(self._half_close)

    def discard(self) -> None:
        """Throw away what has arrived on a lingering connection."""
        try:
            for _ in range(MAX_READS):
                if not self.sock.recv(READ_SIZE, _DONTWAIT):
                    self.close()
                    return
            self.loop.post(self.on_event)
        except BlockingIOError:
            return
        except OSError:
            self.close()

    def _half_close(self) -> None:
        if self.state is not LINGERING:
            return
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_WR)
        self.register()
        self.discard()

    def broken(self, error: OSError) -> None:
        """Close, because the socket does not work any more; say so unless the client has just gone."""
        if not isinstance(error, _GONE):
            log.warning("connection failed address=%s error=%s", self.address, error)
        self.close()

    def abort(self) -> None:
        """Close so that the client can tell that the response is incomplete (RST instead of FIN)."""
        with contextlib.suppress(OSError):
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.close()
