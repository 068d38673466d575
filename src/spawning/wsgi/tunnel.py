"""``spawning.socket``: a connection that the application takes from the server, and speaks what it likes through.

It is offered to a request that asks for another protocol (``Upgrade``, RFC 9110 section 7.8) or for a tunnel (CONNECT,
section 9.3.6). As long as the application does not use it, the request is one like any other. Its first use takes the
connection: from then on nothing is written but what the application sends, and the connection ends with the request.

A :class:`Tunnel` behaves like a blocking socket. The socket behind it is made when it is taken, by what then is
``socket.socket``, so that it waits as the application's other sockets do (gevent). It is a copy: the connection keeps
its own.

Over TLS it is an :class:`EncryptedSocket`: the application sees what is not encrypted.

What a client has sent ahead, behind its request, comes first from ``recv``, ``recv_into`` and files of ``makefile``.

Threads. The application's may use it as they may use a socket. ``leave`` is called by the worker's main thread.
"""

import os
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import IO, Any, Final, Protocol

from spawning.primitives import SocketType, allocate_lock
from spawning.wsgi.encrypted import EncryptedSocket, Session

RESTART: Final = 1012  # why the server ends a tunnel, as a code of RFC 6455: another worker goes on …
GOING_AWAY: Final = 1001  # … or none does

_RECORDS: Final = 65536  # bytes that are decrypted at a time
_HEAD_ENDS: Final = b"\r\n\r\n"
_OF_A_SOCKET: Final = frozenset(name for name in dir(SocketType) if not name.startswith("_")) | {
    "dup", "get_inheritable", "sendfile", "set_inheritable",
}  # fmt: skip


class Offerer(Protocol):
    """A connection, as what it offers sees it."""

    def give_away(self, tunnel: "Tunnel") -> tuple[int, bytes, Session | None]:
        """Leave the connection to the application.

        :returns: a descriptor of its own, what has been received behind the request, and the session of TLS, if that is
            spoken.
        :raises OSError: it cannot be had (any more).
        """


