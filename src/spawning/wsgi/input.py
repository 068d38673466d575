"""``wsgi.input``: a request's body, complete and seekable before the application starts.

A small body is kept in memory, a large one in an unnamed temporary file, so that a slow or large upload costs neither
a thread nor memory. In between there are so many places in memory, and then the file: a file costs twice as much as all
the rest of such a request. All are plain file objects: read, readline, readlines, iteration and seek are Python's own.

A body takes a place or a file when its bytes come, not when they are announced: to announce something costs a client
nothing. Files are counted, so that bodies leave descriptors to the application.
"""

import errno
import io
import tempfile
from collections import deque
from itertools import repeat
from typing import IO, Final

from spawning.errors import ProtocolError
from spawning.logs.log import Log
from spawning.standard import occupy

SMALL: Final = 65536  # bytes that are kept in memory in any case, and that are written to a file at once
MEDIUM: Final = 8 * SMALL  # bytes that are kept in memory while there is a place
PLACES: Final = 128  # medium bodies in memory at a time, so 64 MiB
FILES: Final = 1024  # bodies in files at a time, unless limit_files() says otherwise
MOST_PIECES: Final = 8  # pieces of a body that are kept as they came

# Taken and given back by any thread, also by a garbage collection in the middle of either: a deque needs no lock.
_places: Final = deque([None] * PLACES)
_files: Final = deque([None] * FILES)

log = Log("spawning.worker")


def find_directory() -> None:
    """Find out where temporary files go, which is remembered: the search needs a descriptor, and there may be none.

    Without such a place only bodies above :data:`SMALL` and :data:`MEDIUM` bytes are refused.
    """
    try:
        tempfile.gettempdir()
    except FileNotFoundError as error:
        log.warning("no directory for temporary files, larger request bodies get 507 bytes=%d error=%s", MEDIUM, error)


def limit_files(count: int) -> None:
    """Set how many bodies may be in files at a time; before any is."""
    _files.clear()
    _files.extend(repeat(None, count))


class _Place:
    """A place for a body, had by the buffer and then by the file, until nobody holds it any more."""

    __slots__ = ("_free",)

    def __init__(self, free: deque[None]) -> None:
        self._free = free

    def __del__(self) -> None:
        self._free.append(None)


class _MediumBody(io.BytesIO):
    place: _Place


class _LargeBody(io.BufferedReader):
    place: _Place


def _take_place(free: deque[None]) -> _Place | None:
    try:
        free.pop()
    except IndexError:
        return None
    return _Place(free)


class BodyBuffer:
    """Collects a body (a ``Sink`` of ``http.body``), then gives it as a file.

    What is kept in memory is not copied until the body is complete, and then once, or not at all when it came in one
    piece. But small pieces by the thousand would take more memory than their content: only the first are kept as they
    came. What goes to a file is gathered first, so that no piece costs a system call of its own.

    :param announced: bytes to be expected, 0 if unknown: a body that will go to the file takes no place in memory.
    """

    __slots__ = ("_announced", "_disk", "_most", "_pieces", "_place", "_tail", "length")

    def __init__(self, announced: int) -> None:
        self._announced = announced
        self._pieces: list[bytes | memoryview | bytearray] = []
        self._tail = bytearray()  # what came behind the pieces; with a file, what is not in it yet
        self._place: _Place | None = None
        self._disk: io.FileIO | None = None
        self._most: float = SMALL  # bytes that are kept where they are kept now
        self.length = 0

    def write(self, data: bytes | memoryview) -> None:
        """Add to the body; `data` must not change afterwards.

        :raises ProtocolError: 507, the disk is full; 503, there are no descriptors.
        """
        self.length += len(data)
        if self.length > self._most:
            self._outgrow()
        if self._disk is None and len(self._pieces) < MOST_PIECES:
            self._pieces.append(data)
        elif self._disk is not None and len(data) >= SMALL:
            self._write_tail(self._disk)
            self._write(self._disk, data)
        else:
            self._tail += data
            if self._disk is not None and len(self._tail) >= SMALL:
                self._write_tail(self._disk)

    def _outgrow(self) -> None:
        """Continue where what has come and what is announced can be kept."""
        if max(self.length, self._announced) <= MEDIUM:
            self._place = _take_place(_places)
            if self._place is not None:
                self._most = MEDIUM
                return
        self._most = float("inf")
        place = _take_place(_files)
        if place is None:
            raise self._refused(503, "too many bodies are in files")
        try:
            occupy()  # what is printed must not get into it
            self._disk = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - it lives as long as the request
        except OSError as error:
            raise self._full(error) from error
        self._place = place
        self._write(self._disk, self._take())

    def _take(self) -> bytes:
        """Take out what is kept in memory."""
        pieces = self._pieces
        if self._tail:
            pieces.append(self._tail)
            self._tail = bytearray()
        content = b"".join(pieces)
        pieces.clear()
        return content

    def _write_tail(self, disk: io.FileIO) -> None:
        if self._tail:
            self._write(disk, self._tail)
            self._tail = bytearray()

    def _write(self, disk: io.FileIO, data: bytes | memoryview | bytearray) -> None:
        try:
            # A disk that becomes full takes a part of the data first, and says so with the next write only.
            written = disk.write(data)
            while written < len(data):
                written += disk.write(data[written:])
        except OSError as error:
            raise self._full(error) from error

    def _full(self, error: OSError) -> ProtocolError:
        # Descriptors come back when others close theirs; a disk does not become empty by itself.
        return self._refused(503 if error.errno in (errno.EMFILE, errno.ENFILE) else 507, error)

    def _refused(self, status: int, reason: object) -> ProtocolError:
        self.close()
        log.error("request body cannot be kept status=%d bytes=%d error=%s", status, self.length, reason)
        return ProtocolError(status, "the request body cannot be kept")

    def file(self) -> IO[bytes]:
        """Return the body from its start; the request owns the file from now on, and nothing is kept here.

        :raises ProtocolError: as :meth:`write`.
        """
        body: _LargeBody | _MediumBody
        if self._disk is not None:
            self._write_tail(self._disk)
            self._disk.seek(0)
            # A raw file would read lines with a system call for each byte.
            body = _LargeBody(self._disk)
        elif self._place is not None:
            body = _MediumBody(self._take())
        else:
            return io.BytesIO(self._take())
        assert self._place is not None
        body.place = self._place
        self._place = None
        return body

    def close(self) -> None:
        """Drop what is kept."""
        self._pieces.clear()
        self._tail = bytearray()
        self._place = None
        if self._disk is not None:
            self._disk.close()
