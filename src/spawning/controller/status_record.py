"""The controller's record of the status service's process, and what to do next about it: pure, as ``plan.py``.

It is one process, which is started again whenever it ends and the service goes on. It serves until everything else has
ended, so that who asks ``/readyz`` is answered while the service drains. After an upgrade in place the one that the
earlier program has started is replaced. Its listening sockets belong to the controller: who connects meanwhile waits.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import Enum

from spawning.controller.actions import Action, EndStatus, KillStatus, StartStatus
from spawning.controller.records import END_SECONDS, Backoff, Source

STATUS = Source(0)
"""The name of its channel; generations are counted from 1."""

SILENCE = 30.0  # seconds without a report after which it is taken to hang; on a busy machine its start takes some


class StatusState(Enum):
    ABSENT = "absent"
    RUNNING = "running"
    ENDING = "ending"  # told to end
    KILLED = "killed"


class StatusStep(Enum):
    STARTED = "started"
    TOLD_TO_END = "told to end"
    WAS_KILLED = "was killed"
    EXITED = "exited"


_S, _T = StatusState, StatusStep
STATUS_STEPS: dict[tuple[StatusState, StatusStep], StatusState] = {
    (_S.ABSENT, _T.STARTED): _S.RUNNING,
    (_S.RUNNING, _T.TOLD_TO_END): _S.ENDING,
    (_S.RUNNING, _T.WAS_KILLED): _S.KILLED,
    (_S.ENDING, _T.WAS_KILLED): _S.KILLED,
    (_S.RUNNING, _T.EXITED): _S.ABSENT,
    (_S.ENDING, _T.EXITED): _S.ABSENT,
    (_S.KILLED, _T.EXITED): _S.ABSENT,
}


@dataclass(slots=True)
class StatusRecord:
    """See the module. Times are seconds of the controller's monotonic clock.

    :ivar pid: of the process; None when there is none.
    :ivar outdated: the program before this one has started it.
    :ivar heard_at: when it has said something last, or was started.
    :ivar end_until: when one that was told to end is killed.
    :ivar starts: when to start it again.
    """

    state: StatusState = StatusState.ABSENT
    pid: int | None = None
    outdated: bool = False
    started_at: float = -math.inf
    heard_at: float = -math.inf
    end_until: float = math.inf
    starts: Backoff = field(default_factory=Backoff)

    def started(self, pid: int, now: float) -> None:
        self.state = STATUS_STEPS[self.state, StatusStep.STARTED]
        self.pid, self.started_at, self.heard_at, self.outdated = pid, now, now, False

    def start_failed(self, now: float) -> None:
        """Note that not even a process could be started."""
        self.starts.failed(now, now)

    def told_to_end(self, now: float) -> None:
        self.state = STATUS_STEPS[self.state, StatusStep.TOLD_TO_END]
        self.end_until = now + END_SECONDS

    def killed(self) -> None:
        self.state = STATUS_STEPS[self.state, StatusStep.WAS_KILLED]

    def exited(self, now: float) -> StatusState:
        """Note its exit; returns the state before."""
        before = self.state
        self.state = STATUS_STEPS[before, StatusStep.EXITED]
        self.pid, self.end_until = None, math.inf
        if before is not StatusState.ENDING:
            self.starts.failed(now, self.started_at)
        return before


Due = Callable[[float], bool]


def keep(record: StatusRecord, due: Due) -> Iterator[Action]:
    """Yield what makes it serve."""
    if record.state is StatusState.ABSENT:
        if due(record.starts.not_before):
            yield StartStatus()
    elif record.state is StatusState.RUNNING:
        if record.outdated:
            yield EndStatus()
        elif due(record.heard_at + SILENCE):
            yield KillStatus(f"has not reported for {SILENCE:g} s")
    else:
        yield from _overdue(record, due)


def end(record: StatusRecord, due: Due) -> Iterator[Action]:
    """Yield what ends it in its own time."""
    if record.state is StatusState.RUNNING:
        yield EndStatus()
    else:
        yield from _overdue(record, due)


def kill(record: StatusRecord) -> Iterator[Action]:
    """Yield what ends it at once."""
    if record.state in (StatusState.RUNNING, StatusState.ENDING):
        yield KillStatus()


def _overdue(record: StatusRecord, due: Due) -> Iterator[Action]:
    if record.state is StatusState.ENDING and due(record.end_until):
        yield KillStatus(f"did not end within {END_SECONDS:g} s")
