"""Connections of HTTP/1 over TLS: where the session is, and where the plaintext has gone from there.

A session is in the memory of the worker that has made it. When that retires, the plaintext goes to the next generation
(``passage``), and a ferry stays (``ferry``). A connection at a far end says ``Connection: close`` with its next
response, so that its client comes back with a new one, which needs no ferry. It does so once a reload: not as long as
the client could come back to a worker that is about to be retired itself.
"""

from dataclasses import replace
from typing import Final

from spawning.ipc.messages import Handoff
from spawning.worker import passage
from spawning.worker.context import Context
from spawning.worker.ferry import Ferry
from spawning.worker.http1 import NO_EXCHANGE, NO_TEMPLATE, Http1
from spawning.worker.lifecycle import CLOSED, LEAVING
from spawning.worker.listener import Listener
from spawning.worker.stream import Stream
from spawning.worker.tls import TLS

CUTOVER: Final = 2.0  # seconds in which all workers of a generation have been retired, when one of them has


class Secured(Http1):
    """A connection whose session is here."""

    __slots__ = ()

    stream: TLS

    def _begin(self) -> None:
        super()._begin()
        context = self.context
        if context.fence[0] > context.term and not self.reader.unread:
            self.keep_alive = False  # saves a ferry

    def depart(self) -> None:
        """Send the plaintext to another worker."""
        if self.state is LEAVING:
            self.context.hand_off(Passenger(self))

    def turn_into_ferry(self, near: Stream) -> None:
        """Leave the session to a ferry, since another worker serves at the far end.

        :param near: this end of the passage.
        :raises OSError: the kernel has no room for it.
        """
        ferry = Ferry(self.context, self.stream, near, self.address)
        self.become(CLOSED)
        self.fd = -1
        self.exchange = NO_EXCHANGE
        self.template = NO_TEMPLATE
        try:
            ferry.begin(self.registered)
        except OSError:
            ferry.abandon()
            raise


class Passenger:
    """The plaintext of a connection on its way to another worker, as ``roles.Leaver`` describes.

    The passage is made when there is room in the handoff socket, since each takes two descriptors until then.
    """

    __slots__ = ("_connection", "_ends")

    def __init__(self, connection: Secured) -> None:
        self._connection = connection
        self._ends: tuple[Stream, Stream] | None = None

    @property
    def fd(self) -> int:
        """The descriptor of the far end.

        :raises OSError: no descriptor is left.
        """
        if self._ends is None:
            self._ends = passage.make()
        return self._ends[1].fileno()

    @property
    def leaving(self) -> bool:
        return self._connection.leaving

    def luggage(self) -> Handoff:
        connection = self._connection
        return replace(connection.luggage(), family=passage.FAMILY, ferried=True, term=connection.context.term)

    def has_left(self) -> None:
        """Ferry from now on."""
        assert self._ends is not None
        near, far = self._ends
        far.close()
        self._connection.turn_into_ferry(near)

    def abandon(self) -> None:
        """Be closed abruptly."""
        for each in self._ends or ():
            each.close()
        self._connection.abandon()


class Ferried(Http1):
    """A connection at the far end of a passage. It migrates like any other."""

    __slots__ = ("_kept_until",)

    def __init__(self, context: Context, listener: Listener, stream: Stream, address: str, port: str) -> None:
        super().__init__(context, listener, passage.FarEnd(stream), address, port)
        self._kept_until = 0.0

    def is_from(self, term: int) -> None:
        """Note the term of the worker that has sent it.

        One of the same term has been retired before this one, or recycled. If a cutover is under way, the client would
        come back to this worker, and be sent away once more.
        """
        if term == self.context.term:
            self._kept_until = self.context.now + CUTOVER

    def _begin(self) -> None:
        super()._begin()
        # What a client has pipelined behind this is answered too.
        if not self.reader.unread and self.context.now >= self._kept_until:
            self.keep_alive = False

    def luggage(self) -> Handoff:
        return replace(super().luggage(), ferried=True, term=self.context.term)

    def has_left(self) -> None:
        self.stream.reset()  # it goes on elsewhere, so it does not end here
        super().has_left()
