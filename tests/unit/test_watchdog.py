"""When the watchdog looks, and from whom it takes the lead. Time is a number; the leader is a thread of the test."""

import select
import threading
from collections.abc import Iterator
from math import inf
from types import SimpleNamespace
from typing import Any

import pytest

from spawning.worker.alarm import Alarm
from spawning.worker.watchdog import LONG, TICK, Watchdog


class Dispatch:
    """What a watchdog sees of the leader's calls; it is its own lead."""

    def __init__(self) -> None:
        self.alarm = SimpleNamespace(clear=lambda: None)
        self.alarm_due = 1.0
        self.lead = self
        self.box: list[object] = []
        self.calls = 0
        self.watched_until = 0.0
        self.watchdog_dozes = False
        self.leader: Any = threading.current_thread()
        self.taken: list[bool] = []

    def take_lead(self) -> Any:
        return SimpleNamespace(sensor=SimpleNamespace(taken_over=lambda waits, seconds: self.taken.append(waits)))

    def call(self) -> None:
        self.calls += 1
        self.box = [object()]


@pytest.fixture
def dispatch() -> Dispatch:
    return Dispatch()


@pytest.fixture
def waiting() -> Iterator[threading.Thread]:
    """A thread that waits."""
    leave = threading.Event()
    thread = threading.Thread(target=leave.wait)
    thread.start()
    with open(f"/proc/self/task/{thread.native_id}/stat") as file:
        while ") S " not in file.read():
            file.seek(0)
    yield thread
    leave.set()
    thread.join()


def after_an_alarm(dispatch: Dispatch) -> Watchdog:
    watchdog = Watchdog(dispatch)  # type: ignore[arg-type]
    watchdog.on_alarm(10.0)
    return watchdog


def look(watchdog: Watchdog, now: float) -> None:
    watchdog.look(now, TICK, 0.0)


def test_without_a_call_it_sleeps_and_the_next_one_has_to_set_the_alarm(dispatch: Dispatch) -> None:
    assert after_an_alarm(dispatch).tick(10.0) == inf
    assert dispatch.alarm_due == 0
    assert dispatch.watchdog_dozes


def test_a_call_that_the_alarm_has_found_is_watched_until_it_ends(dispatch: Dispatch) -> None:
    dispatch.call()
    watchdog = after_an_alarm(dispatch)
    assert watchdog.tick(10.0) == TICK
    look(watchdog, 10.002)
    assert watchdog.tick(10.002) == TICK
    dispatch.call()
    look(watchdog, 10.004)
    assert watchdog.tick(10.004) == inf
    assert not dispatch.taken


def test_suspicious_calls_are_watched_for_a_while(dispatch: Dispatch) -> None:
    watchdog = Watchdog(dispatch)  # type: ignore[arg-type]
    dispatch.watched_until = 5.0
    assert watchdog.tick(4.9) == TICK
    assert not dispatch.watchdog_dozes
    assert watchdog.tick(5.1) == inf


def test_the_lead_is_taken_from_a_call_that_waits_for_two_ticks(dispatch: Dispatch, waiting: threading.Thread) -> None:
    dispatch.leader = waiting
    dispatch.call()
    watchdog = after_an_alarm(dispatch)
    look(watchdog, 10.002)
    assert not dispatch.taken
    look(watchdog, 10.004)
    assert dispatch.taken == [True]


def test_a_leader_that_could_run_does_not_wait_but_loses_the_lead_in_the_end(dispatch: Dispatch) -> None:
    dispatch.call()
    watchdog = after_an_alarm(dispatch)
    for tick in range(1, round(LONG / TICK) + 1):
        look(watchdog, 10.0 + tick * TICK)
    assert not dispatch.taken
    look(watchdog, 10.0 + LONG + TICK)
    assert dispatch.taken == [False]


def test_an_alarm_goes_off_once_and_not_while_it_is_put_off() -> None:
    poll = select.poll()
    soon, late = Alarm(0.001), Alarm(3600.0)
    poll.register(soon.fd, select.POLLIN)
    poll.register(late.fd, select.POLLIN)
    assert not poll.poll(0)
    late.set()
    soon.set()
    assert poll.poll() == [(soon.fd, select.POLLIN)]
    soon.clear()
    soon.clear()
    assert not poll.poll(0)
