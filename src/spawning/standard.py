"""The descriptors 0 to 2, which are the application's to print to, to replace and to close.

No socket or file of the server may come to have one of these numbers: what is printed would reach a client, a body that
is being kept, or another process. The kernel gives the lowest number that is free. So they are occupied before anything
else is opened, again behind the import and whenever a worker looks, and what got such a number in between is moved.
"""

import fcntl
import os
from typing import Final

FIRST_OF_OURS: Final = 3


def occupy() -> list[int]:
    """Open ``/dev/null`` wherever one of them is closed, so that nothing else gets its number; return which were."""
    return [fd for fd in range(FIRST_OF_OURS) if _occupied_now(fd)]


def _occupied_now(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        null = os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free
        if null == fd:
            os.set_inheritable(null, True)
            return True
        os.close(null)  # another thread was faster
    return False


def copy(descriptor: int) -> int:
    """Return a copy of a descriptor that is none of 0 to 2, and that no program which is started inherits.

    :raises OSError: no descriptor is left.
    """
    return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, FIRST_OF_OURS)


def moved(descriptor: int) -> int:
    """Return a descriptor that the kernel has just given us, or another one in its place if it is one of 0 to 2.

    :raises OSError: no descriptor is left; then it is closed.
    """
    if descriptor >= FIRST_OF_OURS:
        return descriptor
    try:
        return copy(descriptor)
    finally:
        os.close(descriptor)
        occupy()
