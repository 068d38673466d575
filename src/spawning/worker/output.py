"""The rest of a response, which a socket did not take at once: kept in memory or in a file, finished by the leader.

An :class:`Output` exists only while a client reads more slowly than its response is made. The thread that makes the
response appends, the leader flushes when the socket is writable again; a lock guards both. The thread waits only if it
has more to send while more than ``HIGH_WATER`` bytes are kept: a response that is complete never holds a thread,
however large it is, and a streaming one does so at the earliest then.

All outputs of a worker share a :class:`Budget` of memory. What does not fit into it any more is written to a temporary
file, from which the kernel sends it.
"""

import contextlib
import fcntl
import os
import socket
import sys
import tempfile
import termios
from _thread import allocate_lock
from collections import deque
from collections.abc import Callable
from enum import Enum
from typing import Final, Protocol

from spawning.logs.log import Log
from spawning.primitives import Bell, Condition
from spawning.standard import copy, occupy
from spawning.worker.stream import Stream
from spawning.wsgi.responder import ClientGone

HIGH_WATER: Final = 1 << 20  # bytes kept above which a producer waits before it adds more
TURN: Final = 2 << 20  # bytes sent to one client before the others get their turn; nginx's sendfile_max_chunk
_DONTWAIT: Final = int(socket.MSG_DONTWAIT)

log = Log("spawning.worker")


class Flushed(Enum):
    """How far a flush has come."""

    ALL = "nothing is left"
    TURN_OVER = "the client takes more, but it is the turn of the others"
    BLOCKED = "the client takes nothing more for now"


ALL, TURN_OVER, BLOCKED = Flushed


