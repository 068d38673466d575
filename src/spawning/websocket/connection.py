"""One open WebSocket (RFC 6455): messages in and out, over a blocking socket.

Threads. One at a time receives (``wait``, iteration); any may send and close. A lock guards sending: frames go out in
the order in which they are made, and are not mixed. It is not taken to receive: ``wsproto`` keeps the two directions
apart. ``_farewell`` is called by a thread of the server, in a process of greenlets too, so it takes no lock: it says
first that nothing more is sent, and looks afterwards whether something is being sent.
"""

import contextlib
import select
import threading
from collections.abc import Iterator
from errno import EPIPE
from time import monotonic
from types import TracebackType
from typing import Any, Final, Self

from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Event, Ping, Pong, TextMessage
from wsproto.utilities import LocalProtocolError

from spawning.websocket.handshake import Accepted

NORMAL: Final = 1000
NO_CODE: Final = 1005  # the other side has closed and has not said why
ABNORMAL: Final = 1006  # the connection has ended without a word
TOO_BIG: Final = 1009
INTERNAL_ERROR: Final = 1011

# Bytes that are received at a time. What is compressed may become a thousand times as much (zlib), and only then is it
# known to be too much: this bounds it to 4 MiB.
_AT_A_TIME: Final = 65536
_AT_A_TIME_COMPRESSED: Final = 4096


class ConnectionClosed(ConnectionError):
    """The WebSocket is closed, so nothing can be sent.

    :ivar code: why (RFC 6455 section 7.4).
    :ivar reason: in words, perhaps empty.
    """

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(EPIPE, f"the WebSocket is closed, code {code}{': ' if reason else ''}{reason}")
        self.code = code
        self.reason = reason


