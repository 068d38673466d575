"""What the status service knows, and who waits for more: the only thing that its threads share.

The main thread puts each snapshot there (:meth:`Hub.update`) and ends the waiting (:meth:`Hub.close`); request threads
read, wait and say that somebody looks. A :class:`View` never changes once it is there, so it is read without a lock.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from threading import Condition, Lock
from time import monotonic
from typing import Any

from spawning import memory
from spawning.status.history import History, Trend

STALE = 5.0  # seconds after which the controller is taken not to live
WATCH_SECONDS = 5.0  # that somebody who has looked is taken to look on
_MOMENT = 1.0  # seconds that one who has just begun to look waits for what the threads of the workers are doing

Values = dict[str, Any]


@dataclass(frozen=True, slots=True)
class View:
    """What is known at one moment.

    :ivar serial: counts the views.
    :ivar values: the controller's snapshot.
    :ivar since: (monotonic seconds) when it came.
    """

    serial: int
    values: Values
    trend: Trend
    since: float
    memory: dict[int, int] = field(default_factory=dict)  # pid to bytes (PSS)

    @property
    def age(self) -> float:
        """Seconds since the controller has said it."""
        return monotonic() - self.since


class Hub:
    """See the module.

    :param values: the first snapshot.
    :param watch: tells the controller for how many seconds somebody will look; from any thread.
    """

    def __init__(self, values: Values, watch: Callable[[float], object]) -> None:
        self._changed = Condition()
        self._history = History()
        self._watch = watch
        self._watched_until = 0.0
        self._measuring = Lock()
        self._measure_at = 0.0  # monotonic seconds
        self._memory: dict[int, int] = {}
        self.closing = False
        self.view = View(1, values, self._history.add(values), monotonic())

    def update(self, values: Values) -> None:
        """Take a snapshot. The main thread."""
        view = View(self.view.serial + 1, values, self._history.add(values), monotonic(), self._memory)
        with self._changed:
            self.view = view
            self._changed.notify_all()

    def close(self) -> None:
        """Let nobody wait any more. The main thread."""
        with self._changed:
            self.closing = True
            self._changed.notify_all()

    def newer(self, serial: int, seconds: float) -> View | None:
        """Wait for a view that is newer than number `serial`; None: there is none within so many seconds."""
        with self._changed:
            self._changed.wait_for(lambda: self.view.serial > serial or self.closing, seconds)
            return self.view if self.view.serial > serial else None

    def look(self) -> View:
        """Return the newest view, with what the threads of the workers are doing if they can be asked in a moment."""
        self.watch()
        until = monotonic() + _MOMENT
        view: View | None = self.view
        while view is not None and view.values["requests"] is None and not self.closing:
            view = self.newer(view.serial, until - monotonic())
        return replace(self.view, memory=self.measure())

    def watch(self) -> None:
        """Tell the controller that somebody looks, so that it asks the workers."""
        now = monotonic()
        if now > self._watched_until - WATCH_SECONDS / 2:
            self._watched_until = now + WATCH_SECONDS
            self._watch(WATCH_SECONDS)

    def measure(self) -> dict[int, int]:
        """Return pid to bytes (PSS) of all processes: as measured a moment ago, or now."""
        if self._measuring.acquire(blocking=False):
            try:
                self._measure()
            finally:
                self._measuring.release()
        return self._memory

    def _measure(self) -> None:
        began, pids = monotonic(), _pids(self.view.values)
        known = {pid: size for pid, size in self._memory.items() if pid in pids and began < self._measure_at}
        new = [pid for pid in pids if pid not in known]
        self._memory = known | memory.sizes(new)
        if not known:
            self._measure_at = memory.again_at(began, monotonic())


def _pids(values: Values) -> list[int]:
    pids = [values["pid"], os.getpid()]
    for generation in values["generations"]:
        pids += [generation["fork_server"], *(worker["pid"] for worker in generation["workers"])]
    return [pid for pid in pids if pid]
