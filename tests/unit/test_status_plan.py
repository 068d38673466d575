"""What the plan does about the process of the status service."""

import dataclasses
import math
from typing import Any

import pytest

from spawning.controller.actions import EndStatus, Finish, KillStatus, StartStatus
from spawning.controller.fleet import Fleet
from spawning.controller.plan import Service, Wanted, plan
from spawning.controller.records import END_SECONDS, FIRST_PAUSE
from spawning.controller.status_record import SILENCE, STATUS_STEPS, StatusRecord, StatusState, StatusStep

NOW = 100.0


def fleet() -> Fleet:
    """Make records in which nothing else is to be done: generation 1 is under way, and has asked for nothing."""
    return Fleet(status=StatusRecord(), newest=1, latest=1)


def actions(records: Fleet, now: float = NOW, **wanted: Any) -> list[object]:
    return list(plan(dataclasses.replace(Wanted(), **wanted), records, now).actions)


def running(records: Fleet, now: float = NOW) -> StatusRecord:
    assert records.status is not None
    records.status.started(4711, now)
    return records.status


def test_it_is_started_once_and_only_where_it_is_wanted() -> None:
    records = fleet()
    assert actions(records) == [StartStatus()]
    running(records)
    assert actions(records) == []
    assert actions(Fleet(newest=1, latest=1)) == []
    assert list(records.pids()) == [4711]


def test_one_that_dies_is_started_again_at_once_and_one_that_dies_again_and_again_after_pauses() -> None:
    records, now = fleet(), NOW
    record = running(records, now - 60)
    assert record.exited(now) is StatusState.RUNNING
    assert actions(records, now) == [StartStatus()]
    pauses = []
    for _ in range(12):
        running(records, now)
        record.exited(now)
        assert actions(records, now) == []
        until = plan(Wanted(), records, now).until
        pauses.append(round(until - now, 6))
        now = until
        assert actions(records, now) == [StartStatus()]
    assert pauses[:3] == [FIRST_PAUSE, FIRST_PAUSE * 2, FIRST_PAUSE * 4]
    assert pauses[-1] == 30.0


def test_one_that_is_silent_is_killed() -> None:
    records = fleet()
    running(records)
    assert plan(Wanted(), records, NOW + 1).until == NOW + SILENCE
    assert actions(records, NOW + SILENCE) == [KillStatus(f"has not reported for {SILENCE:g} s")]


def test_after_an_upgrade_it_is_replaced() -> None:
    records = fleet()
    record = running(records)
    record.outdated = True
    assert actions(records) == [EndStatus()]
    record.told_to_end(NOW)
    assert actions(records) == []
    assert actions(records, NOW + END_SECONDS) == [KillStatus(f"did not end within {END_SECONDS:g} s")]
    assert record.exited(NOW + 1) is StatusState.ENDING
    assert actions(records, NOW + 1) == [StartStatus()]
    record.started(4712, NOW + 1)
    assert actions(records, NOW + 1) == []


def test_it_ends_last_of_all_and_nothing_is_finished_before() -> None:
    records = fleet()
    record = running(records)
    draining: dict[str, Any] = {"service": Service.DRAIN, "drain_until": NOW + 1000}
    assert actions(records, **draining) == [EndStatus()]
    record.told_to_end(NOW)
    assert actions(records, **draining) == []
    assert actions(records, NOW + END_SECONDS, **draining) == [KillStatus(f"did not end within {END_SECONDS:g} s")]
    record.exited(NOW + 1)
    assert actions(records, NOW + 1, **draining) == [Finish()]


def test_it_is_started_again_while_something_else_drains() -> None:
    records = fleet()
    records.status, status = None, records.status
    draining: dict[str, Any] = {"service": Service.DRAIN, "drain_until": NOW + 1000}
    assert actions(records, **draining) == [Finish()]
    records.status = status
    assert actions(records, **draining) == [Finish()]  # nobody is left whom anybody could ask about
    assert actions(records, service=Service.DRAIN, drain_at=NOW + 5, drain_until=NOW + 1000) == [StartStatus()]


@pytest.mark.parametrize("told", [False, True])
def test_it_is_killed_when_everything_is_to_end_at_once(told: bool) -> None:
    records = fleet()
    record = running(records)
    if told:
        record.told_to_end(NOW)
    ending: dict[str, Any] = {"service": Service.END, "end_until": NOW + 5}
    assert actions(records, **ending) == [KillStatus()]
    record.killed()
    assert actions(records, **ending) == []
    assert actions(records, NOW + 5, **ending) == [Finish()]  # the machine does not let it die
    record.exited(NOW + 1)
    assert actions(records, NOW + 1, **ending) == [Finish()]


def test_a_step_that_the_table_does_not_have_is_a_bug() -> None:
    with pytest.raises(KeyError):
        StatusRecord().told_to_end(NOW)
    assert {state for state, _ in STATUS_STEPS} == set(StatusState)
    assert {step for _, step in STATUS_STEPS} == set(StatusStep)
    assert StatusRecord().end_until == math.inf
