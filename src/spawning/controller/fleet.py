"""The controller's records of all generations and workers, and what each message and exit does to them.

Rules: bookkeeping only. No system call, no clock (the time comes in as a parameter, seconds of a monotonic clock), no
decision: what is to be done next is said by ``plan.py`` from these records.
"""

import math
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from spawning.controller.records import (
    ACTIVE,
    GRACE,
    LAST_RESORT,
    PAGE,
    REPAIR,
    ROLLBACK,
    TRIAL,
    UNDER_WAY,
    Backoff,
    ForkServerStep,
    GenerationRecord,
    GenerationState,
    GenerationStep,
    Repair,
    Source,
    WorkerRecord,
    WorkerState,
    WorkerStep,
)
from spawning.controller.refusal import Page, Refusal
from spawning.controller.status_record import StatusRecord
from spawning.controller.totals import LONGEST_TRACEBACK, Reload, Totals
from spawning.errors import EXIT_CLOSED
from spawning.ipc.messages import (
    Born,
    Configured,
    Details,
    Frozen,
    Loaded,
    LoadFailed,
    Message,
    Ready,
    Report,
    Unwell,
)
from spawning.settings import Settings, checked


class Departure(NamedTuple):
    """A process that was ours has exited: the record as it was before, and its last state when it is a worker's."""

    generation: GenerationRecord
    worker: WorkerRecord | None
    state: WorkerState | None