class Budget:
    """The memory that the outputs of a worker may take together. Any thread.

    :param limit: bytes.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._lock = allocate_lock()
        self.used = 0

    def take(self, size: int) -> bool:
        """Take so many bytes; False: they are not left, and nothing is taken."""
        with self._lock:
            if self.used + size > self._limit:
                return False
            self.used += size
            return True

    def give(self, size: int) -> None:
        """Put bytes back."""
        with self._lock:
            self.used -= size


class Segment(Protocol):
    """A piece of a response."""

    size: int

    def send(self, sock: Stream, most: int) -> None:
        """Send what the socket takes, at most so many bytes, and shrink by it.

        :raises BlockingIOError: it takes nothing.
        :raises OSError: it is broken.
        """

    def close(self) -> None: ...


class BytesSegment:
    """The rest of a ``bytes``; the object is not copied.

    :param budget: what it has been taken from; it gets all of it back when the object is released.
    """

    __slots__ = ("_budget", "_taken", "_view", "size")

    def __init__(self, data: bytes, start: int, budget: Budget | None = None) -> None:
        self._view = memoryview(data)[start:]
        self.size = len(self._view)
        self._budget = budget
        self._taken = len(data)

    def send(self, sock: Stream, most: int) -> None:
        sent = sock.send(self._view, _DONTWAIT)
        self._view = self._view[sent:]
        self.size -= sent

    def close(self) -> None:
        self._view.release()
        self.size = 0
        if self._budget is not None:
            self._budget.give(self._taken)
            self._budget = None


class FileSegment:
    """A part of a file, as the stream sends it. The socket must be non-blocking."""

    __slots__ = ("_descriptor", "_offset", "_own", "size")

    def __init__(self, descriptor: int, offset: int, count: int) -> None:
        self._descriptor = descriptor
        self._offset = offset
        self._own = False
        self.size = count

    def outlive_file(self) -> None:
        """Get a descriptor of its own, so that the application may close its file."""
        self._descriptor = copy(self._descriptor)
        self._own = True

    def send(self, sock: Stream, most: int) -> None:
        sent = sock.send_file(self._descriptor, self._offset, min(self.size, most))
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
    """The rest of a connection's response, in order. Any method from any thread.

    :param budget: what is kept in memory is taken from; None: it is not bounded here.
    """

    def __init__(self, budget: Budget | None = None) -> None:
        self._budget = budget
        self._condition = Condition()
        self._segments: deque[Segment] = deque()
        self._size = 0
        self._sent = 0
        self._taken = 0  # bytes that the client had taken when somebody last asked
        self._broken = False

    @property
    def empty(self) -> bool:
        return not self._segments

    def put_bytes(self, data: bytes, start: int) -> bool:
        """Keep what is left of `data` from `start` on; True if nothing was kept before.

        :raises ClientGone: the connection was given up meanwhile, or there is no room for the data anywhere.
        """
        budget = self._budget
        if budget is None or budget.take(len(data)):  # all of it lives as long as its rest
            return self.put(BytesSegment(data, start, budget))
        return self.put(_spooled(data, start))

    def put(self, segment: Segment) -> bool:
        """Keep a segment; True if nothing was kept before.

        :raises ClientGone: the connection was given up meanwhile.
        """
        with self._condition:
            if not self._broken:
                first = not self._segments
                self._segments.append(segment)
                self._size += segment.size
                return first
        segment.close()
        raise ClientGone("the client has gone")

    @property
    def given_up(self) -> bool:
        """Whether the client gets nothing more, since it is gone or takes nothing."""
        return self._broken

    @property
    def above_high_water(self) -> bool:
        return self._size > HIGH_WATER

    def wait(self, make_bell: Callable[[], Bell] = allocate_lock) -> None:
        """Wait until the client has taken enough. The one thread that makes the response.

        :param make_bell: makes a lock that this thread, or greenlet, may wait on.
        :raises ClientGone: it has gone, or the sweep has given it up.
        """
        with self._condition:
            while self._size > HIGH_WATER and not self._broken:
                self._condition.wait(make_bell)
            if self._broken:
                raise ClientGone("the client has gone")

    def flush(self, sock: Stream) -> Flushed:
        """Send what the socket takes, and not more than is one client's turn.

        :raises OSError: the connection is broken.
        """
        left = TURN
        with self._condition:
            while self._segments:
                if left <= 0:
                    return TURN_OVER
                segment = self._segments[0]
                before = segment.size
                try:
                    segment.send(sock, left)
                except BlockingIOError:
                    return BLOCKED
                sent = before - segment.size
                left -= sent
                self._size -= sent
                self._sent += sent
                if not segment.size:
                    segment.close()
                    self._segments.popleft()
                if self._size <= HIGH_WATER:
                    self._condition.notify_all()
            return ALL

    def taken(self, sock: Stream) -> int:
        """Return how many bytes more the client has taken since this was last asked.

        What the kernel keeps for it does not count: its buffer is some megabytes, and writable again only when a third
        of it is free, so that a client which reads steadily would seem to take nothing for minutes.
        """
        with self._condition:
            taken = self._sent - unsent(sock)
            more = taken - self._taken
            self._taken = taken
            return more

    @property
    def total_taken(self) -> int:
        """Bytes that the client had taken of what was kept, when somebody last asked."""
        return self._taken

    def give_up(self) -> None:
        """Drop what is left and wake the producer, which gets ClientGone."""
        with self._condition:
            self._broken = True
            for segment in self._segments:
                segment.close()
            self._segments.clear()
            self._size = 0
            self._condition.notify_all()


def unsent(sock: Stream) -> int:
    """Return how many bytes the kernel keeps for the other side (``SIOCOUTQ``, ``tcp(7)``); 0 if it does not say."""
    answer = bytearray(4)
    try:
        fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, answer)
    except (OSError, ValueError):
        return 0
    return int.from_bytes(answer, sys.byteorder, signed=True)


def _spooled(data: bytes, start: int) -> FileSegment:
    """Write data to a temporary file, which is gone when the segment is."""
    view = memoryview(data)[start:]
    try:
        occupy()  # what is printed must not get into it
        with tempfile.TemporaryFile(buffering=0) as file:
            written = 0
            while written < len(view):
                written += file.write(view[written:])
            segment = FileSegment(file.fileno(), 0, len(view))
            segment.outlive_file()
            return segment
    except OSError as error:
        log.error("response cannot be kept for a slow client bytes=%d error=%s", len(view), error)  # noqa: TRY400
        raise ClientGone("there is no room for the response") from None
