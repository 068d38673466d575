"""The controller's records: one of a generation, one of a worker, and when to try again after a failure.

Rules: bookkeeping only. No system call, no clock (the time comes in as a parameter, seconds of a monotonic clock), no
decision. Each record has one state, and the table beside it lists every step there is; a step that is not in the table
is a bug and raises.
"""

import math
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

from spawning.address import parse
from spawning.ipc.messages import LoadFailed, Report
from spawning.settings import Settings

REPAIR = "repair"  # the trigger of a generation that replaces one whose fork server has died, from the same files
LAST_RESORT = "last resort"  # … from whatever files there are, when no worker is left
ROLLBACK = "rollback"  # the trigger of a generation that is to serve again
PAGE = "page"  # … of one that serves nothing but why another was refused (``--reload dev``)
UNASKED = frozenset({REPAIR, LAST_RESORT, PAGE})  # triggers of what nobody outside has asked for
STEADY = 10.0  # seconds that a process must have lived for its death not to count as part of a crash loop
GRACE = 1.0  # seconds after the time that a worker was given to finish, for its own last words
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 30.0  # seconds between replacements in a crash loop
LONGEST_ALONE = 1.0  # … and while nobody serves
AT_START = 1.0  # seconds after it became ready in which a worker that has served nobody dies of its start
TRIAL = 10.0  # seconds after its cutover in which a generation shows whether its workers survive
ORDER_SECONDS = 10.0  # seconds from an order to fork, or the last birth, to the next one
END_SECONDS = 5.0  # seconds that a fork server may take to end


class Source(NamedTuple):
    """The sender of a message: a worker, or (worker 0) the fork server of a generation."""

    generation: int
    worker: int = 0

    def __str__(self) -> str:
        return f"{self.generation}.{self.worker}" if self.worker else str(self.generation)


class Process(NamedTuple):
    """A process that is no worker and no fork server: `started` is when, in clock ticks since the machine was."""

    pid: int
    started: int


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
    (_W.RETIRING, _WS.TOLD_TO_LEAVE): _W.RETIRING,  # once more, since nobody takes its connections any more
    (_W.FROZEN, _WS.TOLD_TO_LEAVE): _W.FROZEN,
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


class ForkServerState(Enum):
    RUNNING = "running"
    PAUSED = "paused"  # stopped: nobody needs it at present, and its threads are not to run beside newer ones
    ENDING = "ending"  # told to end
    KILLED = "killed"


class ForkServerStep(Enum):
    WAS_PAUSED = "was paused"
    CONTINUED = "continued"
    TOLD_TO_END = "told to end"
    WAS_KILLED = "was killed"


_F, _FS = ForkServerState, ForkServerStep
FORK_SERVER_STEPS: dict[tuple[ForkServerState, ForkServerStep], ForkServerState] = {
    (_F.RUNNING, _FS.WAS_PAUSED): _F.PAUSED,
    (_F.PAUSED, _FS.CONTINUED): _F.RUNNING,
    (_F.RUNNING, _FS.CONTINUED): _F.RUNNING,
    (_F.RUNNING, _FS.TOLD_TO_END): _F.ENDING,
    (_F.PAUSED, _FS.TOLD_TO_END): _F.ENDING,
    **{(state, _FS.WAS_KILLED): _F.KILLED for state in _F},
}


class Repair(Enum):
    """How it went to replace the dead fork server of a generation that serves."""

    UNTRIED = "untried"
    FAILED = "failed"
    CHANGED = "changed"  # the files on the disk are not those that this generation has loaded


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

    def went_well(self) -> None:
        """Note that what was started has done its work for a while: whatever failed before is over."""
        self.pause, self.not_before = 0.0, -math.inf

    def at(self, *, alone: bool) -> float:
        """Return when to try again.

        :param alone: nobody else does the work meanwhile, so that the pause is short.
        """
        return min(self.not_before, self.changed_at + LONGEST_ALONE) if alone else self.not_before


