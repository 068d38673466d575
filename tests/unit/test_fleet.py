import math

import pytest

from spawning.controller.fleet import Fleet, how
from spawning.controller.records import (
    FIRST_PAUSE,
    LONGEST_ALONE,
    LONGEST_PAUSE,
    STEADY,
    Backoff,
    GenerationState,
    Source,
    WorkerState,
)
from spawning.ipc.messages import Born, Configured, Frozen, Loaded, LoadFailed, Ready, Report
from spawning.settings import Settings, as_dict

SETTINGS = Settings(args=("site:app",), num_processes=2)
ONE, TWO = Source(1, 1), Source(1, 2)


def loading() -> Fleet:
    fleet = Fleet()
    fleet.generation_started(1, SETTINGS, "start", 100, 0.0)
    return fleet


def forking() -> Fleet:
    fleet = loading()
    fleet.apply(Source(1), Configured(as_dict(SETTINGS)), 0.0)
    fleet.apply(Source(1), Loaded(["/a.py"]), 0.0)
    for source, pid in ((ONE, 101), (TWO, 102)):
        assert fleet.next_source(1) == source
        fleet.worker_forked(source, 0.0)
        fleet.apply(source, Born(pid), 0.0)
    return fleet


def serving() -> Fleet:
    fleet = forking()
    for source in (ONE, TWO):
        fleet.apply(source, Ready(), 0.0)
    fleet.cutover_began(1, 1.0)
    fleet.cutover_finished(1, 3.0)
    return fleet


def test_a_generation_gets_to_serving_by_what_its_processes_say() -> None:
    fleet = loading()
    assert fleet.generations[1].state is GenerationState.LOADING
    fleet = forking()
    assert fleet.generations[1].state is GenerationState.FORKING
    assert fleet.generations[1].files == {"/a.py"}
    assert [worker.pid for worker in fleet.generations[1].active] == [101, 102]
    fleet = serving()
    assert fleet.serving is fleet.generations[1]
    assert fleet.under_way is None
    assert fleet.has_served


def test_settings_are_what_the_factory_gave_back() -> None:
    fleet = loading()
    fleet.apply(Source(1), Configured({**as_dict(SETTINGS), "num_processes": 7}), 0.0)
    assert fleet.generations[1].settings.num_processes == 7


def test_a_new_generation_takes_the_place_of_the_one_before() -> None:
    fleet = serving()
    fleet.generation_started(2, SETTINGS, "SIGHUP", 200, 5.0)
    assert fleet.under_way is fleet.generations[2]
    fleet.apply(Source(2), Loaded(), 6.0)
    fleet.cutover_began(2, 7.0)
    assert fleet.serving is fleet.generations[1]
    fleet.cutover_finished(2, 3.0)
    assert fleet.serving is fleet.generations[2]
    assert fleet.kept is fleet.generations[1]


def test_a_worker_that_is_told_to_leave_freezes_and_exits() -> None:
    fleet = serving()
    worker = fleet.generations[1].workers[1]
    fleet.generations[1].workers[1].state = WorkerState.SERVING
    fleet.told_to_leave(ONE, kill_at=50.0)
    assert (worker.state, worker.kill_at, worker.is_leaving) == (WorkerState.RETIRING, 50.0, True)
    fleet.apply(ONE, Frozen(), 1.0)
    assert (worker.state, worker.kill_at) == (WorkerState.FROZEN, 50.0)
    departure = fleet.exited(101, 0, 2.0)
    assert departure == (fleet.generations[1], worker, WorkerState.FROZEN)
    assert worker.state is WorkerState.GONE
    assert fleet.worker(ONE) is None
    assert fleet.generations[1].forks.not_before == -math.inf  # no crash


def test_a_worker_that_leaves_by_itself_is_given_as_long_as_any() -> None:
    fleet = serving()
    fleet.apply(ONE, Frozen(), 10.0)
    worker = fleet.generations[1].workers[1]
    assert (worker.is_active, worker.is_leaving) == (False, True)
    assert worker.kill_at == 10.0 + SETTINGS.deadman_timeout + 1.0


def test_a_report_is_kept() -> None:
    fleet = serving()
    report = Report(requests=1, errors=0, executing=0, queued=0, connections=1)
    fleet.apply(ONE, report, 1.0)
    assert fleet.generations[1].workers[1].report == report


def test_a_load_failure_is_kept_with_the_files_that_may_mend_it() -> None:
    fleet = loading()
    failure = LoadFailed("app", "no", "Traceback", ["/broken.py"])
    fleet.apply(Source(1), failure, 1.0)
    assert fleet.generations[1].failure == failure
    assert fleet.generations[1].files == {"/broken.py"}


def test_a_fork_server_that_dies_before_all_is_ready_is_a_failure() -> None:
    fleet = forking()
    fleet.exited(100, -9, 1.0)
    failure = fleet.generations[1].failure
    assert failure is not None
    assert failure.message.endswith("(signal=SIGKILL)")


