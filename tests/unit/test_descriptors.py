"""How many descriptors a worker asks for, and how many connections and bodies there is room for."""

import resource

import pytest

from spawning.worker.descriptors import plan

NONE = resource.RLIM_INFINITY


@pytest.mark.parametrize(
    ("wanted", "threads", "soft", "hard", "planned"),
    [
        (10_000, 16, 1024, 524_288, (524_288, 10_000, 10_000)),  # raised as far as allowed …
        (10, 16, 1024, 524_288, (524_288, 10, 64)),  # … whatever is needed
        (10_000, 16, 20_000, 20_000, (20_000, 10_000, 9872)),  # what connections leave
        (10_000, 16, 1024, 4096, (4096, 2976, 992)),  # not enough for all: three to one
        (10_000, 16, NONE, NONE, (1 << 20, 10_000, 10_000)),
        (10_000, 16, 2 << 20, 4 << 20, (2 << 20, 10_000, 10_000)),  # never lowered
        (1 << 20, 16, 1 << 20, NONE, (1 << 20, 786_336, 1 << 14)),
        (0, 16, 1024, 4096, (4096, 2976, 992)),  # as many as possible
        (10, 100, 64, 64, (64, 10, 22)),
        (10_000, 100, 64, 64, (64, 24, 8)),  # half of few is for everything else
        (10_000, 100, 1, 1, (1, 1, 1)),
    ],
)
def test_plan(wanted: int, threads: int, soft: int, hard: int, planned: tuple[int, int, int]) -> None:
    assert plan(wanted, threads, soft, hard) == planned


@pytest.mark.parametrize(
    ("wanted", "hard", "planned"),
    [(10_000, 524_288, (524_288, 10_000, 10_000)), (10_000, 4096, (4096, 1488, 992)), (10_000, 1, (1, 1, 1))],
)
def test_plan_where_connections_need_two(wanted: int, hard: int, planned: tuple[int, int, int]) -> None:
    assert plan(wanted, 16 if hard > 1 else 100, min(1024, hard), hard, 2) == planned
