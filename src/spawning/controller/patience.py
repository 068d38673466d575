"""Words for the person who waits: what a load that takes long is waiting for, and what keeps a stop from its end.

Each is said when it has lasted a second, and again at twice the time, and so on; on a terminal a load has one line,
which changes every second (``progress.py``). For the controller's loop alone.
"""

import time
from collections.abc import Callable, Iterable
from typing import Any

from spawning.controller.fleet import Fleet
from spawning.controller.plan import Service, Wanted
from spawning.controller.progress import Progress
from spawning.controller.records import UNASKED, GenerationRecord, GenerationState, Source, WorkerRecord, WorkerState
from spawning.ipc.messages import OWN_QUESTION, Details
from spawning.logs.log import Log
from spawning.logs.setup import fields

FIRST = 1.0  # seconds of silence
AGAIN = 1.0  # seconds between changes of the line on a terminal
START = 4.0  # seconds more for what comes before the import
ANSWER = 0.3  # seconds that workers get to name their requests
_MOST_NAMED = 3  # requests in a line

log = Log("spawning.controller")


class Patience:
    """See the module.

    :param ask: has a worker say what it is doing (``Details``).
    """

    def __init__(self, ask: Callable[[Source], None]) -> None:
        self._ask = ask
        self._import_began = (0, 0.0)  # of which generation, and when
        self._progress = Progress()
        self._show_at = 0.0
        self._loading = _Again()
        self._stopping = _Again()
        self._answer_at = 0.0  # when what was asked for is told; 0: nothing was asked for
        self._answers: dict[Source, Details] = {}

    def look(self, wanted: Wanted, fleet: Fleet, now: float) -> float:
        """Log what is due; return when to look again (monotonic seconds)."""
        if wanted.service is Service.RUN:
            return self._look_at_loading(wanted, fleet, now)
        self._progress.clear()
        if wanted.service is Service.DRAIN and now >= wanted.drain_at:
            return self._look_at_stopping(wanted, fleet, now)
        return float("inf")

    def import_began(self, number: int, now: float) -> None:
        """Note that a generation has its settings, and imports the application."""
        self._import_began = (number, now)

    def on_details(self, source: Source, message: Details) -> None:
        """Take the answer of a worker."""
        if message.question == OWN_QUESTION:
            self._answers[source] = message

    def _look_at_loading(self, wanted: Wanted, fleet: Fleet, now: float) -> float:
        generation = fleet.under_way
        if generation is None or generation.trigger in UNASKED or generation.state is GenerationState.CUTOVER:
            self._progress.clear()
            return float("inf")
        number, since = self._import_began
        if number != generation.number:  # an interpreter starts, which takes a moment, and runs the factory
            since = generation.started_at + START
        seconds, left = now - generation.started_at, max(0.0, generation.boot_until - now)
        waits_for = awaited(wanted, generation) if number == generation.number else generation.settings.factory
        if self._progress.is_wanted:
            self._show_at = max(self._show_at, since + FIRST)
            if now >= self._show_at:
                self._progress.show(f"loading for {seconds:.0f} s: {waits_for}, gives up in {left:.0f} s")
                self._show_at = now + AGAIN
            return self._show_at
        if self._loading.is_due(generation.number, since, now):
            said = fields(generation=generation.number, seconds=seconds, waits_for=waits_for, gives_up_in=left)
            log.info("still loading %s", said)
        return self._loading.at

    def _look_at_stopping(self, wanted: Wanted, fleet: Fleet, now: float) -> float:
        leaving = [worker for each in fleet for worker in each.workers.values() if worker.is_leaving]
        if self._answer_at and now >= self._answer_at:
            self._answer_at = 0.0
            if leaving:
                self._tell(wanted, leaving, now)
        if self._stopping.is_due(0, wanted.drain_at, now) and leaving:
            self._answers = {}
            self._answer_at = now + ANSWER
            for worker in leaving:
                self._ask(worker.source)
        return min(self._stopping.at, self._answer_at or float("inf"))

    def _tell(self, wanted: Wanted, leaving: list[WorkerRecord], now: float) -> None:
        requests = [each for details in self._answers.values() for each in details.requests]
        left = max(0.0, max(worker.kill_at for worker in leaving) - now)
        until = time.strftime("%H:%M:%S", time.localtime(time.time() + min(left, max(0.0, wanted.drain_until - now))))
        silent = [str(worker.source) for worker in leaving if not self._has_requests(worker)]
        said: dict[str, object] = {"requests": len(requests)}
        if requests:
            said["under_way"] = named(requests)
        if silent:
            said["without_requests"] = ", ".join(silent)
        hint = "" if wanted.ends_streams is False else "; Ctrl-C again ends it at once"
        log.info("still stopping%s %s", hint, fields(**said, until=until))

    def _has_requests(self, worker: WorkerRecord) -> bool:
        details = self._answers.get(worker.source)
        return details is not None and bool(details.requests)


class _Again:
    """When to say something again: after a second, two, four …"""

    def __init__(self) -> None:
        self._of: tuple[int, float] | None = None
        self.at = float("inf")

    def is_due(self, number: int, since: float, now: float) -> bool:
        """Whether it is time.

        :param number: of what is waited for; another one begins anew, as another `since` does.
        """
        if self._of != (number, since):
            self._of, self.at = (number, since), since + FIRST
        if now < self.at:
            return False
        while self.at <= now:
            self.at += max(self.at - since, FIRST)
        return True


def awaited(wanted: Wanted, generation: GenerationRecord) -> str:
    """Return what a generation that is under way waits for."""
    settings = generation.settings
    if generation.state is GenerationState.LOADING:
        return f"the import of {settings.args[0]}"
    ready = sum(worker.state is WorkerState.READY for worker in generation.workers.values())
    count = f"{ready} of {wanted.workers(generation)} workers are ready"
    first = generation.workers.get(1)
    if settings.ready_path is not None and first is not None and first.state is WorkerState.STARTING:
        return f"GET {settings.ready_path} ({count})"
    return f"its workers ({count})"


def named(requests: Iterable[dict[str, Any]]) -> str:
    """Name requests, the oldest first."""
    oldest = sorted(requests, key=lambda each: -each["seconds"])
    words = [f"{each['method']} {each['path']} since {each['seconds']:.0f} s" for each in oldest[:_MOST_NAMED]]
    more = len(oldest) - len(words)
    return ", ".join(words) + (f" and {more} more" if more else "")
