"""``wsgi.input``: a request's body, complete and seekable before the application starts.

A small body is kept in memory, a large one in an unnamed temporary file, so that a slow or large upload costs neither
a thread nor memory. In between there are so many places in memory, and then the file: a file costs twice as much as all
the rest of such a request. All are plain file objects: read, readline, readlines, iteration and seek are Python's own.
"""

import contextlib
import errno
import io
import tempfile
from collections import deque
from typing import IO, Final

from spawning.errors import ProtocolError
from spawning.logs.log import Log

SMALL: Final = 65536  # bytes that are kept in memory in any case
MEDIUM: Final = 8 * SMALL  # bytes that are kept in memory while there is a place
PLACES: Final = 128  # medium bodies in memory at a time, so 64 MiB
MOST_PIECES: Final = 8  # pieces of a body that are kept as they came

# Taken and given back by any thread, also by a garbage collection in the middle of either: a deque needs no lock.
_places: Final = deque([None] * PLACES)

log = Log("spawning.worker")


def find_directory() -> None:
    """Find out where temporary files go, which is remembered: the search needs a descriptor, and there may be none."""
    with contextlib.suppress(FileNotFoundError):  # there is no such place, and only a large body needs one
        tempfile.gettempdir()


class _Place:
    """A place for a medium body, had by the buffer and then by the file, until nobody holds it any more."""

    def __del__(self) -> None:
        _places.append(None)


class _MediumBody(io.BytesIO):
    place: _Place


def _take_place() -> _Place | None:
    try:
        _places.pop()
    except IndexError:
        return None
    return _Place()


class BodyBuffer:
    """Collects a body (a ``Sink`` of ``http.body``), then gives it as a file.

    What is kept in memory is not copied until the body is complete, and then once, or not at all when it came in one
    piece. But small pieces by the thousand would take more memory than their content: only the first are kept as they
    came.

    :param announced: bytes to be expected, 0 if unknown: a body known to be large goes to the file at once.
    """

    __slots__ = ("_disk", "_most", "_pieces", "_place", "_tail", "length")

    def __init__(self, announced: int) -> None:
        self._pieces: list[bytes | memoryview | bytearray] = []
        self._tail = bytearray()  # what came behind the pieces
        self._place: _Place | None = None
        self._disk: io.FileIO | None = None
        self._most: float = SMALL  # bytes that are kept where they are kept now
        self.length = 0
        if announced > SMALL:
            self._outgrow(announced)

    def write(self, data: bytes | memoryview) -> None:
        """Add to the body; `data` must not change afterwards.

        :raises ProtocolError: 507, the disk is full; 503, there are no descriptors.
        """
        self.length += len(data)
        if self.length > self._most:
            self._outgrow(self.length)
        if self._disk is not None:
            try:
                _write_all(self._disk, data)
            except OSError as error:
                raise self._full(error) from error
        elif len(self._pieces) < MOST_PIECES:
            self._pieces.append(data)
        else:
            self._tail += data

    def _outgrow(self, length: int) -> None:
        """Continue where so many bytes can be kept."""
        if length <= MEDIUM:
            self._place = _take_place()
            if self._place is not None:
                self._most = MEDIUM
                return
        self._most = float("inf")
        try:
            self._disk = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - it lives as long as the request
            _write_all(self._disk, self._take())
        except OSError as error:
            raise self._full(error) from error
        self._place = None

    def _take(self) -> bytes:
        """Take out what is kept in memory."""
        pieces = self._pieces
        if self._tail:
            pieces.append(self._tail)
            self._tail = bytearray()
        content = b"".join(pieces)
        pieces.clear()
        return content

    def _full(self, error: OSError) -> ProtocolError:
        self.close()
        # Descriptors come back when others close theirs; a disk does not become empty by itself.
        status = 503 if error.errno in (errno.EMFILE, errno.ENFILE) else 507
        log.error("request body cannot be kept status=%d bytes=%d error=%s", status, self.length, error)
        return ProtocolError(status, "the request body cannot be kept")

    def file(self) -> IO[bytes]:
        """Give the body from its start; the request owns the file from now on, and nothing is kept here."""
        if self._disk is not None:
            self._disk.seek(0)
            # A raw file would read lines with a system call for each byte.
            return io.BufferedReader(self._disk)
        content = self._take()
        if self._place is None:
            return io.BytesIO(content)
        body = _MediumBody(content)
        body.place = self._place
        self._place = None
        return body

    def close(self) -> None:
        """Give up what is kept."""
        self._pieces.clear()
        self._tail = bytearray()
        self._place = None
        if self._disk is not None:
            self._disk.close()


def _write_all(file: io.FileIO, data: bytes | memoryview) -> None:
    # A disk that becomes full takes a part of the data first, and says so with the next write only.
    written = file.write(data)
    while written < len(data):
        written += file.write(data[written:])
