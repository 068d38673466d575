"""What all workers together have done since the service was started: counts that only grow.

A worker reports totals since its birth. While it lives its last report counts; when it has gone, :class:`Totals` keeps
that. So the sum of both never goes back, whatever dies, is reloaded, or is upgraded in place: the totals
travel with the other records (``state.py``). What a worker that was killed has done since its last report, a second at
most, is lost.

Rules: bookkeeping only, as in ``fleet.py``.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from itertools import zip_longest

from spawning.ipc.messages import Report

MOST_RELOADS = 20  # that are remembered
LONGEST_TRACEBACK = 20_000  # characters of it that are remembered: its end


@dataclass(frozen=True, slots=True)
class Reload:
    """How a reload, rollback or repair has ended.

    :param generation: its number.
    :param trigger: what had asked for it.
    :param at: when it ended (seconds since the epoch).
    :param seconds: that it has taken.
    :param result: ``finished``, ``refused`` or ``abandoned``.
    :param reason: why it was refused, one line, or empty.
    :param traceback: the application's, or empty.
    """

    generation: int
    trigger: str
    at: float
    seconds: float
    result: str
    reason: str = ""
    traceback: str = ""


@dataclass(slots=True)
class Totals:
    """Sums of reports; see :class:`~spawning.ipc.messages.Report` for the fields that have the same names.

    :ivar exits: cause to number of workers that have exited.
    :ivar results: result to number of reloads.
    :ivar reloads: the last ones, the oldest first.
    """

    requests: int = 0
    errors: int = 0
    inline: int = 0
    refused: int = 0
    seconds: float = 0.0
    waited: float = 0.0
    prompt: int = 0
    sent: int = 0
    latency: list[int] = field(default_factory=list)
    waits: list[int] = field(default_factory=list)
    lost: dict[str, int] = field(default_factory=dict)
    statuses: dict[str, dict[str, int]] = field(default_factory=dict)
    exits: dict[str, int] = field(default_factory=dict)
    results: dict[str, int] = field(default_factory=dict)
    reloads: list[Reload] = field(default_factory=list)

    def add(self, report: Report) -> None:
        """Add what a worker has done that has gone."""
        self.requests += report.requests
        self.errors += report.errors
        self.inline += report.inline
        self.refused += report.refused
        self.seconds += report.seconds
        self.waited += report.waited
        self.prompt += report.prompt
        self.sent += report.sent
        self.latency = _added(self.latency, report.latency)
        self.waits = _added(self.waits, report.waits)
        _count(self.lost, report.lost)
        for method, statuses in report.statuses.items():
            _count(self.statuses.setdefault(method, {}), statuses)

    def plus(self, reports: Iterable[Report]) -> "Totals":
        """Return these totals with what workers that live have done so far."""
        statuses = {method: dict(counts) for method, counts in self.statuses.items()}
        copy = replace(self, lost=dict(self.lost), statuses=statuses)  # the other collections are not changed in place
        for report in reports:
            copy.add(report)
        return copy

    def exited(self, cause: str) -> None:
        """Count the exit of a worker."""
        _count(self.exits, {cause: 1})

    def ended(self, reload: Reload) -> None:
        """Note the end of a reload."""
        _count(self.results, {reload.result: 1})
        self.reloads = [*self.reloads, reload][-MOST_RELOADS:]


def _added(left: list[int], right: list[int]) -> list[int]:
    return [a + b for a, b in zip_longest(left, right, fillvalue=0)]


def _count(counts: dict[str, int], more: dict[str, int]) -> None:
    for name, count in more.items():
        counts[name] = counts.get(name, 0) + count
