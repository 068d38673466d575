"""File descriptors of a worker: how many there may be, and one in reserve for when there are none left.

The soft limit of a process is often 1024, for the sake of programs that use ``select``; nobody here does, so a worker
raises its own to the hard limit: that costs nothing, and nobody knows what the application needs. The controller's
stays as it is.

A connection needs a descriptor for its socket, and another one while a large body arrives (``wsgi/input.py``). Where
there are not two for each, bodies get a quarter of what there is. Over TLS a connection needs two, when it is ferried
(``ferry``).
"""

import os
import resource
from typing import Final

from spawning.wsgi.input import limit_files

_OF_ITS_OWN: Final = 64  # descriptors for the worker and the application's imports, beside those of requests
_A_THREAD: Final = 4  # … and for each request: a file to send, a database, two others
_BUSY_GREENLETS: Final = 256  # that have as many at a time
_MOST: Final = 1 << 20  # descriptors that are worth having
_FEW_BODIES: Final = 64  # bodies at a time for very few connections: an application may keep one for a while …
_MOST_BODIES: Final = 1 << 14  # … and what is worth having for very many


def plan(wanted: int, threads: int, soft: int, hard: int, each: int = 1) -> tuple[int, int, int]:
    """Decide on the soft limit, and on how many connections and bodies in files there is room for below it.

    :param wanted: ``--max-connections``, 0 for as many as possible.
    :param threads: ``--threads``.
    :param soft: the soft limit now; ``RLIM_INFINITY`` is none.
    :param hard: the hard limit.
    :param each: descriptors of a connection.
    :returns: the soft limit, never lower than before; connections and bodies, of both at least 1.
    """
    others = _OF_ITS_OWN + _A_THREAD * threads
    highest = _MOST if hard == resource.RLIM_INFINITY else min(hard, _MOST)
    limit = max(_MOST if soft == resource.RLIM_INFINITY else soft, highest)
    # Where the limit is very low, half of it has to do for everything else.
    free = max(2, limit - others, limit // 2)
    room = max(1, (free - max(1, free // 4)) // each)
    if wanted:
        room = min(room, wanted)
    return limit, room, min(max(1, free - room * each), max(room, _FEW_BODIES), _MOST_BODIES)


def room_for_connections(wanted: int, jobs: int, threaded: bool, ferries: bool) -> int:
    """Raise the soft limit, limit bodies in files, and return for how many connections there is room (:func:`plan`).

    :param jobs: most requests that are executed at a time.
    :param threaded: in threads. Of greenlets there may be thousands, most of which wait for what all of them share.
    :param ferries: connections may have to be ferried.
    """
    threads = jobs if threaded else min(jobs, _BUSY_GREENLETS)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit, room, bodies = plan(wanted, threads, soft, hard, 2 if ferries else 1)
    limit_files(bodies)
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
        """Close the descriptor, so that a request that needs one now gets it."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
