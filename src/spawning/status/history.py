"""What has been going on: rates, percentiles and the last 15 minutes, from one snapshot after the other. Pure.

Counts in snapshots only grow, so that a difference of two is what happened between them. Times are the controller's
uptime in seconds. Nothing is known from before this process was started.
"""

from bisect import bisect_left
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from spawning.worker.tally import BOUNDS

POINT_SECONDS = 5.0  # between two points of a plot
MOST_POINTS = 180  # 15 minutes
RATE_SECONDS = 5.0  # over which a rate is taken
LATENCY_SECONDS = 60.0  # over which percentiles are taken
_MOST_SAMPLES = 90

Values = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Sample:
    """What one snapshot says; see the documentation for the names."""

    at: float
    requests: int
    errors: int
    counts: tuple[int, ...]
    executing: int
    queued: int
    connections: int
    workers: dict[str, int]  # to the number of its requests


@dataclass(frozen=True, slots=True)
class Point:
    """One point of the plots: means over :data:`POINT_SECONDS`, and what there was at its end.

    ``at`` is seconds since the epoch; ``requests`` and ``errors`` are per second; ``p50``, ``p95`` and ``p99`` are
    seconds, None when there was no response.
    """

    at: float
    requests: float
    errors: float
    p50: float | None
    p95: float | None
    p99: float | None
    executing: int
    queued: int
    connections: int


@dataclass(frozen=True, slots=True)
class Trend:
    """How it goes at present. Rates are per second, times in seconds."""

    requests: float = 0.0
    errors: float = 0.0
    p50: float | None = None
    p95: float | None = None
    p99: float | None = None
    workers: dict[str, float] = field(default_factory=dict)
    points: tuple[Point, ...] = ()

    def as_values(self) -> Values:
        values = asdict(self)
        values["points"] = list(values["points"])
        return values


class History:
    """Remembers samples for a moment and points for 15 minutes. For one thread."""

    def __init__(self) -> None:
        self._samples: deque[Sample] = deque(maxlen=_MOST_SAMPLES)
        self._points: deque[Point] = deque(maxlen=MOST_POINTS)
        self._last: Sample | None = None  # of the last point

    def add(self, values: Values) -> Trend:
        """Take a snapshot; return how it goes."""
        now = _sample(values)
        if self._last is None:
            self._last = now
        elif now.at - self._last.at >= POINT_SECONDS:
            self._points.append(_point(self._last, now, values["at"]))
            self._last = now
        self._samples.append(now)
        recent = self._before(now.at - RATE_SECONDS)
        minute = self._before(now.at - LATENCY_SECONDS)
        rates, times = _rates(recent, now), _percentiles(minute, now)
        return Trend(
            rates[0],
            rates[1],
            times[0],
            times[1],
            times[2],
            {name: _rate(count - recent.workers.get(name, 0), recent, now) for name, count in now.workers.items()},
            tuple(self._points),
        )

    def _before(self, at: float) -> Sample:
        """Return the newest sample of that time or before, or the oldest that there is."""
        times = [sample.at for sample in self._samples]
        return self._samples[max(0, bisect_left(times, at + 0.001) - 1)]


def percentile(counts: Sequence[int], share: float) -> float | None:
    """Estimate a percentile (seconds) from the counts of a histogram: between the ends of its bucket, in proportion.

    :param share: 0.99 for the 99th.
    :returns: None when nothing was counted; the last bound for what is beyond all.
    """
    total = sum(counts)
    if total == 0:
        return None
    rank = share * total
    below = 0
    for index, count in enumerate(counts[: len(BOUNDS)]):
        if count and below + count >= rank:
            low = BOUNDS[index - 1] if index else 0.0
            return low + (BOUNDS[index] - low) * (rank - below) / count
        below += count
    return BOUNDS[-1]


def _sample(values: Values) -> Sample:
    totals = values["totals"]
    workers = [worker for generation in values["generations"] for worker in generation["workers"]]
    return Sample(
        values["uptime"],
        totals["requests"],
        totals["errors"],
        tuple(totals["latency"]["counts"]),
        sum(worker["executing"] or 0 for worker in workers),
        sum(worker["queued"] or 0 for worker in workers),
        sum(worker["connections"] or 0 for worker in workers),
        {worker["name"]: worker["requests"] or 0 for worker in workers},
    )


def _point(before: Sample, now: Sample, at: float) -> Point:
    rates, times = _rates(before, now), _percentiles(before, now)
    return Point(at, rates[0], rates[1], times[0], times[1], times[2], now.executing, now.queued, now.connections)


def _rates(before: Sample, now: Sample) -> tuple[float, float]:
    return _rate(now.requests - before.requests, before, now), _rate(now.errors - before.errors, before, now)


def _rate(count: int, before: Sample, now: Sample) -> float:
    seconds = now.at - before.at
    return round(max(0, count) / seconds, 3) if seconds > 0 else 0.0


def _percentiles(before: Sample, now: Sample) -> list[float | None]:
    earlier = before.counts + (0,) * (len(now.counts) - len(before.counts))
    counts = [max(0, b - a) for a, b in zip(earlier, now.counts, strict=False)]
    found = (percentile(counts, share) for share in (0.5, 0.95, 0.99))
    return [None if each is None else round(each, 6) for each in found]
