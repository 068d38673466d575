"""How many descriptors a worker asks for, and how many connections there is room for."""

import resource

import pytest

from spawning.worker.descriptors import plan

NONE = resource.RLIM_INFINITY


@pytest.mark.parametrize(
    ("wanted", "threads", "soft", "hard", "limit", "room"),
    [
        (10_000, 16, 1024, 524_288, 10_128, 10_000),  # raised as far as needed …
        (10_000, 16, 1024, 4096, 4096, 3968),  # … and allowed
        (10_000, 16, 20_000, 20_000, 20_000, 10_000),  # never lowered
        (10_000, 16, NONE, NONE, 1 << 20, 10_000),
        (0, 16, 1024, 4096, 4096, 3968),  # as many as possible
        (0, 16, 1024, NONE, 1 << 20, (1 << 20) - 128),
        (10, 100, 64, 64, 64, 10),
        (10_000, 100, 64, 64, 64, 32),  # half of few is for everything else
        (10_000, 100, 1, 1, 1, 1),
    ],
)
def test_plan(wanted: int, threads: int, soft: int, hard: int, limit: int, room: int) -> None:
    assert plan(wanted, threads, soft, hard) == (limit, room)
