"""The controller's records: one of a generation, one of a worker, and when to try again after a failure.

Rules: bookkeeping only. No system call, no clock (the time comes in as a parameter, seconds of a monotonic clock), no
decision. Each record has one state, and the table beside it lists every step there is; a step that is not in the table
is a bug and raises.
"""

import math
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

from spawning.ipc.messages import LoadFailed, Report
from spawning.settings import Settings

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
ACTIVE = frozenset({_W.STARTING, _W.READY, _W.SERVING})
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
        return self.state in ACTIVE

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