@dataclass(slots=True, eq=False)
class Fleet:
    """All records. Driven by the controller's loop alone.

    All of it outlives the controller's program (``state.py``), so every field is one of a record, with its type.
    """

    generations: dict[int, GenerationRecord] = field(default_factory=dict)
    newest: int = 0
    latest: int = 0  # the generation begun last: the newest, or one that was recalled after it
    has_served: bool = False  # the application, not only a page about it
    reload_at: float = -math.inf  # when the last reload began
    memory: int = 0  # bytes of all processes together, when they were measured last; 0: not known
    memory_limit: int = 0  # bytes that the control group allows them; 0: as many as they want
    measure_at: float = -math.inf
    repairs: Backoff = field(default_factory=Backoff)
    last_refusal: Refusal | None = None
    page: Page | None = None  # what is to be shown as soon as nothing else is under way
    status: StatusRecord | None = None  # None: nobody has asked for it
    totals: Totals = field(default_factory=Totals)  # of workers that have gone

    # Reading ---------------------------------------------------------------------------------------------------------

    def __iter__(self) -> Iterator[GenerationRecord]:
        return iter(list(self.generations.values()))

    @property
    def serving(self) -> GenerationRecord | None:
        """Return the generation that serves; during a cutover that is still the one before."""
        return next((each for each in self if each.state is GenerationState.SERVING), None)

    @property
    def under_way(self) -> GenerationRecord | None:
        """Return the newest generation that is loading, forking or in its cutover."""
        states = UNDER_WAY | {GenerationState.CUTOVER}
        return next((each for each in reversed(list(self)) if each.state in states), None)

    @property
    def kept(self) -> GenerationRecord | None:
        """Return the generation to go back to."""
        return next((each for each in self if each.state is GenerationState.KEPT), None)

    @property
    def in_cutover(self) -> bool:
        """Whether accepting is passing from one generation to the next right now."""
        return any(each.state is GenerationState.CUTOVER for each in self)

    @property
    def total(self) -> Totals:
        """Return what all workers have done, those that live and those that have gone."""
        reports = (worker.report for generation in self for worker in generation.workers.values())
        return self.totals.plus(report for report in reports if report is not None)

    def pids(self) -> Iterator[int]:
        """Return the pids of all our processes, as far as they are known."""
        for generation in self:
            pids = (generation.pid, *(worker.pid for worker in generation.workers.values()))
            yield from (pid for pid in pids if pid is not None)
        if self.status is not None and self.status.pid is not None:
            yield self.status.pid

    def worker(self, source: Source) -> WorkerRecord | None:
        generation = self.generations.get(source.generation)
        return generation.workers.get(source.worker) if generation else None

    # What the controller has done ------------------------------------------------------------------------------------

    def generation_started(self, number: int, settings: Settings, trigger: str, pid: int, now: float) -> None:
        self.newest = self.latest = number
        self.page = None
        if self.has_served:
            self.reload_at = now
        self.generations[number] = GenerationRecord(number, settings, trigger, now, pid)

    def next_source(self, number: int) -> Source:
        """Return the name of the next worker of a generation; a name is used once."""
        generation = self.generations[number]
        generation.forked += 1
        return Source(number, generation.forked)

    def worker_forked(self, source: Source, now: float) -> None:
        generation = self.generations[source.generation]
        generation.workers[source.worker] = WorkerRecord(source, now, term=generation.started_at)

    def told_to_leave(self, source: Source, kill_at: float) -> None:
        record = self._worker(source)
        record.step(WorkerStep.TOLD_TO_LEAVE)
        record.kill_at = min(record.kill_at, kill_at)

    def told_to_stop(self, source: Source) -> None:
        self._worker(source).stops = True

    def killed(self, source: Source) -> None:
        self._worker(source).step(WorkerStep.WAS_KILLED)

    def cutover_began(self, number: int, until: float) -> None:
        generation = self.generations[number]
        generation.step(GenerationStep.CUTOVER_BEGAN)
        generation.cutover_until = until

    def cutover_finished(self, number: int, now: float, kills: int | None = None) -> None:
        """Note that a generation serves from now on, and none other does; the one before is kept, if it can be.

        :param kills: how many processes the kernel has killed for want of memory so far; None: that is not known.
        """
        for each in self:
            if each.state is GenerationState.KEPT:
                each.step(GenerationStep.LET_GO)
            elif each.state is GenerationState.SERVING:
                each.step(GenerationStep.WAS_KEPT if each.may_be_kept else GenerationStep.SUPERSEDED)
                each.kept_until = now + each.settings.keep_previous
        generation = self.generations[number]
        generation.step(GenerationStep.STARTED)
        generation.served_since = now
        generation.kills = kills
        generation.first, generation.crashed = {worker.source.worker for worker in generation.active}, set()
        self.has_served |= generation.trigger != PAGE
        if self.page is not None and self.page.refusal.generation < number:
            self.page = None

    def recalled(self, number: int, now: float) -> None:
        """Note that a kept generation is to serve again; all that happens to it from now on is of this second term."""
        generation = self.generations[number]
        generation.step(GenerationStep.RECALLED)
        generation.trigger, generation.started_at = ROLLBACK, now
        generation.failure, generation.forks = None, Backoff()
        generation.step_fork_server(ForkServerStep.CONTINUED)
        self.latest = number

    def let_go(self, number: int) -> None:
        self.generations[number].step(GenerationStep.LET_GO)

    def refused(self, number: int, now: float) -> None:
        generation = self.generations[number]
        generation.step(GenerationStep.WAS_REFUSED)
        if generation.trigger in (REPAIR, LAST_RESORT):
            self._repair_failed(generation.failure, generation.started_at, now)

    def reload_ended(
        self, generation: GenerationRecord, result: str, at: float, now: float, failure: LoadFailed | None = None
    ) -> None:
        """Note the end of a reload, for those who ask how it went; the first start is none.

        :param result: ``finished``, ``refused`` or ``abandoned``.
        :param at: seconds since the epoch.
        """
        if self.has_served:
            reason, traceback = (failure.message, failure.details[-LONGEST_TRACEBACK:]) if failure else ("", "")
            seconds = now - generation.started_at
            self.totals.ended(Reload(generation.number, generation.trigger, at, seconds, result, reason, traceback))

    def start_failed(self, number: int, trigger: str, now: float) -> None:
        """Note that not even a process could be started for a generation; it has no record, and is refused."""
        self.newest = self.latest = number
        self.page = None
        if self.has_served:
            self.reload_at = now
        if trigger in (REPAIR, LAST_RESORT):
            self._repair_failed(None, now, now)

    def _repair_failed(self, failure: LoadFailed | None, since: float, now: float) -> None:
        self.repairs.failed(now, since)
        if (serving := self.serving) is not None:
            changed = failure is not None and failure.kind == "changed"
            serving.repair = Repair.CHANGED if changed else Repair.FAILED

    def fork_server_told_to_end(self, number: int, kill_at: float) -> None:
        generation = self.generations[number]
        generation.step_fork_server(ForkServerStep.TOLD_TO_END)
        generation.end_until = kill_at

    def fork_server_killed(self, number: int) -> None:
        generation = self.generations[number]
        generation.step_fork_server(ForkServerStep.WAS_KILLED)
        generation.end_until = math.inf

    def given_up(self, source: Source, now: float) -> None:
        """Drop the record of a worker whose process was never known, and cannot come to life any more."""
        self._worker_exited(self.generations[source.generation], self._worker(source), None, now)

    def forgotten(self, number: int) -> None:
        del self.generations[number]

    def suspected(self, source: Source, now: float) -> None:
        self._worker(source).suspected_at = now

    def measured(self, memory: dict[Source, int], total: int, again_at: float, limit: int = 0) -> None:
        """Note what was measured, in bytes. The total counts only while one generation alone has workers: old ones
        that are still finishing need theirs for a moment.

        :param limit: what the control group allows; 0: as much as they want.
        """
        self.memory_limit = limit
        for source, size in memory.items():
            self._worker(source).memory = size
        self.memory = total if sum(bool(each.workers) for each in self) == 1 else 0
        self.measure_at = again_at

    # What the others say ---------------------------------------------------------------------------------------------

    def apply(self, source: Source, message: Message, now: float) -> None:
        """Note what a fork server or worker has said. A message of one that is forgotten already is none of note.

        :raises KeyError: a step that the tables do not know.
        """
        generation = self.generations.get(source.generation)
        if generation is None:
            return
        if source.worker == 0:
            _FROM_FORK_SERVER[type(message)](generation, message)
        elif (worker := generation.workers.get(source.worker)) is not None:
            _FROM_WORKER[type(message)](generation, worker, message, now)

    def exited(self, pid: int, status: int, now: float, kills: int | None = None) -> Departure | None:
        """Note an exit. None: the pid is not one of ours (an orphan of the application that the kernel gave us).

        :param kills: how many processes the kernel has killed for want of memory so far; None: that is not known.
        """
        for generation in self:
            if generation.pid == pid:
                return self._fork_server_exited(generation, status, now)
            for worker in generation.workers.values():
                if worker.pid == pid:
                    return self._worker_exited(generation, worker, status, now, kills)
        return None

    def stillborn(self, source: Source, now: float) -> Departure | None:
        """Note the end of a worker's channel. It is news only of a worker that has never told its pid: others exit."""
        worker = self.worker(source)
        if worker is None or worker.pid is not None:
            return None
        return self._worker_exited(self.generations[source.generation], worker, None, now)

    def _worker(self, source: Source) -> WorkerRecord:
        return self.generations[source.generation].workers[source.worker]

    def _fork_server_exited(self, generation: GenerationRecord, status: int, now: float) -> Departure:
        generation.pid = None
        if generation.state in UNDER_WAY:
            _fail(generation, _premature("the fork server", status))
        elif generation.state is GenerationState.KEPT:
            generation.step(GenerationStep.LET_GO)
        elif generation.state in (GenerationState.CUTOVER, GenerationState.SERVING):
            self.repairs.failed(now, generation.started_at)
        return Departure(generation, None, None)

    def _worker_exited(
        self,
        generation: GenerationRecord,
        worker: WorkerRecord,
        status: int | None,
        now: float,
        kills: int | None = None,
    ) -> Departure:
        before = worker.state
        worker.step(WorkerStep.EXITED)
        self.memory = 0  # it takes its share along
        del generation.workers[worker.source.worker]
        if worker.report is not None:
            self.totals.add(worker.report)
        self.totals.exited(_cause(before, status))
        if worker.ready_at == math.inf or (before in ACTIVE and worker.has_died_at_start(now)):
            generation.forks.failed(now, worker.forked_at)
        elif before in ACTIVE:
            generation.forks.went_well()
        if before in ACTIVE and now - generation.served_since < TRIAL and _by_itself(generation, status, kills):
            generation.crashed.add(worker.source.worker)
        if before is WorkerState.STARTING and generation.state in UNDER_WAY:
            _fail(generation, _premature(f"worker {worker.source}", status))
        return Departure(generation, worker, before)


