"""Calling what an application has registered with ``spawning.lifecycle``, in the fork server and in workers.

Rules: an error at a beginning refuses the generation; an end goes on behind one, which the log has. A process that a
function forks does not come back from here.
"""

from collections.abc import Callable
from os import getpid
from typing import Any

from spawning.lifecycle import Event, registered
from spawning.logs.log import Log
from spawning.wsgi import forked
from spawning.wsgi_factory import application_errors

log = Log("spawning.app")


def begin(event: Event) -> None:
    """Call the functions for the beginning of something.

    :raises AppLoadError: one of them has raised; names it.
    """
    for function in registered[event]:
        with application_errors(f"{event.value} function {_name(function)} failed"):
            function()


def end(event: Event, *arguments: Any) -> None:
    """Call the functions for the end of something; log what they raise."""
    pid = getpid()
    for function in list(registered[event]):
        failure: BaseException | None = None
        try:
            function(*arguments)
        # boundary: the application's code may raise anything, and the others are to be called too
        except BaseException as error:
            failure = error
            if getpid() == pid:
                log.exception("%s function raised function=%s", event.value, _name(function))
        if getpid() != pid:
            forked.leave(failure)


def _name(function: Callable[..., Any]) -> str:
    module, name = getattr(function, "__module__", None), getattr(function, "__qualname__", None)
    return f"{module}.{name}" if module and name else type(function).__name__
