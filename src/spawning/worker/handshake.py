"""A connection of a TLS listener until its handshake is complete.

Then another one takes its place, whose stream is the session, and whose class the two ends have agreed on (ALPN, RFC
7301). The handshake goes on as its bytes come, so it holds no thread. It begins when its first record has come whole:
until then a slow client has no session, which takes far more memory than the bytes, and may leave for another worker.

A client that speaks plain HTTP is answered in plain HTTP, once, that it has to speak TLS.
"""

from typing import Any, Final

from spawning.errors import ProtocolError
from spawning.logs.log import Log
from spawning.logs.setup import fields
from spawning.net.identity import HTTP_1_1, said_of
from spawning.worker.arrival import Arrival
from spawning.worker.context import Context
from spawning.worker.lifecycle import READING
from spawning.worker.listener import Listener
from spawning.worker.stream import Stream
from spawning.worker.tls import RECORD, TLS, reason

_HANDSHAKE: Final = 22  # ContentType (RFC 8446 section 5.1), with which TLS begins
_HEADER: Final = 5  # bytes before the content of a record, the last two its length (RFC 8446 section 5.1)
_METHOD: Final = range(ord("A"), ord("Z") + 1)  # with which plain HTTP does

log: Final = Log("spawning.worker")


class Handshake(Arrival):
    """See the module.

    It may leave for another worker as long as nothing has been answered: what both ends know about the session
    afterwards is in the memory of this one.
    """

    __slots__ = ("_secured",)

    def __init__(self, context: Context, listener: Listener, stream: Stream, address: str, port: str) -> None:
        super().__init__(context, listener, stream, address, port)
        self._secured: TLS | None = None

    @property
    def idle(self) -> bool:
        return self._secured is None and super().idle

    def on_event(self) -> None:
        """Go on with what has come. Raises LeadLost."""
        if self._secured is None:
            super().on_event()
        elif self.state is READING:
            self._go_on(self._secured)

    def look(self) -> None:
        """Look at the first byte, which tells TLS from HTTP, and for the whole of the first record. Raises LeadLost."""
        identity = self.listener.identity
        first = self.received[0]
        if first == _HANDSHAKE and identity is not None and identity.context is not None:
            length = int.from_bytes(self.received[3:_HEADER])
            if len(self.received) < _HEADER or (length <= RECORD and len(self.received) < _HEADER + length):
                return
            self.stream = self._secured = TLS(self.stream, identity.context, self.received)
            self.received = b""
            self._go_on(self._secured)
        elif first in _METHOD:
            self._refuse()
        else:
            log.debug("connection closed, no TLS %s", fields(address=self.address or "unix"))
            self.close()

    def freeze(self) -> None:
        if self._secured is None:
            super().freeze()

    def _refuse(self) -> None:
        """Answer plain HTTP in plain HTTP."""
        connection: Any = self.give_way(self.listener.speaks[HTTP_1_1], self.listener, self.address, self.port)
        connection.reader.unread += self.received  # so that the log can name the request
        connection.refuse(ProtocolError(400, "plain HTTP where TLS is spoken; use https"))

    def _go_on(self, secured: TLS) -> None:
        try:
            secured.shake_hands()
        except BlockingIOError:
            return
        except OSError as error:
            log.debug("TLS handshake failed %s", fields(address=self.address or "unix", reason=reason(error)))
            self.close()
            return
        session = secured.session
        listener = self.listener.saying(said_of(session))
        make = listener.speaks[session.selected_alpn_protocol() or HTTP_1_1]
        connection = self.give_way(make, listener, self.address, self.port)
        try:
            connection.take_up(b"", self.deadline)
            if self.context.closing:  # the worker has been retired meanwhile
                connection.freeze()
                connection.depart()
            connection.on_event()  # a request may have come along
        except Exception:
            connection.abandon()
            raise
