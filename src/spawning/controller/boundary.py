"""What becomes of an exception in the controller: it is logged once and tried again, and it never ends a worker.

Rules: each part of the loop's work is called through here, so that one that fails costs the others nothing. Until
something has served an exception goes on its way: the first start ends with it and leaves nothing behind. Once
something serves, a failure is logged (the same one once a minute) and what failed is tried again after a pause. When a
part without which nothing can go on fails again and again, :class:`CannotGoOnError` ends the controller, which then
leaves its workers alone: they finish as if it had been killed.
"""

import time
import traceback
from collections.abc import Callable
from typing import Any, TypeVar

from spawning.controller.links import SHORTAGES
from spawning.logs.log import Log
from spawning.logs.setup import fields

PAUSE = 1.0  # seconds before what has failed is tried again
MOST_TRIES = 10  # failures in a row of a part without which nothing can go on
_AGAIN = 60.0  # seconds before the same failure is logged once more
_MOST_REMEMBERED = 100  # failures

T = TypeVar("T")

log = Log("spawning.controller")


class CannotGoOnError(Exception):
    """The controller's own code fails whatever it tries."""


class Boundary:
    """See the module. For the controller's loop alone.

    :param serves: whether anything has served.
    """

    def __init__(self, serves: Callable[[], bool]) -> None:
        self._serves = serves
        self._logged: dict[str, float] = {}
        self._failures: dict[str, int] = {}

    def went_well(self, function: Callable[..., object], *arguments: Any) -> bool:
        """Call; whether it went well."""
        return self.ask(False, _done, function, *arguments)

    def ask(self, otherwise: T, function: Callable[..., T], *arguments: Any) -> T:
        """Call and return the result; `otherwise` when that has failed."""
        try:
            return function(*arguments)
        # boundary: a bug here, or a kernel out of descriptors, must not take a site down that serves
        except Exception as error:
            if not self._serves():
                raise
            self._log(error)
            return otherwise

    def insist(self, otherwise: T, function: Callable[..., T], *arguments: Any) -> T:
        """Do as :meth:`ask` with a part without which nothing can go on.

        :raises CannotGoOnError: it has failed too often in a row, and not because the system is out of resources.
        """
        name = function.__qualname__
        try:
            result = function(*arguments)
        # boundary: as above
        except Exception as error:
            if not self._serves():
                raise
            self._log(error)
            self._failures[name] = 0 if is_shortage(error) else self._failures.get(name, 0) + 1
            if self._failures[name] >= MOST_TRIES:
                raise CannotGoOnError(name) from error
            return otherwise
        self._failures[name] = 0
        return result

    def _log(self, error: Exception) -> None:
        now = time.monotonic()
        text = "".join(traceback.format_exception(error)) if not is_shortage(error) else str(error)
        if now - self._logged.get(text, -_AGAIN) < _AGAIN:
            return
        if len(self._logged) >= _MOST_REMEMBERED:
            self._logged.clear()
        self._logged[text] = now
        if is_shortage(error):
            log.error("out of resources, trying again %s", fields(reason=error))
        else:
            log.error("this is a bug in Spawning, what serves goes on serving\n%s", text.rstrip("\n"))


def is_shortage(error: Exception) -> bool:
    """Whether it is the system that lacks something: descriptors, processes, memory."""
    return isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno in SHORTAGES)


def _done(function: Callable[..., object], *arguments: Any) -> bool:
    function(*arguments)
    return True
