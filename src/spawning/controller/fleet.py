"""The controller's records of all generations and workers, and what each message and exit does to them.

Rules: bookkeeping only. No system call, no clock (the time comes in as a parameter, seconds of a monotonic clock), no
decision: what is to be done next is said by ``plan.py`` from these records. Each record has one state, and the table
beside it lists every step there is; a step that is not in the table is a bug and raises.
"""

import math
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, NamedTuple

from spawning.controller.refusal import Refusal
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

REPAIR = "repair"  # the trigger of a generation that replaces one whose fork server has died
ROLLBACK = "rollback"  # the trigger of a generation that is to serve again
STEADY = 10.0  # seconds that a process must have lived for its death not to count as part of a crash loop
GRACE = 1.0  # seconds after the time that a worker was given to finish, for its own last words
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 30.0  # seconds between replacements in a crash loop


class Source(NamedTuple):
    """Who sent a message: a worker, or (worker 0) the fork server of a generation."""

    generation: int
    worker: int = 0

    def __str__(self) -> str:
        return f"{self.generation}.{self.worker}" if self.worker else str(self.generation)


class WorkerState(Enum):
    STARTING = "starting"
    READY = "ready"
    SERVING = "serving"
    RETIRING = "retiring"  # told to stop accepting and to exit
    FROZEN = "frozen"  # has stopped accepting
    KILLED = "killed"
    GONE = "gone"


class WorkerStep(Enum):
    BECAME_READY = "became ready"
    STARTED = "started"
    TOLD_TO_LEAVE = "told to leave"
    FROZE = "froze"
    WAS_KILLED = "was killed"
    EXITED = "exited"


_W, _WS = WorkerState, WorkerStep
WORKER_STEPS: dict[tuple[WorkerState, WorkerStep], WorkerState] = {
    (_W.STARTING, _WS.BECAME_READY): _W.READY,
    (_W.READY, _WS.STARTED): _W.SERVING,
    (_W.READY, _WS.TOLD_TO_LEAVE): _W.RETIRING,
    (_W.SERVING, _WS.TOLD_TO_LEAVE): _W.RETIRING,
    (_W.READY, _WS.FROZE): _W.FROZEN,  # somebody else has sent it SIGTERM
    (_W.SERVING, _WS.FROZE): _W.FROZEN,
    (_W.RETIRING, _WS.FROZE): _W.FROZEN,
    (_W.FROZEN, _WS.FROZE): _W.FROZEN,
    (_W.KILLED, _WS.BECAME_READY): _W.KILLED,  # sent before the signal arrived
    (_W.KILLED, _WS.FROZE): _W.KILLED,
    **{(state, _WS.WAS_KILLED): _W.KILLED for state in _W if state is not _W.GONE},
    **{(state, _WS.EXITED): _W.GONE for state in _W if state is not _W.GONE},
}


class GenerationState(Enum):
    LOADING = "loading"  # its fork server imports the application
    FORKING = "forking"  # its workers become ready
    CUTOVER = "cutover"  # the workers before it are told to stop accepting
    SERVING = "serving"
    KEPT = "kept"  # another serves in its place; its fork server stays for a while, to go back to
    RETIRING = "retiring"  # another serves in its place, or the service ends
    REFUSED = "refused"  # not to be served: failed, or a newer one was asked for


class GenerationStep(Enum):
    LOADED = "loaded"
    WAS_REFUSED = "was refused"
    CUTOVER_BEGAN = "cutover began"
    STARTED = "started"
    SUPERSEDED = "superseded"
    WAS_KEPT = "was kept"
    RECALLED = "recalled"
    LET_GO = "let go"


