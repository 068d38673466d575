"""What does not yield: when it is named, and that it is so once."""

import sys
from types import FrameType
from typing import Any

import pytest

from spawning.worker import unyielding
from spawning.worker.unyielding import TICK, Unyielding


class Thread:
    """The greenlets' thread, as it is seen from outside.

    :ivar job: of the greenlet that runs.
    """

    def __init__(self) -> None:
        self.turns = 0
        self.yielding = False
        self.woken = 0
        self.job: Any = None
        self.place: FrameType | None = sys._getframe()

    def wake(self) -> None:
        self.woken += 1

    @property
    def mail(self) -> "Thread":
        return self

    @property
    def lead(self) -> "Thread":
        return self

    @property
    def box(self) -> list[Any]:
        return []

    def running(self) -> "Thread | None":
        return self if self.job is not None else None

    def frame(self) -> FrameType | None:
        return self.place


class Job:
    class exchange:
        environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/path"}  # noqa: RUF012


class Watched:
    """The watchdog, time, and what was logged."""

    def __init__(self) -> None:
        self.thread = Thread()
        self.said: list[str] = []
        self._now = 100.0
        anything: Any = self.thread
        self._watchdog = Unyielding(anything, anything, anything, "1.1")

    def warning(self, message: str, *values: object) -> None:
        self.said.append((message % values).partition("\n")[0])

    def look(self, times: int = 1) -> None:
        for _ in range(times):
            self._now += self._watchdog.tick(self._now)


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Watched:
    watched = Watched()
    monkeypatch.setattr(unyielding, "log", watched)
    return watched


def test_a_request_without_a_turn_for_two_looks_is_named(watched: Watched) -> None:
    watched.thread.job = Job()
    watched.look(2)
    assert (watched.said, watched.thread.woken) == ([], 1)  # first the loop is asked to have a turn
    watched.look()
    assert watched.said == [
        "a request does not yield, all others of its worker wait worker=1.1 method=GET path='/path' seconds=0.5"
    ]


def test_once_for_each_place(watched: Watched) -> None:
    watched.look(8)
    assert watched.said == ["a greenlet does not yield, all requests of its worker wait worker=1.1 seconds=0.5"]

    def elsewhere() -> FrameType:
        return sys._getframe()

    watched.thread.place = elsewhere()
    watched.look()
    assert len(watched.said) == 2


def test_a_loop_that_has_turns_or_waits_for_events_is_left_alone(watched: Watched) -> None:
    for _ in range(4):
        watched.thread.turns += 1
        watched.look()
    watched.thread.yielding = True
    watched.look(4)
    assert (watched.said, watched.thread.woken) == ([], 0)


def test_a_turn_that_was_asked_for_is_enough(watched: Watched) -> None:
    watched.look(2)
    watched.thread.turns += 1
    watched.look(2)
    assert watched.said == []


def test_it_looks_several_times_a_second_whatever_asks_more_often(watched: Watched) -> None:
    assert watched._watchdog.tick(200.0) == TICK
    assert watched._watchdog.tick(200.0 + TICK / 2) == TICK / 2
