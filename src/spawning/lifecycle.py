"""Hooks for applications: what is to happen once behind the import, in each new worker, and at the end of one.

    from spawning.lifecycle import on_fork

    @on_fork
    def connect() -> None:
        pool.open()

Each decorator keeps the function as it is and has it called, in the order of registration. Under another server nothing
calls it. ``docs/hooks.md`` has the whole story, with recipes.

This module imports nothing of Spawning: an application may import it wherever it runs.
"""

from collections.abc import Callable
from enum import Enum
from typing import Any, Final, TypeVar

_Function = TypeVar("_Function", bound=Callable[[], object])
_PidFunction = TypeVar("_PidFunction", bound=Callable[[int], object])


class Event(Enum):
    """What functions are registered for."""

    LOAD = "on_load"
    FORK = "on_fork"
    EXIT = "on_exit"
    WORKER_GONE = "on_worker_gone"


registered: Final[dict[Event, list[Callable[..., Any]]]] = {event: [] for event in Event}
"""The functions for each event, in the order in which they were registered. The server calls them."""


def on_load(function: _Function) -> _Function:
    """Have a function called in the fork server, behind the import of the application and before any worker is forked.

    With ``--no-preload``, where each worker imports the application itself: in each worker, behind that.

    :param function: takes no argument. What it raises refuses the generation, as a failing import does.
    """
    return _register(Event.LOAD, function)


def on_fork(function: _Function) -> _Function:
    """Have a function called in each new worker, before that is ready: before ``--ready-path`` is asked for.

    :param function: takes no argument. What it raises refuses the generation, as a failing import does.
    """
    return _register(Event.FORK, function)


def on_exit(function: _Function) -> _Function:
    """Have a function called in each worker that ends in the usual way, behind its last request.

    That is at a reload, a stop, a recycling; not in a worker that crashes or is killed. It is called in the main
    thread, before the interpreter waits for threads and calls ``atexit`` functions, and counts towards
    ``--deadman_timeout`` as they do.

    :param function: takes no argument. What it raises is logged, and the next one is called.
    """
    return _register(Event.EXIT, function)


def on_worker_gone(function: _PidFunction) -> _PidFunction:
    """Have a function called in the fork server when a worker has gone, whatever way.

    Nothing is forked meanwhile, so it should be short. With ``--no-preload`` there is no fork server that has the
    application, and nothing calls it.

    :param function: takes the worker's process id, which may be another process's by then. What it raises is logged,
        and the next one is called.
    """
    return _register(Event.WORKER_GONE, function)


_Any = TypeVar("_Any", bound=Callable[..., Any])


def _register(event: Event, function: _Any) -> _Any:
    if not callable(function):
        raise TypeError(f"{event.value} takes a function, not {type(function).__name__}: write @{event.value} alone")
    registered[event].append(function)
    return function
