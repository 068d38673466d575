"""Files that the code itself writes while it is imported, such as a module with a version: to reload for them would
never come to an end.

A file that was written while a generation was loaded may as well have been edited by somebody, so it asks for a reload.
One that was written in each of several loads in a row is the code's own: it is named once, and counts from then on only
if it is written while nothing is loaded. Pure; the time comes in as a parameter (seconds since the epoch).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

LOADS = 3  # in a row; nobody saves the same file that often, each time within the second that a load takes
_SLACK = 0.05  # seconds by which the time of a file and that of the clock may differ


@dataclass(slots=True)
class _Load:
    began: float
    ended: float = math.inf
    wrote: set[str] = field(default_factory=set)


class Rewritten:
    """See the module. For the controller's loop alone."""

    def __init__(self) -> None:
        self._loads: list[_Load] = []
        self.own: set[str] = set()

    def load_began(self, now: float) -> None:
        self._loads = [*self._loads[1 - LOADS :], _Load(now)]

    def load_ended(self, now: float) -> None:
        for load in self._loads:
            load.ended = min(load.ended, now)

    def edited(self, changed: Mapping[str, float]) -> list[str]:
        """Return the files that somebody has edited, or may have.

        :param changed: file to the time when it was written; 0 if it is gone.
        """
        return [file for file, written_at in changed.items() if not self._is_own(file, written_at)]

    def _is_own(self, file: str, written_at: float) -> bool:
        during = [load for load in self._loads if load.began - _SLACK <= written_at <= load.ended + _SLACK]
        for load in during:
            load.wrote.add(file)
        if len(self._loads) == LOADS and all(file in load.wrote for load in self._loads):
            self.own.add(file)
        return bool(during) and file in self.own
