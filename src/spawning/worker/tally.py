"""What a worker counts of its requests for the metrics (``--status``, ``--statsd-host``).

Plain counters: nothing is allocated for a request, and there is no lock. Any thread counts: the interpreter changes
threads at calls and jumps, not inside ``+=``, so none of them loses a count. The main thread reads them once a second,
for its report; each number is whole, and two of them may be a request apart.

Requests of which there are very many are swift: they take no longer than the first bound. They are counted by method
and status alone, and by ``dispatch`` in its own place: a call would cost as much as to count.

A duration is counted in the bucket of the first bound that it does not exceed, or in the one behind the last. Counts of
several workers, and of those that an earlier version of Spawning has run, are added by position, so the bounds stay.
"""

from bisect import bisect_left
from operator import add
from typing import Final

from spawning.settings import Settings

BOUNDS: Final = (
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
)  # fmt: skip
"""Upper ends (seconds) of the buckets of all histograms."""
SWIFT: Final = BOUNDS[0]
"""How long (seconds) a swift response may take."""

METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE")
OTHER: Final = "other"  # all methods that clients have thought of themselves
_STATUSES: Final = 1000
_SWITCHING: Final = 101

Counts = list[int]
"""Responses by status."""


def _counts() -> dict[str, Counts]:
    return {method: [0] * _STATUSES for method in (*METHODS, OTHER)}


class Tally:
    """See the module.

    :ivar seconds: that all responses have taken, from the call of the application to their end; of tunnels, the swift
        ones alone.
    :ivar waits: how long requests have waited for a thread, by bucket; those that have not are not counted here.
    :ivar waited: that time in total (seconds).
    :ivar sent: bytes of content sent.
    """

    __slots__ = ("_latency", "_others", "_prompt", "_swift", "seconds", "sent", "waited", "waits")

    def __init__(self) -> None:
        self.seconds = 0.0
        self.waits = [0] * (len(BOUNDS) + 1)
        self.waited = 0.0
        self.sent = 0
        self._prompt = 0
        self._swift = _counts()
        self._others = _counts()
        self._latency = [0] * (len(BOUNDS) + 1)  # of the others

    def swift(self, method: str) -> Counts:
        """Return where the swift responses to a method are counted. Who counts one there adds to ``seconds`` and to
        ``sent`` as well. Status 0: the connection was cut before the response had one.
        """
        return self._swift.get(method, self._swift[OTHER])

    def count(self, method: str, code: int, seconds: float, sent: int) -> None:
        """Count a response that is not swift.

        :param code: its status; 0 as for swift ones.
        :param seconds: that it has taken.
        :param sent: bytes of content.
        """
        self._others.get(method, self._others[OTHER])[code] += 1
        if code == _SWITCHING or method == "CONNECT":  # a tunnel lasts as long as its client likes
            return
        self._latency[bisect_left(BOUNDS, seconds)] += 1
        self.seconds += seconds
        self.sent += sent

    def count_wait(self, seconds: float) -> None:
        """Count a request that has waited for a thread."""
        self.waits[bisect_left(BOUNDS, seconds)] += 1
        self.waited += seconds

    def prompt(self, requests: int, waiting: int) -> int:
        """Return how many requests have not had to wait for a thread: never fewer than the last time. Main thread.

        :param requests: whose execution has begun, and that wait for a thread.
        :param waiting: those that wait; one of them may have been taken out since the requests were counted.
        """
        self._prompt = max(self._prompt, requests - sum(self.waits) - waiting)
        return self._prompt

    def latency(self) -> list[int]:
        """Return how many responses have taken how long, by bucket; tunnels are not among them."""
        first, *others = self._latency
        swift = sum(sum(each) - each[_SWITCHING] for method, each in self._swift.items() if method != "CONNECT")
        return [first + swift, *others]

    def statuses(self) -> dict[str, dict[str, int]]:
        """Return method to status to the number of responses; what there was none of is left out."""
        found = {}
        for method, swift in self._swift.items():
            others = self._others[method]
            if any(swift) or any(others):
                found[method] = {str(code): n for code, n in enumerate(map(add, swift, others)) if n}
        return found


def errors(statuses: dict[str, dict[str, int]]) -> int:
    """Return how many responses have a status 5xx, of those that :meth:`Tally.statuses` returned."""
    return sum(n for counts in statuses.values() for code, n in counts.items() if int(code) >= 500)


def tally(settings: Settings) -> Tally | None:
    """Make a worker's, if somebody wants to know."""
    return Tally() if settings.measures else None
