"""Finding changed files by looking at them again and again, where the kernel does not tell."""

import os
import stat
import threading
import time
from collections.abc import Callable, Iterable, Iterator

from spawning.controller.paths import modified

EVERY = 1.0  # seconds; a look at 2,000 files takes some 5 ms
QUIET = 0.1  # seconds in which nothing may change before something is reported

Seen = dict[str, tuple[int, ...]]


def changes(look: Callable[[], Iterable[str]], since: float, ended: threading.Event) -> Iterator[list[str]]:
    """Yield the files that have changed, come or gone, once they are quiet.

    :param look: lists the files to look at; they need not exist.
    :param since: until when nothing was missed (seconds since the epoch). What was written between that and the first
        look is found by its time, and only behind that look, so that nothing falls between the two.
    :param ended: ends it.
    """
    before = seen(look())
    if missed := modified(before, since, time.time()):
        yield sorted(missed)
    while not ended.wait(EVERY):
        now = seen(look())
        if now == before:
            continue
        while not ended.wait(QUIET) and (later := seen(look())) != now:
            now = later
        yield sorted(path for path in {*before, *now} if before.get(path) != now.get(path))
        before = now


def seen(files: Iterable[str]) -> Seen:
    """Describe each file that is there, and each link. What is created in a directory does not change that."""
    found: Seen = {}
    for file in files:
        try:
            found[file] = (os.lstat(file).st_ino,)
            status = os.stat(file)
        except OSError:
            continue
        found[file] += (status.st_ino,)
        if not stat.S_ISDIR(status.st_mode):
            found[file] += (status.st_mtime_ns, status.st_size)
    return found
