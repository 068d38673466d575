"""Rates and percentiles from literal snapshots."""

from typing import Any

import pytest

from spawning.status.history import MOST_POINTS, POINT_SECONDS, History, percentile
from spawning.worker.tally import BOUNDS


def values(at: float, requests: int, *, errors: int = 0, counts: list[int] | None = None, **workers: int) -> Any:
    return {
        "at": 1e9 + at,
        "uptime": at,
        "totals": {"requests": requests, "errors": errors, "latency": {"counts": counts or []}},
        "generations": [
            {
                "workers": [
                    {"name": name, "requests": count, "executing": 1, "queued": None, "connections": 2}
                    for name, count in workers.items()
                ]
            }
        ],
    }


def test_rates_are_of_the_last_seconds() -> None:
    history = History()
    assert history.add(values(0, 1000)).requests == 0  # nobody knows since when
    for second in range(1, 20):
        trend = history.add(values(second, 1000 + 10 * second, errors=second, w=10 * second))
    assert (trend.requests, trend.errors) == (10, 1)
    assert trend.workers == {"w": 10}
    for second in range(20, 30):
        trend = history.add(values(second, 1190, errors=19, w=190, young=5))
    assert (trend.requests, trend.workers["w"]) == (0, 0)


def test_a_worker_that_has_just_come_and_one_that_has_gone() -> None:
    history = History()
    history.add(values(0, 0, a=0))
    trend = history.add(values(5, 60, b=50))
    assert trend.workers == {"b": 10}


def test_points_are_bounded_and_carry_what_was_between_them() -> None:
    history = History()
    for step in range(MOST_POINTS + 20):
        trend = history.add(values(step * POINT_SECONDS, 100 * step, counts=[0, 100 * step], w=1))
    assert len(trend.points) == MOST_POINTS
    point = trend.points[-1]
    assert (point.requests, point.executing, point.connections) == (20, 1, 2)
    assert point.p50 is not None
    assert BOUNDS[0] < point.p50 < BOUNDS[1]


def test_snapshots_that_follow_at_once_make_no_points_and_no_infinite_rates() -> None:
    history = History()
    for _ in range(100):
        trend = history.add(values(1.0, 5))
    assert (trend.requests, trend.points) == (0, ())


@pytest.mark.parametrize(
    ("counts", "share", "expected"),
    [
        ([], 0.5, None), ([0] * (len(BOUNDS) + 1), 0.5, None), ([1], 0.5, BOUNDS[0] / 2), ([10], 1.0, BOUNDS[0]),
        ([0, 10], 0.5, (BOUNDS[0] + BOUNDS[1]) / 2), ([50, 50], 0.5, BOUNDS[0]),
        ([0] * len(BOUNDS) + [3], 0.5, BOUNDS[-1]),
        ([99] + [0] * (len(BOUNDS) - 1) + [1], 0.99, BOUNDS[0]),
    ],
)  # fmt: skip
def test_percentiles(counts: list[int], share: float, expected: float | None) -> None:
    assert percentile(counts, share) == pytest.approx(expected)
