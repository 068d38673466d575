"""Raising an exception in another thread, and having it arrive where that does no harm.

The interpreter raises it at the thread's next step in Python; a thread that waits in C gets it when the wait is over.
Who interrupts and who is interrupted have to agree on when that may happen: see ``timeouts.py`` and ``console.py``.
"""

import ctypes
from time import sleep

from spawning.primitives import get_ident

_set_exception = ctypes.pythonapi.PyThreadState_SetAsyncExc
_set_exception.argtypes = (ctypes.c_ulong, ctypes.py_object)
_set_exception.restype = ctypes.c_int


def interrupt(ident: int, kind: type[BaseException]) -> None:
    """Raise in a thread.

    :param ident: of the thread.
    :param kind: of the exception.
    """
    _set_exception(ident, ctypes.py_object(kind))


def receive(kind: type[BaseException]) -> None:
    """Have an exception that was set for this thread arrive now, unless it has: it must not strike later.

    It is set anew, which replaces one that has not arrived, and waited for. To take it back (by NULL) would leave the
    interpreter's mark that there is one: 3.11 looks for it at every step from then on, and under a tracer (coverage, a
    debugger) never goes on.
    """
    try:
        interrupt(get_ident(), kind)
        while True:
            sleep(0)
    except kind:
        pass
