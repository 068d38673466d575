"""Judging whether a route of the application waits or computes: hand its calls over, or run them inline.

An inline call that waits holds up the leader until the watchdog takes the lead from it, some 4 ms; a call that is
handed over costs two thread switches, and threads that compute fight for the interpreter lock. So calls are worth
handing over when the route spends a good part of its time waiting *within the first* ``HORIZON`` of a call: what
lies behind is covered by taking over.

Inline, a call is measured every few milliseconds: its voluntary context switches (a preempted thread makes none), its
time and its processor time. Calls during which the watchdog took the interpreter lock are not counted, since that looks
like waiting; neither is the waiting of calls beside which others execute, which want that lock too. A measured call
stands for all calls since the last one that was, a call that was taken over for itself alone, so that one call that
waits, or seems to on a busy machine, proves nothing about a thousand that did not.

Handed over, such a measurement means nothing, because other threads' calls look like waiting too. So from
time to time a *trial* runs one call inline while nothing else is under way; failed trials double the pause before the
next.

Pure: what was seen of a call comes in as :class:`Evidence`, the time with it; ``sensor`` measures it.
"""

from typing import Final, NamedTuple

from spawning.logs.log import Log

HORIZON: Final = 0.004  # seconds of waiting that count in one call
SAMPLE_EVERY: Final = 0.005  # seconds between measured calls …
_LONG: Final = 0.001  # … that take less than this; of longer ones each is measured
_WAITS_ABOVE: Final = 0.3  # share of the time spent waiting, above which calls are handed over
_NOTABLE: Final = 0.05  # share of its time that a call must wait to be one that was seen to wait
_LEAST_WAITS: Final = 4.0  # calls seen to wait, before that share counts
_ENOUGH: Final = 8  # calls to be measured before a route is known …
_SUSPICIOUS: Final = 0.5  # … and calls seen to wait lately that make it suspicious
_MEMORY: Final = 0.25  # seconds of running calls, after which what was seen counts half
_FIRST_PAUSE: Final = 0.25  # seconds until the first trial …
_LAST_PAUSE: Final = 4.0  # … and most between two
_TRIALS: Final = 3  # trials in a row that must compute

log = Log("spawning.worker")


class Evidence(NamedTuple):
    """The evidence of one call.

    :param now: (monotonic seconds) when.
    :param wall: seconds that the call had lasted by then.
    :param wait: seconds of these without the processor; not looked at if it was taken over.
    :param waited: it gave the processor up by itself.
    :param calls: inline calls of its route so far.
    :param alone: no other call was executing beside it.
    :param disturbed: the watchdog may have held the interpreter lock meanwhile.
    :param taken_over: the watchdog has taken the lead from it.
    """

    now: float
    wall: float
    wait: float = 0.0
    waited: bool = False
    calls: int = 1
    alone: bool = True
    disturbed: bool = False
    taken_over: bool = False


class Judge:
    """Judges one route by what was seen of its calls. Knows no clock.

    :param enabled: False where there is only one request thread: handing over would gain nothing.
    :param route: its name, for the log.

    :ivar inline: what to do with the next call.
    :ivar inline_until: (monotonic seconds) run calls inline, unmeasured, before this time; 0 when they are handed over.
    :ivar due: (monotonic seconds) inline: when to measure a call; handed over: when to try one inline.
    """

    __slots__ = (
        "_counted", "_counted_at", "_enabled", "_good", "_pause", "_route", "_seen", "_wait", "_waits", "_wall", "due",
        "inline", "inline_until",
    )  # fmt: skip

    def __init__(self, *, enabled: bool, route: str = "") -> None:
        self._enabled = enabled
        self._route = route
        self.inline = True
        self.due = self.inline_until = 0.0 if enabled else float("inf")
        self._counted = 0  # calls as of the last judgement …
        self._counted_at = 0.0  # … and its time
        self._seen = 0  # calls that were judged since the route has been inline …
        self._waits = 0.0  # … and of these, halved as time goes by, those that waited
        self._wait = 0.0
        self._wall = 0.0
        self._pause = _FIRST_PAUSE
        self._good = 0

    @property
    def suspicious(self) -> bool:
        """Its calls are to be watched closely: they have waited lately, or not enough of them have been seen."""
        return self._waits >= _SUSPICIOUS or self._seen < _ENOUGH or not self.inline

    def consider(self, evidence: Evidence) -> None:
        """Judge the route anew, with what was seen of one more call."""
        now, wall, wait, waited, calls, alone, disturbed, taken_over = evidence
        if not self._enabled:
            return
        if taken_over:
            self._count(HORIZON if waited else 0.0, max(wall, HORIZON), now)
            return
        waited = waited and alone
        if waited and disturbed:
            return  # not counted; the next call is measured instead
        wait = min(wait, HORIZON) if waited else 0.0
        # All those calls cannot have lasted longer than the time since the last judgement.
        stands_for = max(1.0, min(calls - self._counted, (now - self._counted_at) / wall)) if wall else 1.0
        self._counted = calls
        self._count(wait * stands_for, wall * stands_for, now)
        if wall >= _LONG:
            self.inline_until = 0.0

    def _count(self, wait: float, wall: float, now: float) -> None:
        if not self.inline:
            self._judge_trial(wait > _WAITS_ABOVE * wall, now)
            return
        self._seen += 1
        self._waits += wait > _NOTABLE * wall
        self._wait += wait
        self._wall += wall
        self._counted_at = now
        self.due = self.inline_until = now + SAMPLE_EVERY
        if self._waits >= _LEAST_WAITS and self._wait > _WAITS_ABOVE * self._wall:
            self.inline = False
            self.inline_until = 0.0
            self._good = 0
            self._pause = _FIRST_PAUSE
            self.due = now + self._pause
            log.debug("route waits calls=handed-over share=%.2f route=%r", self._wait / self._wall, self._route)
        elif self._wall > _MEMORY:
            self._waits /= 2
            self._wait /= 2
            self._wall /= 2

    def _judge_trial(self, waits: bool, now: float) -> None:
        if waits:
            self.trial_failed(now)
            return
        self._good += 1
        self.due = now
        if self._good >= _TRIALS:
            self.inline = True
            self.inline_until = now
            self._seen = 0
            self._waits = self._wait = self._wall = 0.0
            log.debug("route computes calls=inline route=%r", self._route)

    def trial_failed(self, now: float) -> None:
        """A trial call waited, or none was possible."""
        self._good = 0
        self._pause = min(2 * self._pause, _LAST_PAUSE)
        self.due = now + self._pause
