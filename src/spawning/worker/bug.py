"""Logging a bug, and going on: also where a view has left no room on the stack for the calls that logging takes."""

import sys
from contextlib import suppress
from sys import getrecursionlimit, setrecursionlimit
from typing import Final

from spawning.logs.log import Log

LEAST_RECURSION: Final = 200  # calls; what the server itself needs below its deepest call, several times
USUAL_RECURSION: Final = 1000  # as every interpreter begins

log = Log("spawning.worker")


_in_a_worker = False


def guard_recursion_limit() -> None:
    """Have ``sys.setrecursionlimit`` be one that leaves the server its calls; before the application is imported.

    A limit is for the whole process: one that a view sets too low would strike in the midst of whatever the leader or
    another request thread does. At the import nothing is changed: there it is refused (``forkserver/surroundings.py``).
    """
    sys.setrecursionlimit = _set_recursion_limit


def keep_recursion_limit() -> None:
    """Begin to guard it: this process is a worker now."""
    global _in_a_worker  # noqa: PLW0603
    _in_a_worker = True


def _set_recursion_limit(limit: int, /) -> None:
    if _in_a_worker and isinstance(limit, int) and 0 < limit < LEAST_RECURSION:
        setrecursionlimit(LEAST_RECURSION)
        log.warning(
            "recursion limit leaves the server no room, and is not taken asked=%d limit=%d", limit, LEAST_RECURSION
        )
    else:
        setrecursionlimit(limit)


def tell_of_bug(what: str) -> None:
    """Log the exception that is being handled; raise nothing, so that who handles it can go on.

    :param what: is done about it.
    """
    with suppress(BaseException):  # boundary: an interruption may strike here, or memory be short
        if mend_recursion_limit():  # that was it
            return
        log.exception("this is a bug in Spawning; %s", what)


def mend_recursion_limit() -> bool:
    """Have room for the server's calls again; True: a view had set the limit too low, for the whole process."""
    low = getrecursionlimit()
    if low >= LEAST_RECURSION:
        return False
    setrecursionlimit(USUAL_RECURSION)
    log.warning("the application has set the recursion limit too low, so it is %d again limit=%d", USUAL_RECURSION, low)
    return True
