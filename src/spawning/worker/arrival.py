"""A connection on which something comes before HTTP: a PROXY header, a TLS handshake.

When that has come whole, another one takes its place, and a connection without any of it has nothing to do with this.
All of it has to come within the time of a request's head (``--head-timeout``), of which it is a part.
"""

from abc import abstractmethod
from collections.abc import Callable
from typing import Any

from spawning.worker.context import READ_SIZE, Context
from spawning.worker.departing import Departing
from spawning.worker.lifecycle import CLOSED, LEAVING, READING, TRANSITIONS, State
from spawning.worker.listener import Listener
from spawning.worker.roles import Connection
from spawning.worker.stream import DONTWAIT, Stream


class Arrival(Departing):
    """See the module. Leader only. Its states are three of the table's: ``READING``, ``LEAVING`` and ``CLOSED``.

    :param context: of the worker.
    :param listener: where it was accepted.
    :param stream: the connected socket.
    :param address: of the peer.
    :param port: of the peer.

    :ivar received: what has come and has not been used.
    """

    __slots__ = (
        "address", "context", "deadline", "ended", "fd", "listener", "port", "received", "registered", "state",
        "stream",
    )  # fmt: skip

    def __init__(self, context: Context, listener: Listener, stream: Stream, address: str, port: str) -> None:
        self.context = context
        self.listener = listener
        self.stream = stream
        self.fd = stream.fileno()
        self.address = address
        self.port = port
        self.deadline = context.now + context.settings.head_timeout
        self.ended = False
        self.registered = False
        self.received = b""
        self.state: State = READING

    def on_event(self) -> None:
        """Read what has come, and look at it. Raises LeadLost."""
        if self.state is not READING:
            return
        try:
            data = self.stream.recv(READ_SIZE, DONTWAIT)
        except BlockingIOError:
            return
        except OSError:
            self.close()
            return
        if not data:
            self.close()
            return
        self.received += data
        if not self.stands_back():
            self.look()

    @abstractmethod
    def look(self) -> None:
        """Look at what has been received. Raises LeadLost."""

    @property
    def unread(self) -> bytes:
        return self.received

    @property
    def idle(self) -> bool:
        return self.state is READING and not self.received

    def become(self, state: State) -> None:
        """Change the state; a transition that the table does not have is a bug."""
        if state not in TRANSITIONS[self.state]:
            raise AssertionError(f"{type(self).__name__} cannot go from {self.state.name} to {state.name}")
        self.state = state

    def give_way(self, make: Callable[..., Any], listener: Listener, address: str, port: str) -> Connection:
        """Put another connection in the place of this one; it has the stream, and nothing has been done with it.

        :param make: makes it, as ``Listener.protocol``.
        """
        connection: Connection = make(self.context, listener, self.stream, address, port)
        connection.registered = self.registered
        connection.ended = self.ended
        self.context.poller.replace(self.fd, connection)
        self.become(CLOSED)
        self.fd = -1
        return connection

    def stands_back(self) -> bool:
        """Leave it to the generation that serves by now, if nothing has been answered yet."""
        context = self.context
        if context.fence[0] <= context.term or context.stopping:
            return False
        self.become(LEAVING)
        context.stand_back()
        self.depart()
        return True

    # -- moving and ending --------------------------------------------------------------------------------------------

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

    def take_up(self, unread: bytes, deadline: float) -> None:
        """Go on where another worker has left off. Raises LeadLost.

        :param unread: bytes that the other worker has received.
        :param deadline: (monotonic seconds) as it was there.
        """
        self.register()
        self.deadline = deadline
        if unread:
            self.received = unread
            self.look()

    def freeze(self) -> None:
        """Read no more, because the worker retires."""
        if self.state is READING and not self.context.stopping:
            self.become(LEAVING)

    def forget(self) -> None:
        """Do nothing: nothing is remembered."""

    def on_deadline(self) -> None:
        """Close, if what is waited for has not come in time."""
        if self.state is READING and self.deadline < self.context.now:
            self.close()

    def close_if_idle(self, fresh_too: bool) -> None:
        """Close, unless something has come.

        :param fresh_too: as for other connections; this one is fresh.
        """
        if self.state is READING:
            self.on_event()
        if (self.idle and fresh_too) or self.state is LEAVING:
            self.close()

    def abandon(self) -> None:
        """Be closed abruptly, whatever the state."""
        if self.state is not CLOSED:
            self.stream.reset()
            self.close()

    def disown(self) -> None:
        """Close the descriptor in a process that the application has forked; the client notices nothing."""
        self.fd = -1
        self.stream.disown()

    def close(self) -> None:
        """Close the socket; the connection is forgotten."""
        self.become(CLOSED)
        self.context.poller.forget(self.fd)
        self.fd = -1
        self.stream.close()
