"""WebSockets for WSGI applications: one handler, one connection, in a thread or a greenlet of its own.

    from spawning.websocket import WebSocketWSGI

    @WebSocketWSGI
    def application(ws):
        for message in ws:
            ws.send(message)

The interface is the one that eventlet's users know. Frames are made and read by ``wsproto`` (the extra ``websocket``).
For applications: it knows nothing of the server but ``spawning.socket`` in the environ, and waits by nothing but what
``socket``, ``select`` and ``threading`` are by then, so it may run in greenlets.
"""

from spawning.errors import ConfigError


class MissingExtra(ConfigError, ImportError):
    """A package is missing that only some need."""


try:
    from spawning.websocket.connection import ConnectionClosed, WebSocket
    from spawning.websocket.handshake import Refused
    from spawning.websocket.wsgi import WebSocketWSGI
except ModuleNotFoundError as error:
    if (error.name or "").partition(".")[0] != "wsproto":
        raise
    message = "spawning.websocket needs wsproto, the extra spawning[websocket]: pip install wsproto"
    raise MissingExtra(message, name="wsproto") from None

__all__ = ["ConnectionClosed", "Refused", "WebSocket", "WebSocketWSGI"]
