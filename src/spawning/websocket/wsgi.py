"""A handler of WebSockets as a WSGI application."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, Self

from spawning.websocket.connection import ConnectionClosed, WebSocket
from spawning.websocket.handshake import Refused, accept

Handler = Callable[[WebSocket], object]

MAX_MESSAGE_LENGTH: Final = 8 << 20  # bytes
PING_INTERVAL: Final = 20.0  # seconds
PING_TIMEOUT: Final = 20.0  # seconds
SEND_TIMEOUT: Final = 60.0  # seconds


class WebSocketWSGI:
    """A WSGI application that opens WebSockets and has each served by a handler.

    Other requests are answered 426 or 400. When the handler returns, the connection is closed (1000); when it raises,
    too (1011), and the log has the traceback. That the client has gone is no error: ``send`` raises
    :class:`~spawning.websocket.ConnectionClosed` then, which ends the handler quietly if it likes.

    :param handler: is called with a :class:`~spawning.websocket.WebSocket`.
    :param supported_protocols: subprotocols, of which the first is chosen that the client asks for.
    :param origin_checker: is called with the origin of the page that connects (None: it is no page); whether it may.
    :param max_message_length: bytes of a message, however many frames it comes in; a longer one closes (1009).
    :param compression: messages may be compressed (RFC 7692).
    :param ping_interval: seconds of a client's silence behind which ``wait`` sends it a ping; None: never.
    :param ping_timeout: seconds that it may take to answer.
    :param send_timeout: seconds that a client may take for a message.
    """

    def __init__(
        self,
        handler: Handler,
        *,
        supported_protocols: Sequence[str] = (),
        origin_checker: Callable[[str | None], object] | None = None,
        max_message_length: int = MAX_MESSAGE_LENGTH,
        compression: bool = True,
        ping_interval: float | None = PING_INTERVAL,
        ping_timeout: float = PING_TIMEOUT,
        send_timeout: float = SEND_TIMEOUT,
    ) -> None:
        self.handler = handler
        self.supported_protocols = supported_protocols
        self.origin_checker = origin_checker
        self.max_message_length = max_message_length
        self.compression = compression
        self.ping_interval = ping_interval
        self.ping_timeout = ping_timeout
        self.send_timeout = send_timeout

    @classmethod
    def configured(cls, handler: Handler | None = None, **options: Any) -> "Self | Callable[[Handler], Self]":
        """Make one with options; without a handler, a decorator of one."""
        if handler is not None:
            return cls(handler, **options)
        return lambda decorated: cls(decorated, **options)

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        try:
            self.serve(environ)
        except Refused as refused:
            start_response(refused.status, refused.fields)
            return [f"{refused}\n".encode()]
        # What is in between wants to see an answer; the server, which has been given the connection back, drops it.
        start_response("200 OK", [])
        return []

    def serve(self, environ: dict[str, Any]) -> None:
        """Open a WebSocket and have it served, until it is closed.

        :param environ: of the request.
        :raises Refused: the request is none for a WebSocket, and is to be answered so.
        """
        accepted = accept(
            environ,
            protocols=self.supported_protocols,
            allows=self.origin_checker,
            compression=self.compression,
        )
        if "spawning.socket" not in environ:
            raise RuntimeError("there is no spawning.socket in the environ: another server, or something in between")
        ws = WebSocket(
            environ,
            accepted,
            max_message_length=self.max_message_length,
            ping_interval=self.ping_interval,
            ping_timeout=self.ping_timeout,
            send_timeout=self.send_timeout,
        )
        try:
            with ws:
                self.handler(ws)
        except ConnectionClosed:
            pass
        finally:
            ws.socket.close()