def _by_itself(generation: GenerationRecord, status: int | None, kills: int | None) -> bool:
    """Whether a worker has died of what it has executed. With status 0 it was asked to leave. SIGKILL comes from
    somebody, which says nothing about the code, or from the kernel, when the code needs more memory than there is.
    """
    if status == -signal.SIGKILL:
        return kills is None or kills != generation.kills
    return status != 0


def _cause(before: WorkerState, status: int | None) -> str:
    """Name what has ended a worker, for the metrics: a few words that stay."""
    if before is WorkerState.KILLED:
        return "killed"
    if status is None:
        return "unknown"
    if status < 0:
        return "signal"
    return "status" if status else "retired"


def _premature(who: str, status: int | None) -> str:
    """Describe the end of a process that has not become ready."""
    if status == EXIT_CLOSED:
        return "the application has closed descriptors that it had not opened, during its import (os.closerange?)"
    return f"{who} died before the application was ready ({how(status)})"


def how(status: int | None) -> str:
    """Return how a process has ended, as a field of a log line: ``signal=SIGKILL``, ``status=1``."""
    if status is None:
        return "status=unknown"
    if status >= 0:
        return f"status={status}"
    try:
        return f"signal={signal.Signals(-status).name}"
    except ValueError:  # a real-time signal has no name
        return f"signal={-status}"


