"""What the plan can ask for: each action is a row of literal values, executed by ``executor.py``."""

from dataclasses import dataclass

from spawning.controller.records import Source


@dataclass(frozen=True, slots=True)
class StartGeneration:
    """Start the fork server of a new generation."""

    number: int
    trigger: str


@dataclass(frozen=True, slots=True)
class Refuse:
    """Kill all of a generation that cannot serve, and say why."""

    number: int
    reason: str


@dataclass(frozen=True, slots=True)
class Abandon:
    """Kill all of a generation that is no longer asked for."""

    number: int


@dataclass(frozen=True, slots=True)
class Recall:
    """Begin to make a kept generation serve again: new workers come from its memory. `reason` is why nobody had to ask
    for it, or empty.
    """

    number: int
    reason: str = ""


@dataclass(frozen=True, slots=True)
class LetGo:
    """Keep a generation no longer."""

    number: int


@dataclass(frozen=True, slots=True)
class Fork:
    """Have the fork server of a generation fork one more worker."""

    number: int


@dataclass(frozen=True, slots=True)
class BeginCutover:
    """Everything of a generation is ready: note it, the retiring of the workers before it comes next."""

    number: int
    until: float


@dataclass(frozen=True, slots=True)
class FinishCutover:
    """Nobody else accepts any more: a generation serves."""

    number: int


@dataclass(frozen=True, slots=True)
class StartWorker:
    """Let a worker accept."""

    source: Source


@dataclass(frozen=True, slots=True)
class RetireWorker:
    """Have a worker stop accepting, finish within `seconds` and exit."""

    source: Source
    seconds: float


@dataclass(frozen=True, slots=True)
class RecycleWorker:
    """As :class:`RetireWorker`, for a worker whose replacement serves already; `reason` is for the log."""

    source: Source
    seconds: float
    reason: str


@dataclass(frozen=True, slots=True)
class SuspectWorker:
    """Note that a worker does not report any more."""

    source: Source


@dataclass(frozen=True, slots=True)
class AnnounceEnd:
    """Have a worker tell its clients that the service will end."""

    source: Source


@dataclass(frozen=True, slots=True)
class StopWorker:
    """Have a worker accept what waits in the backlog, if it accepts, finish within `seconds` and exit. One that has
    been retired closes what it would have handed over.
    """

    source: Source
    seconds: float


@dataclass(frozen=True, slots=True)
class CutStreams:
    """Have a worker that is leaving not wait for event streams."""

    source: Source


@dataclass(frozen=True, slots=True)
class KillWorker:
    """End a worker at once."""

    source: Source
    reason: str


@dataclass(frozen=True, slots=True)
class GiveUpWorker:
    """Forget a worker that was to be killed and has never told its pid; its fork server is gone."""

    source: Source


@dataclass(frozen=True, slots=True)
class PauseForkServer:
    """Stop a fork server that nobody needs at present, so that its threads do not run beside newer ones."""

    number: int


@dataclass(frozen=True, slots=True)
class EndForkServer:
    """Have a fork server end that will not be asked again."""

    number: int


@dataclass(frozen=True, slots=True)
class KillForkServer:
    """End a fork server at once; `reason` is for the log, empty when it is no news."""

    number: int
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Forget:
    """Drop the record of a generation of which no process is left."""

    number: int


@dataclass(frozen=True, slots=True)
class MeasureMemory:
    """Measure what the workers, or all processes, need."""


@dataclass(frozen=True, slots=True)
class StartStatus:
    """Start the status service."""


@dataclass(frozen=True, slots=True)
class EndStatus:
    """Have the status service end."""


@dataclass(frozen=True, slots=True)
class KillStatus:
    """End the status service at once; `reason` is for the log, empty when it is no news."""

    reason: str = ""


@dataclass(frozen=True, slots=True)
class Finish:
    """Nothing is left: the controller may exit."""


Action = (
    StartGeneration
    | Refuse
    | Abandon
    | Recall
    | LetGo
    | Fork
    | BeginCutover
    | FinishCutover
    | StartWorker
    | RetireWorker
    | RecycleWorker
    | SuspectWorker
    | AnnounceEnd
    | StopWorker
    | CutStreams
    | KillWorker
    | GiveUpWorker
    | PauseForkServer
    | EndForkServer
    | KillForkServer
    | Forget
    | MeasureMemory
    | StartStatus
    | EndStatus
    | KillStatus
    | Finish
)
