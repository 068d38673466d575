"""What a socket did not take at once: kept by reference, finished by the leader.

An :class:`Output` exists only while a client reads more slowly than its response is made. The thread that makes the
response appends, the leader flushes when the socket is writable again; a lock guards both. The thread waits only if it
has more to send while more than ``HIGH_WATER`` bytes are kept: a response that is complete never holds a thread,
however large it is, and a streaming one does so at the earliest then.
"""

import contextlib
import os
import socket
import threading
from collections import deque
from typing import Final, Protocol

from spawning.wsgi.bridge import ClientGone

HIGH_WATER: Final = 1 << 20  # bytes kept above which a producer waits before it adds more
_DONTWAIT: Final = socket.MSG_DONTWAIT
_MAX_SENDFILE: Final = 1 << 30


class Segment(Protocol):
    """A piece of a response."""

    size: int

    def send(self, sock: socket.SocketType) -> None:
        """Send what the socket takes and shrink by it. Raises BlockingIOError when it takes nothing, OSError if it is
        broken."""

    def close(self) -> None: ...


class BytesSegment:
    """The rest of a ``bytes``; the object is not copied."""

    __slots__ = ("_view", "size")

    def __init__(self, data: bytes, start: int) -> None:
        self._view = memoryview(data)[start:]
        self.size = len(self._view)

    def send(self, sock: socket.SocketType) -> None:
        sent = sock.send(self._view, _DONTWAIT)
        self._view = self._view[sent:]
        self.size -= sent

    def close(self) -> None:
        self._view.release()
        self.size = 0


class FileSegment:
    """A part of a file, sent by the kernel. The socket must be non-blocking."""

    __slots__ = ("_descriptor", "_offset", "_own", "size")

    def __init__(self, descriptor: int, offset: int, count: int) -> None:
        self._descriptor = descriptor
        self._offset = offset
        self._own = False
        self.size = count

    def outlive_file(self) -> None:
        """Get a descriptor of its own, so that the application may close its file."""
        self._descriptor = os.dup(self._descriptor)
        self._own = True

    def send(self, sock: socket.SocketType) -> None:
        sent = os.sendfile(sock.fileno(), self._descriptor, self._offset, min(self.size, _MAX_SENDFILE))
        if not sent:
            raise OSError("the file has become shorter")
        self._offset += sent
        self.size -= sent

    def close(self) -> None:
        if self._own:
            self._own = False
            with contextlib.suppress(OSError):
                os.close(self._descriptor)
        self.size = 0


class Output:
    """The rest of a connection's response, in order. Any method from any thread."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._segments: deque[Segment] = deque()
        self._size = 0
        self._broken = False
        self.progressed = False  # since the sweep last looked

    @property
    def empty(self) -> bool:
        return not self._segments

    def put(self, segment: Segment) -> bool:
        """Keep a segment; True if nothing was kept before.

        :raises ClientGone: the connection was given up meanwhile.
        """
        with self._condition:
            if self._broken:
                segment.close()
                raise ClientGone("the client has gone")
            first = not self._segments
            self._segments.append(segment)
            self._size += segment.size
            return first

    @property
    def above_high_water(self) -> bool:
        return self._size > HIGH_WATER

    def wait(self) -> None:
        """Wait until the client has taken enough.

        :raises ClientGone: it has gone, or the sweep has given it up.
        """
        with self._condition:
            while self._size > HIGH_WATER and not self._broken:
                self._condition.wait()
            if self._broken:
                raise ClientGone("the client has gone")

    def flush(self, sock: socket.SocketType) -> bool:
        """Send what the socket takes.

        :returns: True when nothing is left.
        :raises OSError: the connection is broken.
        """
        with self._condition:
            while self._segments:
                segment = self._segments[0]
                before = segment.size
                try:
                    segment.send(sock)
                except BlockingIOError:
                    return False
                self.progressed = True
                self._size -= before - segment.size
                if not segment.size:
                    segment.close()
                    self._segments.popleft()
                if self._size <= HIGH_WATER:
                    self._condition.notify_all()
            return True

    def give_up(self) -> None:
        """Drop what is left and wake the producer, which gets ClientGone."""
        with self._condition:
            self._broken = True
            for segment in self._segments:
                segment.close()
            self._segments.clear()
            self._size = 0
            self._condition.notify_all()