@dataclass(slots=True)
class WorkerRecord:
    """The controller's record of one worker."""

    source: Source
    forked_at: float
    state: WorkerState = WorkerState.STARTING
    pid: int | None = None
    kill_at: float = math.inf
    report: Report | None = None
    ready_at: float = math.inf
    memory: int = 0  # bytes, when it was measured last
    announced: bool = False  # it tells its clients that the service will end
    ends_streams: bool = False  # it was told not to wait for event streams
    stops: bool = False  # it was told that the service ends
    unwell: str = ""  # why it wants to be replaced
    reported_at: float = math.inf
    suspected_at: float = math.inf  # when it was first noticed that it does not report any more
    has_ferried: bool = False  # it has reported ferries
    term: float = -math.inf  # when the term of its generation began in which it was forked

    @property
    def is_active(self) -> bool:
        """Whether it serves, or will."""
        return self.state in ACTIVE

    @property
    def is_leaving(self) -> bool:
        """Whether it is on its way out, at its own pace."""
        return self.state in _LEAVING

    @property
    def is_nameless(self) -> bool:
        """Whether its process, if there is one, is not known."""
        return self.pid is None

    @property
    def only_ferries(self) -> bool:
        """Whether it carries for others (``worker/ferry.py``), or has, and has nothing of its own left to do."""
        report = self.report
        if report is None or not self.has_ferried:
            return False
        return report.executing == report.queued == report.connections == 0

    def has_died_at_start(self, now: float) -> bool:
        """Whether one that dies now has never got to work."""
        return self.ready_at == math.inf or (
            now - self.ready_at < AT_START and (self.report is None or self.report.requests == 0)
        )

    def step(self, step: WorkerStep) -> None:
        self.state = WORKER_STEPS[self.state, step]


@dataclass(slots=True)
class GenerationRecord:
    """The controller's record of one generation: its fork server and its workers.

    One that a rollback has made serve again has the workers of both terms; those of the first are leaving.
    """

    number: int
    settings: Settings
    trigger: str
    started_at: float
    pid: int | None  # of the fork server; None once it has exited
    state: GenerationState = GenerationState.LOADING
    fork_server: ForkServerState = ForkServerState.RUNNING
    end_until: float = math.inf  # when a fork server that was told to end is killed
    answered_at: float = -math.inf  # when a worker was born last
    helpers: list[Process] = field(default_factory=list)  # what the application has started in the fork server
    stamps: dict[str, str] = field(default_factory=dict)  # what the files were like that it has loaded
    told_of_exits: bool = False  # the fork server wants to know of workers that have gone
    repair: Repair = Repair.UNTRIED
    files: frozenset[str] = frozenset()
    trees: frozenset[str] = frozenset()  # directories that are watched with all that is below them
    unwatched: frozenset[str] = frozenset()  # … but for these
    listeners: list[str] = field(default_factory=list)  # the addresses that it listens on (``address.py``)
    failure: LoadFailed | None = None
    cutover_until: float = math.inf
    kept_until: float = math.inf
    workers: dict[int, WorkerRecord] = field(default_factory=dict)
    forked: int = 0
    forks: Backoff = field(default_factory=Backoff)
    served_since: float = -math.inf
    first: set[int] = field(default_factory=set)  # the workers that served first
    crashed: set[int] = field(default_factory=set)  # those that died within TRIAL by themselves
    kills: int | None = None  # as of the cutover, processes that the kernel had killed for want of memory (``memory``)

    @property
    def ended(self) -> bool:
        """Whether the fork server was told to end, or killed: its exit is no news."""
        return self.fork_server in (ForkServerState.ENDING, ForkServerState.KILLED)

    @property
    def boot_until(self) -> float:
        return self.started_at + self.settings.boot_timeout

    @property
    def ferrying(self) -> float:
        """Seconds that its workers may take beyond ``--deadman_timeout`` for connections that others serve.

        Such a connection is idle for that long at most, and then a request on it has as long as any.
        """
        return self.settings.keepalive_timeout if any(parse(each).secure for each in self.listeners) else 0.0

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

    def answer_until(self, worker: WorkerRecord) -> float:
        """Return until when the fork server may take to fork a worker; one that does something has time."""
        return max(worker.forked_at, self.answered_at) + min(ORDER_SECONDS, self.settings.boot_timeout)

    def step_fork_server(self, step: ForkServerStep) -> None:
        self.fork_server = FORK_SERVER_STEPS[self.fork_server, step]

    def step(self, step: GenerationStep) -> None:
        self.state = GENERATION_STEPS[self.state, step]
