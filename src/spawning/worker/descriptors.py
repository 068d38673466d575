"""File descriptors of a worker: how many there may be, and one in reserve for when there are none left.

The soft limit of a process is often 1024, for the sake of programs that use ``select``; nobody here does, so a worker
raises its own as far as its connections need, and the hard limit allows. The controller's stays as it is.
"""

import os
import resource
from typing import Final

_OF_ITS_OWN: Final = 64  # descriptors for the worker and the application's imports, beside those of requests
_A_THREAD: Final = 4  # … and for each request: its body, a file to send, a database, another one
_MOST: Final = 1 << 20  # descriptors that are worth having


def plan(wanted: int, threads: int, soft: int, hard: int) -> tuple[int, int]:
    """Decide on the soft limit, and on how many connections there is room for below it.

    :param wanted: ``--max-connections``, 0 for as many as possible.
    :param threads: ``--threads``.
    :param soft: the soft limit now; ``RLIM_INFINITY`` is none.
    :param hard: the hard limit.
    :returns: the soft limit, never lower than before, and the room, at least 1.
    """
    others = _OF_ITS_OWN + _A_THREAD * threads
    highest = _MOST if hard == resource.RLIM_INFINITY else hard
    limit = _MOST if soft == resource.RLIM_INFINITY else soft
    limit = max(limit, min(highest, wanted + others if wanted else _MOST))
    # Where the limit is very low, half of it has to do for everything else.
    room = max(1, limit - others, limit // 2)
    return limit, min(room, wanted) if wanted else room


def room_for_connections(wanted: int, threads: int) -> int:
    """Raise the soft limit as far as needed, and say for how many connections there is room; see :func:`plan`."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit, room = plan(wanted, threads, soft, hard)
    if resource.RLIM_INFINITY != soft < limit:
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    return room


class Reserve:
    """One descriptor that is kept for when all others are in use."""

    def __init__(self) -> None:
        self._fd = -1
        self.take()

    def take(self) -> bool:
        """Have the descriptor (again); False: there is none."""
        if self._fd < 0:
            try:
                self._fd = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
            except OSError:
                return False
        return True

    def release(self) -> None:
        """Leave the descriptor to whoever needs one now."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
