"""Descriptors of the log: those that a process begins with, the server's own copies of them, and files.

An application may replace, close or lack ``sys.stdout`` and ``sys.stderr``, and close the descriptors 1 and 2: none of
that is to change where the server's lines go, and no socket may come to have one of these numbers, or what is printed
would reach a client. So nothing here asks ``sys`` where to write.
"""

import contextlib
import fcntl
import io
import os
import sys
from typing import Final

_STANDARD: Final = (("stdin", "r"), ("stdout", "w"), ("stderr", "w"))
_FIRST_OF_OURS: Final = 3


def occupy() -> None:
    """Open ``/dev/null`` wherever one of the descriptors 0 to 2 is closed, so that nothing else gets its number."""
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:
            null = os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free, which is this one
            os.set_inheritable(null, True)


def provide() -> None:
    """Do :func:`occupy`, and make the streams that the interpreter did not, since their descriptors were closed."""
    occupy()
    for fd, (name, mode) in enumerate(_STANDARD):
        if getattr(sys, name) is None:
            setattr(sys, name, open(fd, mode, closefd=False))  # noqa: SIM115 - for the life of the process


def own(descriptor: int) -> int:
    """Return a copy of a descriptor that is above 2, and that no program which is started inherits."""
    return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, _FIRST_OF_OURS)


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
    descriptor = os.open(path, flags, 0o644)
    os.set_blocking(descriptor, True)  # the description is ours alone: it was made by this open
    return descriptor
