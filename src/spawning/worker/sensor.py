"""Measuring calls of a route while they run inline, for the judgement whether it waits or computes (``judge``).

The clock, the processor time of this thread and its voluntary context switches are read here and nowhere else; what
they mean is not known here.
"""

from resource import RUSAGE_THREAD, getrusage
from time import monotonic, thread_time
from typing import Final

from spawning.worker.judge import Evidence, Judge

_evidence: Final = Evidence._make  # half the time of a call with as many arguments


class Sensor(Judge):
    """The judge of one route, with instruments. It is one and does not have one: each call reads the judgement.

    Called by the leader; by the watchdog only while the leader is inside a call.

    :ivar calls: inline calls so far.
    """

    __slots__ = ("_disturbed", "_start", "calls")

    def __init__(self, *, enabled: bool, route: str = "") -> None:
        super().__init__(enabled=enabled, route=route)
        self.calls = 0
        self._disturbed = 0
        self._start = (0, 0.0, 0.0)

    def begin(self, disturbed: int) -> float:
        """Start to measure an inline call.

        :param disturbed: how often the watchdog may have held the interpreter lock so far.
        :returns: monotonic seconds.
        """
        self._disturbed = disturbed
        now = monotonic()
        self._start = (getrusage(RUSAGE_THREAD).ru_nvcsw, thread_time(), now)
        return now

    def end(self, disturbed: int, alone: bool) -> None:
        """The measured call has returned, and the lead was not taken meanwhile.

        :param disturbed: as for :meth:`begin`.
        :param alone: no other call was executing beside it.
        """
        switches, cpu, started = self._start
        now = monotonic()
        wall = now - started
        wait = max(0.0, wall - (thread_time() - cpu))
        waited = alone and getrusage(RUSAGE_THREAD).ru_nvcsw > switches
        self.consider(_evidence((now, wall, wait, waited, self.calls, alone, disturbed != self._disturbed, False)))

    def taken_over(self, waits: bool, seconds: float) -> None:
        """The watchdog has taken the lead from a call that waits, or that computes for long (already `seconds`)."""
        self.consider(_evidence((monotonic(), seconds, 0.0, waits, self.calls, False, False, True)))
