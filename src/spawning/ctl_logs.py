"""``spawnctl logs``: the last lines of a server's log, and those that follow.

A log that is a file is read where it is; one that goes to stdout or stderr is too, if that is a file. What goes to a
pipe or a terminal cannot be read by others: what started the server has it (systemd's journal, a container's log).
"""

import contextlib
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

_BLOCK = 65536  # bytes read at once
_LAST_LOOKS = 3  # at a file that another one has replaced: workers write to it until they have been given the other
_STREAMS = {"access": 1, "error": 2}


class LogError(Exception):
    """Carry, in one line, why a log cannot be shown."""


def place(name: str, file: str | None, pid: int) -> Path:
    """Return where a log is.

    :param name: ``access`` or ``error``.
    :param file: the file that the server writes it to; None: it goes to a stream.
    :param pid: of the controller.
    :raises LogError: it is no file.
    """
    if file == os.devnull:
        raise LogError(f"the {name} log is switched off")
    if file is not None:
        path = Path(file)
        if path.exists() and not path.is_file():
            raise LogError(f"the {name} log goes to {file}, which is no file that could be read twice")
        return path
    link = Path(f"/proc/{pid}/fd/{_STREAMS[name]}")
    try:
        target = os.readlink(link)
        if stat.S_ISREG(link.stat().st_mode) and os.path.samestat(link.stat(), os.stat(target)):
            return Path(target)
    except OSError as error:
        raise LogError(f"where the {name} log goes cannot be seen: {link}: {error.strerror}") from None
    stream = "stdout" if name == "access" else "stderr"
    raise LogError(
        f"the {name} log goes to {stream}, which is no file but {target}: ask whoever has started the server"
        " (journalctl, docker logs)"
    )


def last_lines(file: BinaryIO, count: int) -> bytes:
    """Return the last lines of a file, whole ones; what is read next is what stands behind them.

    :raises OSError: it cannot be read.
    """
    end = start = file.seek(0, os.SEEK_END)
    data = b""
    while start > 0 and data.count(b"\n") <= count:
        step = min(_BLOCK, start)
        start -= step
        file.seek(start)
        data = file.read(step) + data
    data = data[: end - start]
    lines = data.splitlines(keepends=True)
    rest = lines.pop() if lines and not lines[-1].endswith(b"\n") else b""  # is being written
    file.seek(end - len(rest))
    return b"".join(lines[-count:] if count else [])


def follow(path: Path, file: BinaryIO, wait: Callable[[], object]) -> Iterator[bytes]:
    """Yield what is appended to a file, in whole lines; also when another one takes its place, or it is truncated.

    :param path: where it is, or was: it may be rotated at any moment.
    :param file: opened there, and read up to where to begin. It is closed in the end.
    :param wait: called whenever there is nothing new.
    """
    try:
        part = b""
        looks = 0
        while True:
            data = file.read(_BLOCK)
            if data:
                whole, end, part = (part + data).rpartition(b"\n")
                if end:
                    yield whole + end
                continue
            if looks >= _LAST_LOOKS and (newer := _newer(path)) is not None:
                file.close()
                file, part, looks = newer, b"", 0
                continue
            looks = looks + 1 if _is_replaced(path, file) else 0
            wait()
    finally:
        file.close()


def _is_replaced(path: Path, file: BinaryIO) -> bool:
    """Whether another file has taken the place of this one; begin anew with one that was truncated."""
    with contextlib.suppress(FileNotFoundError):  # between two names
        known, there = os.fstat(file.fileno()), path.stat()
        if not os.path.samestat(known, there):
            return True
        if there.st_size < file.tell():
            file.seek(0)
    return False


def _newer(path: Path) -> BinaryIO | None:
    with contextlib.suppress(FileNotFoundError):  # it is being replaced once more
        return path.open("rb")
    return None