def test_a_worker_that_dies_before_it_is_ready_is_a_failure_unless_it_has_said_why() -> None:
    fleet = forking()
    said = LoadFailed("app", "it said so")
    fleet.apply(ONE, said, 1.0)
    fleet.exited(101, 3, 1.0)
    assert fleet.generations[1].failure == said


def test_a_worker_that_dies_in_service_is_no_failure_of_its_generation() -> None:
    fleet = serving()
    fleet.exited(101, -11, 1.0)
    assert fleet.generations[1].failure is None
    assert fleet.generations[1].forks.not_before == -math.inf, "it is replaced at once"


@pytest.mark.parametrize("requests", [0, 1])
def test_a_worker_that_dies_as_soon_as_it_is_ready_has_died_of_its_start_unless_it_has_served(requests: int) -> None:
    fleet = serving()
    fleet.apply(ONE, Report(requests, 0, 0, 0, 0), 0.5)
    fleet.exited(101, -11, 0.9)
    assert fleet.generations[1].forks.not_before == (-math.inf if requests else 0.9 + FIRST_PAUSE)


def test_a_worker_that_was_killed_before_it_was_ready_has_died_of_its_start() -> None:
    fleet = forking()
    fleet.killed(ONE)
    fleet.exited(101, -9, 1.0)
    assert fleet.generations[1].forks.not_before == 1.0 + FIRST_PAUSE


def test_a_start_that_went_well_ends_the_pauses() -> None:
    backoff = Backoff()
    for now in (1.0, 2.0, 3.0):
        backoff.failed(now, now - 0.5)
    backoff.went_well()
    backoff.failed(4.0, 3.5)
    assert backoff.not_before == 4.0 + FIRST_PAUSE


def test_while_nobody_serves_pauses_are_short() -> None:
    backoff = Backoff()
    for now in range(1, 12):
        backoff.failed(float(now), now - 0.5)
    assert backoff.at(alone=False) == 11.0 + LONGEST_PAUSE
    assert backoff.at(alone=True) == 11.0 + LONGEST_ALONE


def test_the_death_of_a_serving_fork_server_asks_for_repair() -> None:
    fleet = serving()
    fleet.exited(100, -9, STEADY + 1)
    assert fleet.generations[1].pid is None
    assert fleet.generations[1].failure is None
    assert fleet.repairs.not_before == STEADY + 1


def test_orphans_of_the_application_are_nobody() -> None:
    assert serving().exited(999, 0, 1.0) is None


def test_the_end_of_a_channel_counts_only_for_a_worker_without_pid() -> None:
    fleet = forking()
    fleet.worker_forked(fleet.next_source(1), 1.0)
    assert fleet.stillborn(ONE, 1.0) is None
    departure = fleet.stillborn(Source(1, 3), 1.0)
    assert departure is not None
    assert departure.state is WorkerState.STARTING
    assert fleet.stillborn(Source(1, 3), 1.0) is None


def test_messages_of_the_forgotten_are_none_of_note() -> None:
    fleet = serving()
    fleet.apply(Source(9, 1), Ready(), 1.0)
    fleet.apply(Source(1, 9), Ready(), 1.0)
    fleet.apply(Source(9), Loaded(), 1.0)


def test_what_was_sent_before_a_kill_arrived_does_not_bring_a_worker_back() -> None:
    fleet = forking()
    fleet.killed(ONE)
    fleet.apply(ONE, Ready(), 1.0)
    assert fleet.generations[1].workers[1].state is WorkerState.KILLED


def test_a_step_that_is_not_in_the_table_raises() -> None:
    fleet = loading()
    with pytest.raises(KeyError):
        fleet.cutover_began(1, 1.0)
    fleet = forking()
    with pytest.raises(KeyError):
        fleet.told_to_leave(ONE, 1.0)
    with pytest.raises(KeyError):
        fleet.apply(Source(1), Born(1), 1.0)


def test_a_crash_loop_backs_off_and_a_steady_life_forgives() -> None:
    backoff, now = Backoff(), 0.0
    pauses = []
    for _ in range(12):
        backoff.failed(now, since=now)
        pauses.append(backoff.not_before - now)
        now = backoff.not_before
    assert pauses[:4] == pytest.approx([FIRST_PAUSE, FIRST_PAUSE * 2, FIRST_PAUSE * 4, FIRST_PAUSE * 8])
    assert pauses[-1] == LONGEST_PAUSE
    backoff.failed(now + STEADY, since=now)
    assert backoff.not_before == now + STEADY


def test_those_that_die_together_count_once() -> None:
    backoff = Backoff()
    for now in (5.0, 5.01, 5.02):
        backoff.failed(now, since=1.0)
    assert backoff.not_before == 5.0 + FIRST_PAUSE


@pytest.mark.parametrize(
    ("status", "said"),
    [(0, "status=0"), (3, "status=3"), (-9, "signal=SIGKILL"), (-50, "signal=50"), (None, "status=unknown")],
)
def test_how_a_process_has_ended(status: int | None, said: str) -> None:
    assert how(status) == said
