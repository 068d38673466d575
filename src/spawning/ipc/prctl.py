"""The Linux process attributes that Spawning needs and Python does not offer (prctl(2)).

They work on the calling process. The first two are not inherited by a child that is forked; the last one is.
"""

import ctypes
import os
import signal

_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_PR_SET_NAME = 15
_PR_SET_CHILD_SUBREAPER = 36


def become_subreaper() -> None:
    """Adopt the orphans among the descendants of this process, so that it can wait for them.

    :raises OSError: the kernel refuses.
    """
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def die_with_parent(signum: int = signal.SIGKILL) -> None:
    """Have the kernel send a signal to this process as soon as the parent's thread that started it has gone.

    :raises OSError: the kernel refuses.
    """
    _prctl(_PR_SET_PDEATHSIG, signum)


def outlive_parent() -> None:
    """Undo :func:`die_with_parent`.

    :raises OSError: the kernel refuses.
    """
    _prctl(_PR_SET_PDEATHSIG, 0)


def be_readable_by_own_user() -> None:
    """Have what ``/proc`` tells of this process be its own user's again, who could not measure its memory otherwise.

    A process that gives up privileges is closed to its new user, until it becomes another program by exec.

    :raises OSError: the kernel refuses.
    """
    _prctl(_PR_SET_DUMPABLE, 1)


def set_name(title: str) -> None:
    """Name this thread; the kernel keeps 15 bytes. The name of the main thread is the process's.

    :raises OSError: the kernel refuses.
    """
    name = ctypes.create_string_buffer(title.encode("utf-8", "replace"))
    _prctl(_PR_SET_NAME, ctypes.addressof(name))


def _prctl(option: int, value: int) -> None:
    library = ctypes.CDLL(None, use_errno=True)
    if library.prctl(option, ctypes.c_ulong(value), ctypes.c_ulong(0), ctypes.c_ulong(0), ctypes.c_ulong(0)) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"prctl({option}, {value}): {os.strerror(number)}")
