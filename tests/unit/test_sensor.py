"""What a sensor sees of calls; what that means is the judge's business."""

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from time import monotonic

import pytest

from spawning.worker.judge import Evidence
from spawning.worker.sensor import Sensor


class Witness(Sensor):
    """Keeps what it has seen."""

    def __init__(self) -> None:
        super().__init__(enabled=True)
        self.seen: list[Evidence] = []

    def consider(self, evidence: Evidence) -> None:
        super().consider(evidence)
        self.seen.append(evidence)


@pytest.fixture
def woken_when_asleep() -> Iterator[int]:
    """Make a descriptor that has a byte as soon as this thread waits for it."""
    mine, others = os.pipe()
    me = Path(f"/proc/self/task/{threading.get_native_id()}/stat")
    begun = threading.Event()

    def wake() -> None:
        begun.set()
        while me.read_text().rpartition(")")[2].split()[0] != "S":
            pass
        os.write(others, b"x")

    thread = threading.Thread(target=wake)
    thread.start()
    begun.wait()
    yield mine
    thread.join()
    os.close(mine)
    os.close(others)


def test_a_call_that_computes() -> None:
    sensor = Witness()
    before = monotonic()
    sensor.calls = 7
    began = sensor.begin(3)
    sensor.end(3, False)
    (seen,) = sensor.seen
    assert before <= began <= seen.now <= monotonic()
    assert seen == Evidence(seen.now, seen.now - began, seen.wait, waited=False, calls=7, alone=False)
    assert 0 <= seen.wait <= seen.wall


@pytest.mark.parametrize("alone", [True, False])
def test_a_call_that_waits(woken_when_asleep: int, alone: bool) -> None:
    sensor = Witness()
    sensor.begin(0)
    os.read(woken_when_asleep, 1)
    sensor.end(0, alone)
    (seen,) = sensor.seen
    assert seen.waited is seen.alone is alone


@pytest.mark.parametrize(("before", "after", "disturbed"), [(0, 0, False), (4, 5, True), (5, 4, True)])
def test_a_call_beside_the_watchdog(before: int, after: int, disturbed: bool) -> None:
    sensor = Witness()
    sensor.begin(before)
    sensor.end(after, True)
    assert sensor.seen[0].disturbed is disturbed


@pytest.mark.parametrize("waits", [True, False])
def test_a_call_that_was_taken_over(waits: bool) -> None:
    sensor = Witness()
    before = monotonic()
    sensor.taken_over(waits, 0.25)
    (seen,) = sensor.seen
    assert before <= seen.now <= monotonic()
    assert seen[1:] == (0.25, 0.0, waits, 0, False, False, True)


def test_a_sensor_is_judged_by_what_it_sees() -> None:
    sensor = Sensor(enabled=True)
    assert sensor.inline
    for _ in range(4):
        sensor.taken_over(True, 0.01)
    assert not sensor.inline
    assert sensor.due > 0
