"""Streams and files of the log: those that a process begins with, and the access log's.

An application may replace, close or lack ``sys.stdout`` and ``sys.stderr``, and close the descriptors 1 and 2: none of
that is to change where the server's lines go. So nothing here asks ``sys`` where to write, and the logs have copies of
these descriptors.
"""

import contextlib
import io
import os
import sys
from typing import Final

from spawning.standard import moved, occupy

_STANDARD: Final = (("stdin", "r"), ("stdout", "w"), ("stderr", "w"))


def provide() -> None:
    """Occupy the descriptors 0 to 2, and make the streams that the interpreter did not, since theirs were closed."""
    occupy()
    for fd, (name, mode) in enumerate(_STANDARD):
        if getattr(sys, name) is None:
            setattr(sys, name, open(fd, mode, closefd=False))  # noqa: SIM115 - for the life of the process


def write_by_lines() -> None:
    """Have what the application prints written at each line's end, as on a terminal.

    Otherwise it waits in a buffer of 8 KiB for the end of a worker, and is lost when that is killed.
    """
    stream = sys.stdout
    if isinstance(stream, io.TextIOWrapper):
        with contextlib.suppress(ValueError):  # closed
            stream.reconfigure(line_buffering=True)


def open_file(path: str) -> int:
    """Open a file for appending, and return its descriptor; one that is not there is created.

    A FIFO without a reader is an error (ENXIO), where ``open`` would wait for one. Writes block: they are for a thread
    that may.

    :raises OSError: it cannot be opened.
    """
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK
    descriptor = moved(os.open(path, flags, 0o644))
    os.set_blocking(descriptor, True)  # the description is ours alone: it was made by this open
    return descriptor
