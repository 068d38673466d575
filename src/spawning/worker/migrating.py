"""A connection on its way to a worker of the next generation: frozen between two requests, sent, taken up there.

What was received of a further request and not interpreted goes along as bytes. A request whose body is arriving is
served first, where its beginning is.
"""

from abc import abstractmethod
from typing import Final

from spawning.http.request import RequestReader
from spawning.worker.closing import Closing
from spawning.worker.departing import Departing
from spawning.worker.lifecycle import HEAD, LEAVING, READING, Awaited
from spawning.worker.listener import Listener

# Seconds that a connection is kept at least: its way may have taken long, and the next sweep may come before its first
# event, which tells of what has arrived meanwhile.
ARRIVAL: Final = 2.0


class Migrating(Closing, Departing):
    """See the module. Leader only, but for :meth:`leave` (the owner).

    :ivar awaited: what it waits for while ``READING``.
    :ivar listener: where the connection came from.
    :ivar port: of the peer.
    :ivar reader: makes requests of what is received.
    """

    __slots__ = ("awaited", "listener", "port", "reader")

    awaited: Awaited
    listener: Listener
    port: str
    reader: RequestReader

    @abstractmethod
    def go_on(self) -> None:
        """Serve what has been received."""

    def leave(self) -> bool:
        """In a retiring worker: freeze a connection between two requests; False if it has to be served here."""
        if self.context.stopping or self.reader.reading_body:
            return False
        self.become(LEAVING)
        self.context.post(self.depart)
        return True

    def leave_late(self) -> None:
        self.freeze()
        self.depart()
        self.go_on()  # if it is to be served here after all

    def freeze(self) -> None:
        """Stop reading, because the worker retires, unless a body is arriving."""
        if self.state is READING and not self.reader.reading_body and not self.context.stopping:
            self.become(LEAVING)

    @property
    def unread(self) -> bytearray:
        return self.reader.unread

    def take_up(self, unread: bytes, deadline: float) -> None:
        """Go on where another worker has left off.

        :param unread: bytes that the other worker has received of further requests.
        :param deadline: (monotonic seconds) as it was there.
        """
        self.register()
        self.deadline = max(deadline, self.context.now + ARRIVAL)
        if unread:
            self.awaited = HEAD
            self.reader.unread += unread
            self.go_on()

    def stands_back(self, data: bytes) -> bool:
        """Leave what has been received to the generation that serves by now, unless it is of a body."""
        if self.reader.reading_body or self.context.stopping:
            return False
        self.reader.unread += data
        self.become(LEAVING)
        self.context.stand_back()
        self.depart()
        return True
