"""A timer that the leader puts off again and again; it wakes the main thread only when it was not put off in time.

It is the kernel's (``timerfd_create(2)``): to put it off is one system call of the thread that does so and disturbs no
other, whereas a thread that sleeps for a while and then looks has to have the interpreter lock each time it looks.
"""

import contextlib
import ctypes
import os
from typing import Final

from spawning.worker.syscalls import error, libc

_NANOSECONDS: Final = 1_000_000_000
_CLOCK_MONOTONIC: Final = 1
_read: Final = os.read  # by this name, whatever the application makes of the module


class _Specification(ctypes.Structure):
    """``struct itimerspec``: interval and first expiry, each in seconds and nanoseconds."""

    _fields_ = (
        ("again", ctypes.c_long),
        ("again_ns", ctypes.c_long),
        ("first", ctypes.c_long),
        ("first_ns", ctypes.c_long),
    )


class Alarm:
    """Set by one thread, polled by another.

    :param seconds: how long after it was last set it goes off.
    :raises OSError: the kernel makes no timer.
    """

    def __init__(self, seconds: float) -> None:
        self.fd = _checked(libc.timerfd_create(_CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC))
        whole, rest = divmod(round(seconds * _NANOSECONDS), _NANOSECONDS)
        self._specification = ctypes.byref(_Specification(0, 0, whole, rest))

    def set(self) -> None:
        """Let it go off once, from now on counted, and not when it would have done otherwise."""
        _checked(libc.timerfd_settime(self.fd, 0, self._specification, None))

    def clear(self) -> None:
        """Note that it has gone off: it is not readable any more."""
        with contextlib.suppress(BlockingIOError):  # it was set meanwhile
            _read(self.fd, 8)


def _checked(result: int) -> int:
    if result < 0:
        raise error()
    return result