class WebSocket:
    """See the module. Made by :class:`~spawning.websocket.WebSocketWSGI`.

    :ivar environ: of the request.
    :ivar path: of the request.
    :ivar origin: of the page that has connected; None: it is no page, or does not say.
    :ivar protocol: the subprotocol; None: none.
    :ivar version: of the protocol, 13.
    :ivar closed: one side has closed it.
    :ivar close_code: with which code; None while it is open.
    :ivar close_reason: and with which words.
    """

    version = 13

    def __init__(
        self,
        environ: dict[str, Any],
        accepted: Accepted,
        *,
        max_message_length: int,
        ping_interval: float | None,
        ping_timeout: float,
        send_timeout: float,
    ) -> None:
        self.environ = environ
        self.path: str = environ.get("PATH_INFO", "")
        self.origin: str | None = environ.get("HTTP_ORIGIN")
        self.protocol = accepted.protocol
        self.closed = False
        self.close_code: int | None = None
        self.close_reason = ""
        self.socket: Any = environ["spawning.socket"]
        self._connection = Connection(ConnectionType.SERVER, accepted.extensions)
        self._at_a_time = _AT_A_TIME_COMPRESSED if accepted.extensions else _AT_A_TIME
        self._most = max_message_length
        self._ping_interval = ping_interval
        self._ping_timeout = ping_timeout
        self._sending = threading.Lock()
        self._leaving = False  # the server has said, or is about to say, the last that is said here
        self._pieces: list[Any] = []  # of a message
        self._length = 0  # bytes of them
        self._heard = monotonic()  # when something was received last
        self._pinged = False  # since then
        self.socket.farewell = self._farewell
        self.socket.sendall(accepted.head)
        self.socket.settimeout(send_timeout)  # receiving waits before it receives
        self._poll = select.poll()
        self._poll.register(self.socket.fileno(), select.POLLIN)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(NORMAL if error is None else INTERNAL_ERROR)

    def __iter__(self) -> Iterator[str | bytes]:
        """Yield messages until the connection is closed."""
        while (message := self.wait()) is not None:
            yield message

    # -- receiving ----------------------------------------------------------------------------------------------------

    def wait(self, timeout: float | None = None) -> str | bytes | None:
        """Wait for a message; pings are answered, and sent, meanwhile.

        :param timeout: seconds; None: as long as it takes.
        :returns: ``str`` for text, ``bytes`` for binary, None when the connection is closed.
        :raises TimeoutError: none has come in that time.
        """
        until = None if timeout is None else monotonic() + timeout
        while True:
            message = self._next_message()
            if message is not None or self.closed:
                return message
            self._wait_for_data(until)
            if not self.closed:
                self._receive()

    def _next_message(self) -> str | bytes | None:
        """Return a message that has been received to its end; None: there is none, or the connection is closed."""
        for event in self._connection.events():
            if isinstance(event, TextMessage | BytesMessage):
                if not self._keep(event.data):
                    return None
                if event.message_finished:
                    return self._take()
            elif isinstance(event, Ping):
                self._answer(event.response())
            elif isinstance(event, CloseConnection):
                self._on_close(event)
            if self.closed:
                return None
        return None

    def _keep(self, data: str | bytes | bytearray) -> bool:
        """Keep a piece of a message; False: it has become too long."""
        self._length += len(data) if not isinstance(data, str) or data.isascii() else len(data.encode())
        if self._length > self._most:
            self.close(TOO_BIG, f"messages may have {self._most} bytes")
            return False
        self._pieces.append(data)
        return True

    def _take(self) -> str | bytes:
        pieces = self._pieces
        self._pieces = []
        self._length = 0
        return "".join(pieces) if isinstance(pieces[0], str) else b"".join(pieces)

    def _wait_for_data(self, until: float | None) -> None:
        """Wait until something can be received; ping a client that has been silent, and close if it stays so."""
        while not self.socket.pending():
            now = monotonic()
            silent_until = float("inf")
            if self._ping_interval is not None:
                silent_until = self._heard + self._ping_interval + (self._ping_timeout if self._pinged else 0.0)
            wake = silent_until if until is None else min(until, silent_until)
            if self._poll.poll(None if wake == float("inf") else max(0.0, wake - now) * 1000):
                return
            if self.closed:  # another thread has
                return
            if monotonic() >= silent_until:
                self._on_silence()
            elif until is not None and monotonic() >= until:
                raise TimeoutError("no message has come in time")

    def _on_silence(self) -> None:
        if self._pinged:
            self.close(INTERNAL_ERROR, "pings are not answered")
            return
        self._pinged = True
        self._answer(Ping())

    def _receive(self) -> None:
        try:
            data = self.socket.recv(self._at_a_time)
        except OSError:
            data = b""
        if self.socket.leaving:
            self.close(self.socket.leaving)
        elif not data:
            self._set_closed(ABNORMAL, "")
        else:
            self._heard = monotonic()
            self._pinged = False
            self._connection.receive_data(data)

    def _on_close(self, event: CloseConnection) -> None:
        """Close, because the client has, or has broken a rule of the protocol; with its own code."""
        code = event.code
        if self._connection.state is ConnectionState.OPEN:  # it has not: what wsproto has found
            self.close(code, event.reason or "")
            return
        self._answer(event.response())
        self._set_closed(code, event.reason or "")

    def _answer(self, event: Event) -> None:
        """Send something that the application has not asked for; whether it arrives is not its business."""
        with contextlib.suppress(ConnectionClosed):
            self._send(event)

    # -- sending ------------------------------------------------------------------------------------------------------

    def send(self, message: str | bytes | bytearray | memoryview) -> None:
        """Send a message: ``str`` as text, ``bytes`` as binary. Any thread.

        :raises ConnectionClosed: the connection is closed, or its client has gone, or takes nothing.
        :raises TypeError: the message is neither.
        """
        if isinstance(message, bytearray | memoryview):
            message = bytes(message)
        elif not isinstance(message, str | bytes):
            raise TypeError(f"a message is str or bytes, not {type(message).__name__}")
        self._send(TextMessage(data=message) if isinstance(message, str) else BytesMessage(data=message))

    def ping(self, payload: bytes = b"") -> None:
        """Send a ping with at most 125 bytes. Raises as :meth:`send`."""
        self._send(Ping(payload))

    def pong(self, payload: bytes = b"") -> None:
        """Send a pong that nobody has asked for (RFC 6455 section 5.5.3). Raises as :meth:`send`."""
        self._send(Pong(payload))

    def close(self, code: int = NORMAL, reason: str = "") -> None:
        """Close; does nothing to what is closed. Any thread.

        :param code: why (RFC 6455 section 7.4): 1000 to 4999.
        :param reason: in words, of which 123 bytes are sent.
        :raises ValueError: there is no such code.
        """
        if not 1000 <= code <= 4999 or code in (NO_CODE, ABNORMAL):
            raise ValueError(
                f"a WebSocket is not closed with code {code}, but with 1000 to 4999 (RFC 6455 section 7.4)"
            )
        if self.closed:
            return
        self._answer(CloseConnection(code, reason or None))
        self._set_closed(code, reason)

    def _send(self, event: Event) -> None:
        with self._sending:
            if self._leaving or (self.closed and not isinstance(event, CloseConnection)):
                raise self._closed()
            try:
                self.socket.sendall(self._connection.send(event))
            except LocalProtocolError:  # the other side has closed meanwhile
                raise self._closed() from None
            except OSError:
                self._leaving = True  # a part of a frame may have gone out
                self._set_closed(ABNORMAL, "")
                raise self._closed() from None

    def _closed(self) -> ConnectionClosed:
        return ConnectionClosed(self.close_code or self.socket.leaving or NO_CODE, self.close_reason)

    def _set_closed(self, code: int, reason: str) -> None:
        if not self.closed:
            self.close_code = int(code)
            self.close_reason = reason
            self.closed = True

    def _farewell(self) -> bytes:
        """Return the close frame that the server sends when it leaves; nothing, if it would come at the wrong moment:
        behind another one, or in the middle of a message.
        """
        self._leaving = True
        if self._sending.locked() or self.closed:
            self._leaving = False  # who waits for a message says it
            return b""
        code: int = self.socket.leaving
        self._set_closed(code, "")
        return b"\x88\x02" + code.to_bytes(2, "big")
