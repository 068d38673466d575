"""Whose turn it is to write to a pipe that several processes log to.

The kernel keeps together what is written at once, up to ``PIPE_BUF`` bytes. What is longer goes in pieces when the
reader is slow, and without turns the lines of others would come between these. So who writes locks the pipe itself, for
as long as that takes: a record lock (``fcntl(2)``), which holds between processes and ends with its own. All threads of
a process count as one there, so they have a lock of their own in addition.

Rules: only a thread that writes a log, or a forked process that does so directly, takes a turn; nobody waits for it. A
process that may be stopped takes none, or all logs would stop with it. Regular files need none, since whole writes are
appended; a device is not ours alone, and its lock would be anybody's. A process that closes another descriptor of the
same pipe (``os.close(1)``) loses the lock with it, and a line that it is just writing may be interrupted.
"""

import errno
import fcntl
import os
import stat
from _thread import LockType, allocate_lock
from time import sleep
from types import TracebackType
from typing import Final

_AGAIN: Final = 0.01  # seconds

_locks: dict[tuple[int, int, int], LockType] = {}  # by process, device and inode


class Turn:
    """The turns of this process at one descriptor. A context; the thread may wait in it."""

    __slots__ = ("_descriptor", "_lock")

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._lock: LockType | None = None
        try:
            status = os.fstat(descriptor)
        except OSError:
            return
        if stat.S_ISFIFO(status.st_mode) or stat.S_ISSOCK(status.st_mode):
            self._lock = _locks.setdefault((os.getpid(), status.st_dev, status.st_ino), allocate_lock())

    def __enter__(self) -> None:
        if self._lock is not None:
            self._lock.acquire()
            _acquire(self._descriptor)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._lock is not None:
            try:
                fcntl.lockf(self._descriptor, fcntl.LOCK_UN)
            except OSError:  # there was none: see _acquire()
                pass
            finally:
                self._lock.release()


def _acquire(descriptor: int) -> None:
    """Lock between processes, where the system can do it."""
    while True:
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX)
        except OSError as error:
            # The kernel takes two threads of one process that wait for each other's pipes for a deadlock.
            if error.errno == errno.EDEADLK:
                sleep(_AGAIN)
                continue
        return
