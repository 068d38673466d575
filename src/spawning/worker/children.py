"""Processes that an application forks in a worker (``os.fork``, ``multiprocessing``): they inherit nothing of ours.

A forked child has copies of all descriptors, so it would hold the port after the server's end and the clients'
connections after the worker has closed them; it has the worker's signal handlers, so ``Process.terminate`` would do
nothing; and it would serve as soon as it came back out of the application. So the interpreter calls :func:`_in_child`
in each child (``os.register_at_fork``): it closes what is the server's, restores the handlers and marks the process
(``wsgi/forked.py``). Closing in the child does not disturb the worker, where the sockets stay open.

Rules: no lock is taken, since the thread that holds it does not exist in the child. Nobody undoes the registration.
"""

import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from os import register_at_fork
from typing import Any, Final, Protocol

from spawning.wsgi import forked

# What ends a program that a person or its parent wants to end. The others (SIGHUP, SIGUSR1 …) are sent to the group and
# mean the controller, and stay without effect.
_RESTORED: Final[dict[int, Any]] = {
    signal.SIGTERM: signal.SIG_DFL,
    signal.SIGINT: signal.default_int_handler,
    signal.SIGQUIT: signal.SIG_DFL,
}

_closers: list[Callable[[], object]] = []
_handlers: list[object] = []
_set_handler = signal.signal
_get_handler = signal.getsignal


class Closable(Protocol):
    """An object that a child closes."""

    def close(self) -> None: ...


def disown(*held: Closable) -> None:
    """Have children that are forked from now on inherit nothing, of this above all. Once, in a new worker."""
    register_at_fork(after_in_child=_in_child)
    _closers.extend(each.close for each in held)


def disown_processes() -> None:
    """Have ``multiprocessing`` forget, in a worker, what the application has started in the fork server.

    Its ``atexit`` function would terminate those of them that are daemons, which the other workers still use, and fail
    to join the rest. Its own children do the same (``BaseProcess._bootstrap``).
    """
    started = getattr(sys.modules.get("multiprocessing.process"), "_children", None)
    if isinstance(started, set):
        started.clear()


def close_in_children(close: Callable[[], object]) -> None:
    """Have something called in every forked child, which closes what is the server's there."""
    _closers.append(close)


def handles(handler: object) -> None:
    """Name a signal handler of the server: children get the default in its place, but keep one of the application."""
    _handlers.append(handler)


def _in_child() -> None:
    forked.child = True
    for close in _closers:
        with suppress(Exception):  # boundary: a child that holds something is better than one that fails at its birth
            close()
    restore_handlers()


def restore_handlers() -> None:
    """Have signals that end a program end this process, where their handlers are the server's (:func:`handles`)."""
    for signum, default in _RESTORED.items():
        with suppress(ValueError, OSError):  # as above
            if any(_get_handler(signum) == each for each in _handlers):
                _set_handler(signum, default)
