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


class Loop:
    """What a watchdog sees of a loop."""

    def __init__(self) -> None:
        self.alarm = SimpleNamespace(clear=lambda: None)
        self.alarm_due = 1.0
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
def loop() -> Loop:
    return Loop()


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


def after_an_alarm(loop: Loop) -> Watchdog:
    watchdog = Watchdog(loop)  # type: ignore[arg-type]
    watchdog.on_alarm(10.0)
    return watchdog


def look(watchdog: Watchdog, now: float) -> None:
    watchdog.look(now, TICK, 0.0)


def test_without_a_call_it_sleeps_and_the_next_one_has_to_set_the_alarm(loop: Loop) -> None:
    assert after_an_alarm(loop).tick(10.0) == inf
    assert loop.alarm_due == 0
    assert loop.watchdog_dozes


def test_a_call_that_the_alarm_has_found_is_watched_until_it_ends(loop: Loop) -> None:
    loop.call()
    watchdog = after_an_alarm(loop)
    assert watchdog.tick(10.0) == TICK
    look(watchdog, 10.002)
    assert watchdog.tick(10.002) == TICK
    loop.call()
    look(watchdog, 10.004)
    assert watchdog.tick(10.004) == inf
    assert not loop.taken


def test_suspicious_calls_are_watched_for_a_while(loop: Loop) -> None:
    watchdog = Watchdog(loop)  # type: ignore[arg-type]
    loop.watched_until = 5.0
    assert watchdog.tick(4.9) == TICK
    assert not loop.watchdog_dozes
    assert watchdog.tick(5.1) == inf


def test_the_lead_is_taken_from_a_call_that_waits_for_two_ticks(loop: Loop, waiting: threading.Thread) -> None:
    loop.leader = waiting
    loop.call()
    watchdog = after_an_alarm(loop)
    look(watchdog, 10.002)
    assert not loop.taken
    look(watchdog, 10.004)
    assert loop.taken == [True]


def test_a_leader_that_could_run_does_not_wait_but_loses_the_lead_in_the_end(loop: Loop) -> None:
    loop.call()
    watchdog = after_an_alarm(loop)
    for tick in range(1, round(LONG / TICK) + 1):
        look(watchdog, 10.0 + tick * TICK)
    assert not loop.taken
    look(watchdog, 10.0 + LONG + TICK)
    assert loop.taken == [False]


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
