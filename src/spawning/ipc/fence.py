"""The fence: one page of memory in which the controller writes whose turn it is to serve, and every worker reads it.

Each cutover begins a *term*, numbered from 1. A worker is told the number of its own with ``Start``. What a message
says to a worker it learns when its main thread runs, which a stopped process or a call that keeps the interpreter lock
may put off for long; what stands in this page a leader sees for itself, at the moment at which it has received a
request. So a worker that has slept through its own retirement does not answer what was sent after it.

The page is a memory file that the controller makes; its descriptor travels beside ``Start``. Writing and reading eight
aligned bytes is atomic.
"""

import mmap
import os
from typing import Final

_SIZE: Final = mmap.PAGESIZE

NEVER: Final = memoryview(bytes(8)).cast("Q")  # what a worker looks at that was given no page: nobody's turn begins


class Fence:
    """The controller's end. Where the system gives no page (a limit on the size of files, no memory), workers do with
    messages alone.

    :param fd: of the page, from an earlier program of this controller; negative: there is none, and it is made.

    :ivar fd: of the page; negative: there is none.
    """

    def __init__(self, fd: int = -1) -> None:
        self.fd = fd
        try:
            if fd < 0:
                self.fd = _make()
            self._term = memoryview(mmap.mmap(self.fd, _SIZE)).cast("Q")
        except OSError:
            self._term = memoryview(bytearray(8)).cast("Q")

    @property
    def descriptors(self) -> list[int]:
        """What travels beside ``Start``: the page, if there is one."""
        return [self.fd] if self.fd >= 0 else []

    @property
    def term(self) -> int:
        """The number of the term that may serve; 0 before the first."""
        return self._term[0]

    def advance(self) -> None:
        """Begin the next term: from now on nobody of an earlier one serves what it receives."""
        self._term[0] += 1


def _make() -> int:
    fd = os.memfd_create("spawning-fence", os.MFD_CLOEXEC)
    try:
        os.ftruncate(fd, _SIZE)
    except OSError:
        os.close(fd)
        raise
    return fd


def attach(fd: int) -> memoryview:
    """Return the page of a descriptor, which is closed, for reading: the first of its numbers is the term.

    :raises OSError: it is no such page.
    """
    try:
        return memoryview(mmap.mmap(fd, _SIZE, prot=mmap.PROT_READ)).cast("Q")
    finally:
        os.close(fd)
