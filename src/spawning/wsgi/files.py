"""``wsgi.file_wrapper`` (PEP 3333, "Optional Platform-Specific File Handling")."""

import io
import mmap
import os
import stat
from collections.abc import Iterator
from typing import IO, Any, Final

_REAL: Final = frozenset({io.FileIO, io.BufferedReader, io.BufferedRandom})


class FileWrapper:
    """An iterable over a file-like object, which the server may send without reading it.

    :param file: has ``read(size)``; if it is a real file it is sent by the kernel.
    :param block_size: bytes a block, when it has to be read.
    """

    def __init__(self, file: IO[bytes], block_size: int = 65536) -> None:
        self.file = file
        self.block_size = block_size
        close = getattr(file, "close", None)
        if close is not None:
            self.close = close  # PEP 3333: the wrapper has close() only if the file has

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        block = self.file.read(self.block_size)
        if not block and block is not None:  # nothing is read from what does not wait: that is no end
            raise StopIteration
        return block

    def extent(self) -> tuple[int, int, int] | None:
        """Find what the kernel could send: descriptor, offset and bytes up to the end.

        :returns: None if it cannot, or if the file does not say where its end is.
        """
        try:
            file = _real_file(self.file)
            if file is None:
                return None
            descriptor, offset = file.fileno(), file.tell()
            information = os.fstat(descriptor)
        except (OSError, ValueError, AttributeError, io.UnsupportedOperation):
            return None
        if not stat.S_ISREG(information.st_mode) or _is_made_when_read(information):
            return None
        return descriptor, offset, max(0, information.st_size - offset)


def _is_made_when_read(information: os.stat_result) -> bool:
    """Whether the size says nothing: files of ``/proc`` and of cgroups claim 0, those of ``/sys`` a page."""
    return information.st_size == 0 or (information.st_blocks == 0 and information.st_size == mmap.PAGESIZE)


def _real_file(file: Any) -> Any:
    """Return the file whose descriptor holds what `file` would read; None if there may be none.

    Types are compared exactly: a subclass in Python may read something else, and what unpacks while it reads (``gzip``,
    also with a buffer around it) has the descriptor of what is packed. A wrapper (``tempfile``, Django's ``File``) will
    do if its ``read`` is that of the file inside.
    """
    if type(file) not in _REAL:
        outer, file = file, file.file
        if type(file) not in _REAL or getattr(outer.read, "__wrapped__", outer.read) != file.read:
            return None
    return file if type(file) is io.FileIO or type(file.raw) is io.FileIO else None