class Tunnel:
    """See the module. What is not here is as in :class:`socket.socket`; all of it raises ``OSError`` when the
    connection cannot be taken, because the request has ended, its response has begun, or there are as many tunnels as
    there may be (``--max-tunnels``).

    :param offerer: the connection.

    :ivar taken: the connection has been taken.
    :ivar detached: the application has taken the descriptor away, for longer than the request lasts.
    :ivar code: status that the application has answered, as far as that is to be seen; 0: none.
    :ivar sent: bytes that the application has sent behind that answer.
    :ivar leaving: the server ends the tunnel: :data:`RESTART` or :data:`GOING_AWAY`; 0: it does not.
    :ivar farewell: is called, by another thread, when the server ends the tunnel, before nothing more can be received;
        returns what is still to be sent, and must not wait.
    :ivar before: is called before the connection is taken.
    """

    def __init__(self, offerer: Offerer) -> None:
        self.taken = False
        self.detached = False
        self.code = 0
        self.sent = 0
        self.leaving = 0
        self.farewell: Callable[[], bytes] | None = None
        self.before: Callable[[], object] | None = None
        self._offerer: Offerer | None = offerer
        self._lock = allocate_lock()
        self._socket: socket.socket | EncryptedSocket | None = None
        self._encrypted: EncryptedSocket | None = None  # the same, over TLS
        self._ahead = b""
        self._answered = False  # the head of the answer has been sent, or it was none
        self._closed = False
        self._io_refs = 0  # files that makefile() has made of it

    def __repr__(self) -> str:
        return f"<{'taken' if self.taken else 'offered'} connection of spawning.socket>"

    def __getattr__(self, name: str) -> Any:
        if name not in _OF_A_SOCKET:  # also what debuggers and templates look for, which takes nothing
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return getattr(self._own(), name)

    def __enter__(self) -> "Tunnel":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def pending(self) -> int:
        """Return how many bytes have been received that no ``select`` will tell of: a client has sent them ahead, or
        they have come in one record of TLS with others.
        """
        own = self._own()
        if not self._ahead and isinstance(own, EncryptedSocket):
            self._ahead = own.receive_now(_RECORDS) or b""
        return len(self._ahead)

    # -- receiving ----------------------------------------------------------------------------------------------------

    def recv(self, size: int, flags: int = 0) -> bytes:
        own = self._own()
        if self._ahead:
            data = self._ahead[:size]
            if not flags & socket.MSG_PEEK:
                self._ahead = self._ahead[size:]
            return data
        return own.recv(size, flags)

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        own = self._own()
        if self._ahead:
            view = memoryview(buffer).cast("B")
            data = self.recv(nbytes or len(view), flags)
            view[: len(data)] = data
            return len(data)
        return own.recv_into(buffer, nbytes, flags)

    # -- sending ------------------------------------------------------------------------------------------------------

    def send(self, data: Any, flags: int = 0) -> int:
        own = self._own()
        if self._answered:
            sent = own.send(data, flags)
            self.sent += sent
            return sent
        return self._send_first(data, own.send(data, flags))

    def sendall(self, data: Any, flags: int = 0) -> None:
        self._own().sendall(data, flags)
        size = memoryview(data).nbytes
        if self._answered:
            self.sent += size
        else:
            self._send_first(data, size)

    def sendmsg(self, buffers: Any, *arguments: Any) -> int:
        pieces = list(buffers)
        sent = self._own().sendmsg(pieces, *arguments)
        if self._answered:
            self.sent += sent
        else:
            self._send_first(b"".join(pieces), sent)
        return sent

    def _send_first(self, data: Any, sent: int) -> int:
        """Count what was sent first, which should be the answer; return how much that was."""
        self._answered = True
        head = bytes(memoryview(data)[:sent])
        end = head.find(_HEAD_ENDS)
        if head.startswith(b"HTTP/1.") and head[9:12].isdigit():
            self.code = int(head[9:12])
            self.sent += sent - (end + len(_HEAD_ENDS) if end >= 0 else sent)
        else:
            self.sent += sent
        return sent

    # -- the end ------------------------------------------------------------------------------------------------------

    def makefile(self, mode: str = "r", buffering: int | None = None, **options: Any) -> IO[Any]:
        self._own()
        make: Any = socket.socket.makefile
        made: IO[Any] = make(self, mode, buffering, **options)
        return made

    def _decref_socketios(self) -> None:
        """Of a file that ``makefile`` has made: it has been closed."""
        self._io_refs -= self._io_refs > 0
        if self._closed:
            self.close()

    def close(self) -> None:
        """End the connection; what has been sent still reaches the client. Never used, it stays the server's."""
        with self._lock:
            self._closed = True
            own = self._socket
            if self._io_refs or own is None or self.detached:
                return
            self._socket = None
        with suppress(OSError):  # the client has gone
            own.shutdown(socket.SHUT_WR)  # the server's copy would keep it open
        own.close()

    def detach(self) -> int:
        """Return the descriptor, which is the application's from now on, beyond the request too."""
        own = self._own()
        self.detached = True
        return own.detach()

    def _own(self) -> socket.socket | EncryptedSocket:
        own = self._socket
        return own if own is not None else self._take()

    def _take(self) -> socket.socket | EncryptedSocket:
        with self._lock:
            if self._socket is not None:
                return self._socket
            if self._closed or self._offerer is None:
                raise OSError(9, "spawning.socket is closed, or its request has ended")
            if self.before is not None:
                self.before()
            descriptor, self._ahead, session = self._offerer.give_away(self)
            self._offerer = None
            self.taken = True
            made = _socket_of(descriptor)
            if session is None:
                self._socket = made
                return made
            self._socket = self._encrypted = EncryptedSocket(made, session)
            return self._encrypted

    # -- the server ---------------------------------------------------------------------------------------------------

    def leave(self, code: int) -> bytes:
        """Note for the application that its tunnel ends; return what is to be sent of its last words. Main thread."""
        self.leaving = code
        last_words = self.farewell() if self.farewell is not None else b""
        if last_words and self._encrypted is not None:
            self._encrypted.say(last_words)
            return b""
        return last_words

    def revoke(self) -> None:
        """End what the application may do with the server's part of the connection. The owner of the connection."""
        if self._encrypted is not None:
            self._encrypted.revoke()


def _socket_of(descriptor: int) -> socket.socket:
    """Make a blocking socket of a descriptor, by what the application has made of ``socket.socket``."""
    try:
        made = socket.socket(fileno=descriptor)
    except BaseException:
        os.close(descriptor)
        raise
    made.setblocking(True)  # whatever socket.setdefaulttimeout() says
    return made
