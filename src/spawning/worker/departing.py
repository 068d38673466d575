"""A connection that is frozen, on its way to a worker of the next generation: what all kinds of connections do then."""

from abc import ABC, abstractmethod

from spawning.ipc.messages import Handoff
from spawning.worker.context import Context
from spawning.worker.lifecycle import LEAVING, State
from spawning.worker.listener import Listener
from spawning.worker.stream import Stream


class Departing(ABC):
    """See the module, and ``roles.Leaver``. Leader only. Who inherits has the slots.

    :ivar context: of the worker.
    :ivar stream: the connected socket.
    :ivar fd: its descriptor.
    :ivar state: may move while it is ``LEAVING``.
    :ivar deadline: (monotonic seconds) goes along.
    :ivar listener: where the connection came from.
    :ivar address: of the peer.
    :ivar port: of the peer.
    """

    __slots__ = ()

    context: Context
    stream: Stream
    fd: int
    state: State
    deadline: float
    listener: Listener
    address: str
    port: str

    @property
    @abstractmethod
    def unread(self) -> bytes | bytearray:
        """What has been received and not been used."""

    @abstractmethod
    def unregister(self) -> None:
        """Have no events reported any more."""

    @abstractmethod
    def close(self) -> None:
        """Close the socket; the connection is forgotten."""

    @abstractmethod
    def abandon(self) -> None:
        """Be closed abruptly, whatever the state."""

    def depart(self) -> None:
        """Be sent to another worker, if it is frozen."""
        if self.state is LEAVING:
            # The registration is the kernel's with the open socket, which goes on to live elsewhere.
            self.unregister()
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
            self.unread.decode("latin-1"),
            self.listener.name,
            dict(self.listener.said),
        )

    def has_left(self) -> None:
        """Let go of the socket: another worker has it."""
        self.close()