_G, _GS = GenerationState, GenerationStep
GENERATION_STEPS: dict[tuple[GenerationState, GenerationStep], GenerationState] = {
    (_G.LOADING, _GS.LOADED): _G.FORKING,
    (_G.LOADING, _GS.WAS_REFUSED): _G.REFUSED,
    (_G.FORKING, _GS.WAS_REFUSED): _G.REFUSED,
    (_G.FORKING, _GS.CUTOVER_BEGAN): _G.CUTOVER,
    (_G.CUTOVER, _GS.STARTED): _G.SERVING,
    (_G.SERVING, _GS.SUPERSEDED): _G.RETIRING,
    (_G.SERVING, _GS.WAS_KEPT): _G.KEPT,
    (_G.KEPT, _GS.RECALLED): _G.FORKING,
    (_G.KEPT, _GS.LET_GO): _G.RETIRING,
    (_G.REFUSED, _GS.LOADED): _G.REFUSED,  # sent before the fork server was killed
}

UNDER_WAY = frozenset({_G.LOADING, _G.FORKING})
_ACTIVE = frozenset({_W.STARTING, _W.READY, _W.SERVING})
_LEAVING = frozenset({_W.RETIRING, _W.FROZEN})


@dataclass(slots=True)
class Backoff:
    """When to try again after a failure: at once unless it is part of a loop, else after a pause that doubles."""

    pause: float = 0.0
    not_before: float = -math.inf
    changed_at: float = -math.inf

    def failed(self, now: float, since: float) -> None:
        """Note a failure of what was started at time `since`. Those that fail together count once."""
        if now - since >= STEADY:
            self.pause = 0.0
        elif since >= self.changed_at:
            self.pause = min(max(FIRST_PAUSE, self.pause * 2), LONGEST_PAUSE)
        else:
            return
        self.changed_at = now
        self.not_before = now + self.pause


@dataclass(slots=True)
class WorkerRecord:
    """What the controller knows of one worker."""

    source: Source
    forked_at: float
    state: WorkerState = WorkerState.STARTING
    pid: int | None = None
    kill_at: float = math.inf
    report: Report | None = None
    memory: int = 0  # bytes, when it was measured last
    announced: bool = False  # it tells its clients that the service will end
    unwell: str = ""  # why it wants to be replaced
    reported_at: float = math.inf
    suspected_at: float = math.inf  # when it was first noticed that it does not report any more

    @property
    def is_active(self) -> bool:
        """Whether it serves, or will."""
        return self.state in _ACTIVE

    @property
    def is_leaving(self) -> bool:
        """Whether it is on its way out, at its own pace."""
        return self.state in _LEAVING

    def step(self, step: WorkerStep) -> None:
        self.state = WORKER_STEPS[self.state, step]


