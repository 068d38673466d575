"""Names of files and directories as people use them: through links, before they exist, after they have moved.

A name is kept, what it leads to is asked for anew: a deploy points ``/srv/current`` at another release, and the next
generation starts there. Knows the file system, but neither watching nor processes.
"""

import os
import stat
from collections.abc import Iterable, Mapping


def working_directory(environ: Mapping[str, str] = os.environ) -> str:
    """Name the current directory as it was entered (``/srv/current``), or else as it is (``/srv/releases/7``).

    The shell's ``PWD`` tells the first (POSIX, "Shell Variables"), unless it means another directory.
    """
    name = environ.get("PWD", "")
    try:
        if os.path.isabs(name) and os.path.samefile(name, "."):
            return name
    except OSError:
        pass
    return os.getcwd()


def both_names(files: Iterable[str]) -> frozenset[str]:
    """Return files with the names behind their symbolic links: a change is reported where it happens."""
    absolute = {os.path.abspath(file) for file in files}
    return frozenset(absolute | {os.path.realpath(file) for file in absolute})


def links_above(paths: Iterable[str]) -> frozenset[str]:
    """List the symbolic links among the directories on the way to `paths` (absolute), with those they lead through."""
    seen: set[str] = set()
    links: set[str] = set()
    waiting = list(paths)
    while waiting:
        directory = os.path.dirname(waiting.pop())
        if directory in seen:
            continue
        seen.add(directory)
        waiting.append(directory)
        if os.path.islink(directory):
            links.add(directory)
            target = os.path.join(os.path.dirname(directory), os.readlink(directory))
            waiting.append(os.path.join(os.path.normpath(target), "x"))
    return frozenset(links)


def nearest(path: str) -> str:
    """Return `path`, or the part of it whose coming into being can be seen: its directory exists."""
    while not os.path.isdir(os.path.dirname(path)):
        path = os.path.dirname(path)
    return path


def identity(directory: str) -> tuple[int, int]:
    """Identify directories of the same name: one that was deleted and came back, a link that leads elsewhere."""
    try:
        status = os.stat(directory)
    except OSError:
        return 0, 0
    return status.st_dev, status.st_ino


def modified(files: Iterable[str], since: float, until: float) -> list[str]:
    """List those of the files that were written in an interval of time (seconds since the epoch, without `since`)."""
    return [file for file in files if since < written_at(file) <= until]


def written_at(file: str) -> float:
    """Return the time of a file, or of a link itself (seconds since the epoch); 0 if there is none. What is created in
    a directory does not count for that.
    """
    try:
        status = os.lstat(file)
    except OSError:
        return 0.0
    return 0.0 if stat.S_ISDIR(status.st_mode) else status.st_mtime