def _fail(generation: GenerationRecord, message: str) -> None:
    """Note a reason to refuse the generation, unless there is one already, which says more."""
    if generation.failure is None:
        generation.failure = LoadFailed("app", message)


def _configured(generation: GenerationRecord, message: Any) -> None:
    generation.settings = checked(message.settings)


def _loaded(generation: GenerationRecord, message: Any) -> None:
    generation.step(GenerationStep.LOADED)
    generation.files = frozenset(message.files)
    generation.trees, generation.unwatched = frozenset(message.trees), frozenset(message.unwatched)
    generation.stamps = dict(zip(message.files, message.stamps, strict=False))
    generation.told_of_exits = message.told_of_exits


def _load_failed(generation: GenerationRecord, message: Any) -> None:
    generation.failure = message
    generation.files |= frozenset(message.files)


def _born(generation: GenerationRecord, worker: WorkerRecord, message: Any, now: float) -> None:
    worker.pid = message.pid
    generation.answered_at = now


def _ready(generation: GenerationRecord, worker: WorkerRecord, message: Any, now: float) -> None:
    worker.step(WorkerStep.BECAME_READY)
    worker.ready_at = worker.reported_at = now
    generation.files |= frozenset(message.files)


def _frozen(generation: GenerationRecord, worker: WorkerRecord, message: Any, now: float) -> None:
    worker.step(WorkerStep.FROZE)
    if worker.kill_at == math.inf:  # nobody here has told it to
        worker.kill_at = now + generation.settings.deadman_timeout + GRACE


def _reported(generation: GenerationRecord, worker: WorkerRecord, message: Any, now: float) -> None:
    worker.report = message
    worker.has_ferried |= message.ferries > 0
    worker.reported_at = now
    worker.suspected_at = math.inf


def _unwell(generation: GenerationRecord, worker: WorkerRecord, message: Any, now: float) -> None:
    worker.unwell = message.reason


def _no_news(generation: GenerationRecord, worker: WorkerRecord, message: Any, now: float) -> None:
    """Do nothing: a worker's answer about its threads is for the client that has asked (``commands.py``)."""


def _worker_load_failed(generation: GenerationRecord, worker: WorkerRecord, message: Any, now: float) -> None:
    _load_failed(generation, message)


_FROM_FORK_SERVER: dict[type[Any], Callable[[GenerationRecord, Any], None]] = {
    Configured: _configured,
    Loaded: _loaded,
    LoadFailed: _load_failed,
}

_FROM_WORKER: dict[type[Any], Callable[[GenerationRecord, WorkerRecord, Any, float], None]] = {
    Born: _born,
    Ready: _ready,
    Frozen: _frozen,
    Report: _reported,
    Details: _no_news,
    Unwell: _unwell,
    LoadFailed: _worker_load_failed,
}