@dataclass(slots=True)
class GenerationRecord:
    """What the controller knows of one generation: its fork server and its workers.

    One that a rollback has made serve again has the workers of both terms; those of the first are leaving.
    """

    number: int
    settings: Settings
    trigger: str
    started_at: float
    pid: int | None  # of the fork server; None once it has exited
    state: GenerationState = GenerationState.LOADING
    ended: bool = False  # the fork server was told to end, its exit is no news
    files: frozenset[str] = frozenset()
    failure: LoadFailed | None = None
    cutover_until: float = math.inf
    kept_until: float = math.inf
    workers: dict[int, WorkerRecord] = field(default_factory=dict)
    forked: int = 0
    forks: Backoff = field(default_factory=Backoff)

    @property
    def boot_until(self) -> float:
        return self.started_at + self.settings.boot_timeout

    @property
    def active(self) -> list[WorkerRecord]:
        """Its workers that serve or will, oldest first."""
        return [worker for worker in self.workers.values() if worker.is_active]

    @property
    def may_be_kept(self) -> bool:
        """Whether there is something in memory to go back to."""
        settings = self.settings
        return self.pid is not None and not self.ended and not settings.no_preload and settings.keep_previous > 0

    @property
    def is_empty(self) -> bool:
        """Whether no process of it is left."""
        return self.pid is None and not self.workers

    def step(self, step: GenerationStep) -> None:
        self.state = GENERATION_STEPS[self.state, step]


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
    has_served: bool = False
    reload_at: float = -math.inf  # when the last reload began
    memory: int = 0  # bytes of all processes together, when they were measured last
    measure_at: float = -math.inf
    repairs: Backoff = field(default_factory=Backoff)
    last_refusal: Refusal | None = None

    # Reading ---------------------------------------------------------------------------------------------------------

    def __iter__(self) -> Iterator[GenerationRecord]:
        return iter(list(self.generations.values()))

    @property
    def serving(self) -> GenerationRecord | None:
        """Give the generation that serves; during a cutover that is still the one before."""
        return next((each for each in self if each.state is GenerationState.SERVING), None)

    @property
    def under_way(self) -> GenerationRecord | None:
        """Give the newest generation that is loading, forking or in its cutover."""
        states = UNDER_WAY | {GenerationState.CUTOVER}
        return next((each for each in reversed(list(self)) if each.state in states), None)

    @property
    def kept(self) -> GenerationRecord | None:
        """Give the generation to go back to."""
        return next((each for each in self if each.state is GenerationState.KEPT), None)

    @property
    def in_cutover(self) -> bool:
        """Whether accepting is passing from one generation to the next right now."""
        return any(each.state is GenerationState.CUTOVER for each in self)

    def worker(self, source: Source) -> WorkerRecord | None:
        generation = self.generations.get(source.generation)
        return generation.workers.get(source.worker) if generation else None

    # What the controller has done ------------------------------------------------------------------------------------

    def generation_started(self, number: int, settings: Settings, trigger: str, pid: int, now: float) -> None:
        self.newest = self.latest = number
        if self.has_served:
            self.reload_at = now
        self.generations[number] = GenerationRecord(number, settings, trigger, now, pid)

    def next_source(self, number: int) -> Source:
        """Give the name of the next worker of a generation; a name is used once."""
        generation = self.generations[number]
        generation.forked += 1
        return Source(number, generation.forked)

    def worker_forked(self, source: Source, now: float) -> None:
        self.generations[source.generation].workers[source.worker] = WorkerRecord(source, now)

    def told_to_leave(self, source: Source, kill_at: float) -> None:
        record = self._worker(source)
        record.step(WorkerStep.TOLD_TO_LEAVE)
        record.kill_at = kill_at

    def killed(self, source: Source) -> None:
        self._worker(source).step(WorkerStep.WAS_KILLED)

    def cutover_began(self, number: int, until: float) -> None:
        generation = self.generations[number]
        generation.step(GenerationStep.CUTOVER_BEGAN)
        generation.cutover_until = until

    def cutover_finished(self, number: int, now: float) -> None:
        """Note that a generation serves from now on, and none other does; the one before is kept, if it can be."""
        for each in self:
            if each.state is GenerationState.KEPT:
                each.step(GenerationStep.LET_GO)
            elif each.state is GenerationState.SERVING:
                each.step(GenerationStep.WAS_KEPT if each.may_be_kept else GenerationStep.SUPERSEDED)
                each.kept_until = now + each.settings.keep_previous
        self.generations[number].step(GenerationStep.STARTED)
        self.has_served = True

    def recalled(self, number: int, now: float) -> None:
        """Note that a kept generation is to serve again; all that happens to it from now on is of this second term."""
        generation = self.generations[number]
        generation.step(GenerationStep.RECALLED)
        generation.trigger, generation.started_at = ROLLBACK, now
        generation.failure, generation.forks = None, Backoff()
        self.latest = number

    def let_go(self, number: int) -> None:
        self.generations[number].step(GenerationStep.LET_GO)

    def refused(self, number: int, now: float) -> None:
        generation = self.generations[number]
        generation.step(GenerationStep.WAS_REFUSED)
        if generation.trigger == REPAIR:
            self.repairs.failed(now, generation.started_at)

    def forgotten(self, number: int) -> None:
        del self.generations[number]

    def suspected(self, source: Source, now: float) -> None:
        self._worker(source).suspected_at = now

    def measured(self, memory: dict[Source, int], total: int, again_at: float) -> None:
        """Note what was measured, in bytes. The total counts only while one generation alone has workers: old ones
        that are still finishing need theirs for a moment.
        """
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

    def exited(self, pid: int, status: int, now: float) -> Departure | None:
        """Note an exit. None: the pid is not one of ours (an orphan of the application that the kernel gave us)."""
        for generation in self:
            if generation.pid == pid:
                return self._fork_server_exited(generation, status, now)
            for worker in generation.workers.values():
                if worker.pid == pid:
                    return self._worker_exited(generation, worker, status, now)
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
        elif generation.state is _G.KEPT:
            generation.step(GenerationStep.LET_GO)
        elif generation.state in (_G.CUTOVER, _G.SERVING) and not generation.ended:
            self.repairs.failed(now, generation.started_at)
        return Departure(generation, None, None)

    def _worker_exited(
        self, generation: GenerationRecord, worker: WorkerRecord, status: int | None, now: float
    ) -> Departure:
        before = worker.state
        worker.step(WorkerStep.EXITED)
        del generation.workers[worker.source.worker]
        if before in _ACTIVE:
            generation.forks.failed(now, worker.forked_at)
        if before is _W.STARTING and generation.state in UNDER_WAY:
            _fail(generation, _premature(f"worker {worker.source}", status))
        return Departure(generation, worker, before)


