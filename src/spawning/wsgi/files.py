"""``wsgi.file_wrapper`` (PEP 3333, "Optional Platform-Specific File Handling")."""

import io
import os
import stat
from collections.abc import Iterator
from typing import IO, Any


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
        if not block:
            raise StopIteration
        return block

    def extent(self) -> tuple[int, int, int] | None:
        """Find what the kernel could send: descriptor, offset and bytes up to the end; None if it cannot."""
        file: Any = self.file
        if not isinstance(file, (io.BufferedReader, io.FileIO, io.BufferedRandom)) and not hasattr(file, "file"):
            return (
                None  # a subclass in Python may change what read() gives; only plain files are surely their descriptor
            )
        try:
            descriptor, offset = file.fileno(), file.tell()
            information = os.fstat(descriptor)
        except (OSError, ValueError, AttributeError, io.UnsupportedOperation):
            return None
        if not stat.S_ISREG(information.st_mode):
            return None
        return descriptor, offset, max(0, information.st_size - offset)
