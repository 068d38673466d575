"""What a worker counts for the metrics, by whatever way a request is executed."""

from pathlib import Path
from typing import Any

import pytest

from spawning.logs.access import AccessLog
from spawning.logs.streams import open_file
from spawning.settings import Settings
from spawning.worker.context import Context
from spawning.worker.tally import BOUNDS, METHODS, Tally, errors
from spawning.worker.waiting import Waiting
from unit.crew import Crew, Job
from unit.interleave import eventually


def counted(tally: Tally | None) -> int:
    assert tally is not None
    assert sum(tally.latency()) == sum(count for each in tally.statuses().values() for count in each.values())
    return sum(tally.latency())


def test_nothing_is_counted_that_nobody_wants_to_know() -> None:
    assert Context(Settings(args=("site:app",)), AccessLog()).tally is None


@pytest.mark.parametrize("setting", [{"status": "8001"}, {"status_port": 8001}, {"statsd_host": "localhost:8125"}])
def test_somebody_wants_to_know(setting: dict[str, Any]) -> None:
    assert Context(Settings(args=("site:app",), **setting), None).tally is not None


@pytest.mark.parametrize(
    ("seconds", "bucket"),
    [(0.0, 0), (0.0001, 0), (0.00011, 1), (60.0, len(BOUNDS) - 1), (60.1, len(BOUNDS)), (float("inf"), len(BOUNDS))],
)
def test_a_duration_is_in_the_first_bucket_that_it_does_not_exceed(seconds: float, bucket: int) -> None:
    tally = Tally()
    tally.count("GET", 200, seconds, 10)
    assert [index for index, count in enumerate(tally.latency()) if count] == [bucket]
    assert (tally.seconds, tally.sent) == (seconds, 10)


def test_methods_that_clients_think_of_are_one() -> None:
    tally = Tally()
    for method in (*METHODS, "BREW", "get", "x" * 1000):
        tally.count(method, 204, 0.1, 0)
    tally.count("GET", 0, 0.1, 0)
    expected = {method: {"204": 1} for method in METHODS} | {"other": {"204": 3}}
    assert tally.statuses() == expected | {"GET": {"0": 1, "204": 1}}


def test_swift_responses_are_in_the_first_bucket() -> None:
    tally = Tally()
    for method in (*METHODS, "BREW", "get"):
        tally.swift(method)[204] += 1
    tally.count("GET", 204, 0.1, 0)
    expected = {method: {"204": 1} for method in METHODS} | {"other": {"204": 2}}
    assert tally.statuses() == expected | {"GET": {"204": 2}}
    assert tally.latency()[0] == len(METHODS) + 2 - 1  # what answers CONNECT is a tunnel's


@pytest.mark.parametrize(("method", "code"), [("GET", 101), ("CONNECT", 200)])
def test_tunnels_have_a_status_and_no_latency(method: str, code: int) -> None:
    tally = Tally()
    tally.swift(method)[code] += 1
    tally.count(method, code, 100.0, 1)
    assert tally.statuses() == {method: {str(code): 2}}
    assert (sum(tally.latency()), tally.seconds) == (0, 0.0)


def test_errors_are_what_the_statuses_say() -> None:
    tally = Tally()
    for code in (0, 200, 499, 500, 503, 599):
        tally.swift("GET")[code] += 1
        tally.count("BREW", code, 0.1, 0)
    assert errors(tally.statuses()) == 6


@pytest.mark.parametrize("logged", [True, False])
@pytest.mark.parametrize("kind", ["inline", "measured", "waits"])
def test_every_way_of_execution_is_counted_and_timed(kind: str, logged: bool, tmp_path: Path) -> None:
    log = AccessLog(open_file(str(tmp_path / "log"))) if logged else None
    with Crew(access_log=log, status="8001") as crew:
        job = Job("job", kind)
        crew.execute(job)
        job.wait()
        eventually(lambda: counted(crew.context.tally) == 1, "it is counted")
        assert crew.context.tally is not None
        assert 0 <= crew.context.tally.seconds < 60


@pytest.mark.parametrize("overdue", [True, False])
def test_the_wait_for_a_thread_is_counted(overdue: bool) -> None:
    tally = Tally()
    waiting = Waiting(["/healthz"], tally=tally)
    waiting.put(Job())
    if overdue:
        assert waiting.take_overdue(float("inf")) is not None
    else:
        waiting.take()
    assert sum(tally.waits) == 1
    assert 0 <= tally.waited < 60


def test_who_has_not_waited_is_never_fewer_than_before() -> None:
    tally = Tally()
    assert tally.prompt(10, 0) == 10
    assert tally.prompt(12, 2) == 10  # two wait
    tally.count_wait(5.0)
    assert tally.prompt(12, 1) == 10
    assert tally.prompt(11, 1) == 10  # a request that is handed out again is not counted for a moment
    assert tally.prompt(15, 1) == 13
