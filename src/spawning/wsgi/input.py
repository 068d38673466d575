"""``wsgi.input``: a request's body, complete and seekable before the application starts.

A small body is kept in memory, a large one in an unnamed temporary file, so that a slow or large upload costs neither
a thread nor memory. In between there are so many places in memory, and then the file: a file costs twice as much as all
the rest of such a request. All are plain file objects: read, readline, readlines, iteration and seek are Python's own.
"""

import contextlib
import errno
import io
import logging
import tempfile
from collections import deque
from typing import IO, Final

from spawning.errors import ProtocolError

SMALL: Final = 65536  # bytes that are kept in memory in any case
MEDIUM: Final = 8 * SMALL  # bytes that are kept in memory while there is a place
PLACES: Final = 128  # medium bodies in memory at a time, so 64 MiB

# Taken and given back by any thread, also by a garbage collection in the middle of either: a deque needs no lock.
_places: Final = deque([None] * PLACES)

log = logging.getLogger("spawning.worker")


def find_directory() -> None:
    """Find out where temporary files go, which is remembered: the search needs a descriptor, and there may be none."""
    with contextlib.suppress(FileNotFoundError):  # there is no such place, and only a large body needs one
        tempfile.gettempdir()


class _MediumBody(io.BytesIO):
    """Has one of the places until nobody holds the body any more."""

    def __del__(self) -> None:
        _places.append(None)


def _take_place() -> _MediumBody | None:
    try:
        _places.pop()
    except IndexError:
        return None
    return _MediumBody()


class BodyBuffer:
    """Collects a body (a ``Sink`` of ``http.body``), then gives it as a file.

    :param announced: bytes to be expected, 0 if unknown: a body known to be large goes to the file at once.
    """

    __slots__ = ("_file", "_most", "length")

    def __init__(self, announced: int) -> None:
        self._file: io.BytesIO | io.FileIO = io.BytesIO()
        self._most: float = SMALL  # bytes that this file takes
        self.length = 0
        if announced > SMALL:
            self._outgrow(announced)

    def write(self, data: bytes) -> None:
        """Add to the body.

        :raises ProtocolError: 507, the disk is full; 503, there are no descriptors.
        """
        self.length += len(data)
        if self.length > self._most:
            self._outgrow(self.length)
        try:
            self._keep(data)
        except OSError as error:
            raise self._full(error) from error

    def _keep(self, data: bytes) -> None:
        # A disk that becomes full takes a part of the data first, and says so with the next write only.
        written = self._file.write(data)
        while written < len(data):
            written += self._file.write(data[written:])

    def _outgrow(self, length: int) -> None:
        """Continue where so many bytes can be kept."""
        memory = self._file
        assert isinstance(memory, io.BytesIO)
        if length <= MEDIUM and (medium := _take_place()) is not None:
            medium.write(memory.getbuffer())
            self._file = medium
            self._most = MEDIUM
            return
        self._most = float("inf")
        try:
            self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - it lives as long as the request
            self._keep(memory.getvalue())
        except OSError as error:
            raise self._full(error) from error

    def _full(self, error: OSError) -> ProtocolError:
        self.close()
        # Descriptors come back when others close theirs; a disk does not become empty by itself.
        status = 503 if error.errno in (errno.EMFILE, errno.ENFILE) else 507
        log.error("request body cannot be kept status=%d bytes=%d error=%s", status, self.length, error)
        return ProtocolError(status, "the request body cannot be kept")

    def file(self) -> IO[bytes]:
        """Give the body from its start; the request owns the file from now on."""
        file = self._file
        file.seek(0)
        # A raw file would read lines with a system call for each byte.
        return file if isinstance(file, io.BytesIO) else io.BufferedReader(file)

    def close(self) -> None:
        self._file.close()
