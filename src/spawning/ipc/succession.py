"""What one program leaves to the program that takes its place by exec: a memory file that a variable names.

The variable ``SPAWNING_SUCCEED`` says: the process is the controller, go on from what stands in this file.
``SPAWNING_CHECK_SUCCESSION`` says: a controller asks whether you could; answer and exit, touch nothing. Both hold the
number of an open descriptor. A program that does not know them answers nothing, which is an answer too. Beside either
of them ``SPAWNING_TYPED_IN`` names the directory in which the command was typed, where its relative paths begin.
"""

import os
import sys
from collections.abc import MutableMapping

from spawning import __version__

SUCCEED = "SPAWNING_SUCCEED"
CHECK = "SPAWNING_CHECK_SUCCESSION"
TYPED_IN = "SPAWNING_TYPED_IN"
_ANSWER = "spawning can succeed:"


def memory_file(data: bytes) -> int:
    """Put data into a memory file and give its descriptor, which does not survive an exec yet."""
    fd = os.memfd_create("spawning-succession", os.MFD_CLOEXEC)
    with open(fd, "wb", closefd=False) as writer:
        writer.write(data)
    return fd


def contents(fd: int) -> bytes:
    """Return what stands in a memory file, whatever process has read or written it before, and close it."""
    with open(fd, "rb") as reader:
        reader.seek(0)
        return reader.read()


def inherited(name: str, environ: MutableMapping[str, str]) -> bytes | None:
    """Return what stands in the memory file that a variable names, and remove both; None when it is not set.

    :raises OSError: the descriptor is not open.
    :raises ValueError: the variable is no number.
    """
    value = environ.pop(name, "")
    return contents(int(value)) if value else None


def typed_in(environ: MutableMapping[str, str]) -> str:
    """Return the directory in which the command was typed of which an earlier program was the first, and remove the
    variable; empty when there was none, and the command was typed where the process is.
    """
    name = environ.pop(TYPED_IN, "")
    return name if SUCCEED in environ or CHECK in environ else ""


def answer() -> str:
    """Return the answer that this program can succeed the one before, and what it is."""
    return f"{_ANSWER} version={__version__} python={'.'.join(map(str, sys.version_info[:3]))}"


def answered(output: str) -> str | None:
    """Find that answer in the output of a program; gives what the program is, as fields of a log line."""
    return next((line.removeprefix(_ANSWER).strip() for line in output.splitlines() if line.startswith(_ANSWER)), None)
