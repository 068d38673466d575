"""A connection that has to begin with a PROXY header (``?proxy``), until that has come whole.

Then another one takes its place, which knows the client that the header has announced, and is as if the client had
connected itself. So a connection of a listener without ``?proxy`` has nothing to do with any of this.

The header has to come within the time of a request's head (``--head-timeout``), of which it is a part. A peer that
sends something else is closed without an answer: what would be answered is not known to be HTTP.
"""

from typing import Final

from spawning.ipc.messages import Handoff
from spawning.logs.log import Log
from spawning.logs.setup import fields
from spawning.net.proxy_protocol import Announced, read
from spawning.worker.context import READ_SIZE, Context
from spawning.worker.lifecycle import CLOSED, LEAVING, READING, TRANSITIONS, State
from spawning.worker.listener import Listener
from spawning.worker.roles import Connection
from spawning.worker.stream import DONTWAIT, Stream

log: Final = Log("spawning.worker")


def accepted(context: Context, listener: Listener, stream: Stream, address: str, port: str) -> Connection:
    """Make a connection that has just been accepted: of a peer that has to announce its client, or of any other."""
    if listener.proxies is not None and listener.proxies.peer(address):
        return Preamble(context, listener, stream, address, port)
    connection: Connection = listener.protocol(context, listener, stream, address, port)
    return connection


class Preamble:
    """See the module. Leader only. Its states are three of the table's: ``READING``, ``LEAVING`` and ``CLOSED``.

    :param context: of the worker.
    :param listener: where it was accepted.
    :param stream: the connected socket.
    :param address: of the peer.
    :param port: of the peer.
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

    @property
    def idle(self) -> bool:
        return self.state is READING and not self.received

    def on_event(self) -> None:
        """Read what has come, and go on when the header is whole. Raises LeadLost."""
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
        context = self.context
        if context.fence[0] > context.term and not context.stopping:
            self.become(LEAVING)
            context.stand_back()
            self.depart()
            return
        self._look()

    def _look(self) -> None:
        try:
            announced = read(self.received)
        except ValueError as error:
            self._refuse(str(error))
            return
        if announced is not None:
            self._go_on(announced)

    def _refuse(self, reason: str) -> None:
        """Close, and say so: once as what may be a mistake in a configuration, afterwards for who looks for it."""
        tell = log.debug if self.listener.told else log.warning
        self.listener.told = True
        tell("connection closed, no PROXY header %s", fields(address=self.address or "unix", reason=reason))
        self.close()

    def _go_on(self, announced: Announced) -> None:
        """Make a connection of the client that the header announces, in the place of this one."""
        address, port = self.address, self.port
        if announced.address is not None:
            address, port = announced.address, announced.port
        listener = self.listener.saying(announced.environ)
        connection: Connection = listener.protocol(self.context, listener, self.stream, address, port)
        connection.registered = self.registered
        connection.ended = self.ended
        self.context.poller.replace(self.fd, connection)
        self.become(CLOSED)
        self.fd = -1
        unread = self.received[announced.length :]
        try:
            connection.take_up(unread, self.deadline)
            if not unread:
                connection.on_event()  # the end may have come along
        except Exception:
            connection.abandon()
            raise

    def become(self, state: State) -> None:
        """Change the state; a transition that the table does not have is a bug."""
        if state not in TRANSITIONS[self.state]:
            raise AssertionError(f"preamble cannot go from {self.state.name} to {state.name}")
        self.state = state

    # -- moving and ending --------------------------------------------------------------------------------------------

    def register(self) -> None:
        """Have events reported, once and for all.

        :raises OSError: the kernel has no room for it.
        """
        if not self.registered:
            self.context.poller.register(self.fd)
            self.registered = True

    def take_up(self, unread: bytes, deadline: float) -> None:
        """Go on where another worker has left off. Raises LeadLost.

        :param unread: what that one has received.
        :param deadline: (monotonic seconds) as it was there.
        """
        self.register()
        self.deadline = deadline
        if unread:
            self.received = unread
            self._look()

    def freeze(self) -> None:
        """Read no more, because the worker retires."""
        if self.state is READING and not self.context.stopping:
            self.become(LEAVING)

    def depart(self) -> None:
        """Be sent to another worker, if it is frozen."""
        if self.state is LEAVING:
            if self.registered:
                self.registered = False
                self.context.poller.unregister(self.fd)
            self.context.hand_off(self)

    @property
    def leaving(self) -> bool:
        return self.state is LEAVING

    def luggage(self) -> Handoff:
        """Return what the next worker has to know."""
        return Handoff(
            self.address,
            self.port,
            self.stream.family,
            self.deadline,
            self.received.decode("latin-1"),
            self.listener.name,
            fresh=True,
        )

    def forget(self) -> None:
        """Do nothing: nothing is remembered."""

    def on_deadline(self) -> None:
        """Close, if the header has not come in time."""
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
        self.stream.close()

    def close(self) -> None:
        """Close the socket; the connection is forgotten."""
        self.become(CLOSED)
        self.context.poller.forget(self.fd)
        self.fd = -1
        self.stream.close()