def _premature(who: str, status: int | None) -> str:
    """Describe the end of a process that has not become ready."""
    if status == EXIT_CLOSED:
        return "the application has closed descriptors that it had not opened, during its import (os.closerange?)"
    return f"{who} died before the application was ready ({how(status)})"


def how(status: int | None) -> str:
    """Say how a process has ended, as a field of a log line: ``signal=SIGKILL``, ``status=1``."""
    if status is None:
        return "status=unknown"
    if status >= 0:
        return f"status={status}"
    try:
        return f"signal={signal.Signals(-status).name}"
    except ValueError:  # a real-time signal has no name
        return f"signal={-status}"


def _fail(generation: GenerationRecord, message: str) -> None:
    """Give the generation a reason to be refused, unless there is one already, which says more."""
    if generation.failure is None:
        generation.failure = LoadFailed("app", message)


def _configured(generation: GenerationRecord, message: Any) -> None:
    generation.settings = checked(message.settings)


def _loaded(generation: GenerationRecord, message: Any) -> None:
    generation.step(GenerationStep.LOADED)
    generation.files = frozenset(message.files)


def _load_failed(generation: GenerationRecord, message: Any) -> None:
    generation.failure = message
    generation.files |= frozenset(message.files)


def _born(generation: GenerationRecord, worker: WorkerRecord, message: Any, now: float) -> None:
    worker.pid = message.pid


def _ready(generation: GenerationRecord, worker: WorkerRecord, message: Any, now: float) -> None:
    worker.step(WorkerStep.BECAME_READY)
    worker.reported_at = now
    generation.files |= frozenset(message.files)


def _frozen(generation: GenerationRecord, worker: WorkerRecord, message: Any, now: float) -> None:
    worker.step(WorkerStep.FROZE)
    if worker.kill_at == math.inf:  # nobody here has told it to
        worker.kill_at = now + generation.settings.deadman_timeout + GRACE


def _reported(generation: GenerationRecord, worker: WorkerRecord, message: Any, now: float) -> None:
    worker.report = message
    worker.reported_at = now
    worker.suspected_at = math.inf


def _unwell(generation: GenerationRecord, worker: WorkerRecord, message: Any, now: float) -> None:
    worker.unwell = message.reason


def _no_news(generation: GenerationRecord, worker: WorkerRecord, message: Any, now: float) -> None:
    """Do nothing: what a worker's threads are doing concerns whoever has asked (``commands.py``)."""


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
