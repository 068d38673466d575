"""What the plan does about starts that hang, fork servers that are gone and new code that crashes. Literal messages."""

import dataclasses

import pytest

from spawning.controller.actions import (
    EndForkServer,
    Finish,
    Fork,
    GiveUpWorker,
    KillForkServer,
    KillWorker,
    LetGo,
    PauseForkServer,
    Recall,
    Refuse,
    StartGeneration,
    StopWorker,
)
from spawning.controller.plan import Service
from spawning.controller.records import (
    END_SECONDS,
    LAST_RESORT,
    LONGEST_ALONE,
    ORDER_SECONDS,
    REPAIR,
    TRIAL,
    ForkServerState,
    Source,
    WorkerState,
)
from spawning.ipc.messages import Born, Frozen, Loaded, LoadFailed, Report
from unit.test_plan import KILLS, SETTINGS, Scene

ONE, TWO, THREE, FOUR = (Source(1, number) for number in (1, 2, 3, 4))
NEW = (Source(2, 1), Source(2, 2))
NO_ANSWER = "does not answer an order to fork"


@pytest.fixture
def serving() -> Scene:
    """Generation 1 serves, and nothing is kept."""
    scene = Scene()
    scene.serve()
    scene.now += 100.0
    return scene


@pytest.fixture
def kept() -> Scene:
    """Generation 2 has begun to serve a moment ago, generation 1 is kept."""
    return second(keep_previous=300.0)


def second(**settings: object) -> Scene:
    scene = Scene(dataclasses.replace(SETTINGS, **settings))  # type: ignore[arg-type]
    scene.serve()
    scene.want(generation=2)
    scene.load(2)
    scene.ready(*NEW)
    scene.settle()
    for source in (ONE, TWO):
        scene.say(source, Frozen())
    scene.settle()
    for source in (ONE, TWO):
        scene.exit(source)
    scene.settle()
    assert scene.fleet.serving is scene.fleet.generations[2]
    scene.now += 2.0
    return scene


# Starts that hang ----------------------------------------------------------------------------------------------------


def test_a_replacement_that_does_not_become_ready_is_killed_and_replaced_after_a_pause(serving: Scene) -> None:
    serving.exit(ONE, -9)
    assert serving.settle() == [Fork(1)]
    serving.born(THREE)
    assert serving.until == serving.now + SETTINGS.boot_timeout
    serving.now = serving.until
    assert serving.settle() == [KillWorker(THREE, "was not ready within 60 s (--boot-timeout)"), Fork(1)]
    serving.born(FOUR)
    serving.exit(THREE, -9)
    serving.exit(FOUR, -9)
    assert serving.settle() == []
    assert serving.until > serving.now


def test_a_fork_server_that_does_not_answer_is_killed_and_repaired(serving: Scene) -> None:
    serving.exit(ONE, -9)
    serving.settle()
    serving.now += ORDER_SECONDS
    assert serving.settle() == [KillWorker(THREE, "was not born in time"), KillForkServer(1, NO_ANSWER)]
    serving.exit(Source(1), -9)
    assert {GiveUpWorker(THREE), StartGeneration(2, REPAIR)} <= set(serving.settle())


def test_a_fork_server_that_forks_one_after_the_other_has_time_for_each(serving: Scene) -> None:
    serving.exit(ONE, -9)
    serving.exit(TWO, -9)
    serving.settle()
    serving.now += ORDER_SECONDS - 1.0
    serving.say(THREE, Born(1003))
    serving.now += 2.0
    assert serving.settle() == []
    serving.now += ORDER_SECONDS
    assert KillForkServer(1, NO_ANSWER) in serving.settle()


def test_a_stop_does_not_wait_for_a_fork_that_hangs(serving: Scene) -> None:
    serving.exit(ONE, -9)
    serving.settle()
    serving.want(service=Service.DRAIN, drain_until=serving.now + 121.0)
    assert serving.settle() == [StopWorker(TWO, 120.0), KillWorker(THREE, "not needed any more")]
    serving.exit(TWO)
    assert serving.settle() == [EndForkServer(1)]
    serving.now += END_SECONDS
    assert serving.settle() == [KillForkServer(1, f"did not end within {END_SECONDS:g} s")]
    serving.exit(Source(1), -9)
    assert serving.settle() == [GiveUpWorker(THREE), Finish()]


def test_a_stop_at_once_does_not_wait_for_what_cannot_be_named_or_does_not_die(serving: Scene) -> None:
    serving.exit(ONE, -9)
    serving.settle()
    serving.wanted = serving.wanted.ended(serving.now)
    serving.settle()
    serving.exit(Source(1), -9)
    assert serving.settle() == []
    serving.now += END_SECONDS
    assert serving.settle() == [Finish()]


# Fork servers that are put aside -------------------------------------------------------------------------------------


def test_a_kept_fork_server_is_stopped_and_goes_on_for_its_rollback(kept: Scene) -> None:
    states = [kept.fleet.generations[1].fork_server]
    kept.want(recall=1)
    assert kept.settle() == [Recall(1), Fork(1), Fork(1)]
    states.append(kept.fleet.generations[1].fork_server)
    assert states == [ForkServerState.PAUSED, ForkServerState.RUNNING]


def test_one_that_is_not_kept_ends_behind_its_last_worker() -> None:
    scene = Scene()
    scene.serve()
    scene.want(generation=2)
    scene.load(2)
    scene.ready(*NEW)
    scene.settle()
    scene.say(ONE, Frozen())
    scene.say(TWO, Frozen())
    assert PauseForkServer(1) in scene.settle()
    scene.exit(ONE)
    assert scene.settle() == []
    scene.exit(TWO)
    assert scene.settle() == [EndForkServer(1)]


def test_one_that_has_not_followed_its_orders_yet_is_not_stopped(serving: Scene) -> None:
    serving.exit(ONE, -9)
    serving.settle()
    serving.want(generation=2)
    serving.load(2)
    serving.ready(*NEW)
    serving.settle()
    serving.say(TWO, Frozen())
    assert PauseForkServer(1) not in serving.settle()
    serving.born(THREE)
    assert serving.settle() == [PauseForkServer(1)]


# Repair --------------------------------------------------------------------------------------------------------------


def repaired(scene: Scene, kind: str) -> None:
    """Have the fork server of what serves die, and its repair refused."""
    serving = scene.fleet.serving
    assert serving is not None
    number = scene.fleet.newest + 1
    scene.exit(Source(serving.number), -9)
    done = scene.settle()
    scene.now = max(scene.now, scene.fleet.repairs.not_before)
    assert [*done, *scene.settle()] == [StartGeneration(number, REPAIR)]
    scene.say(Source(number), LoadFailed(kind, "no"))
    assert Refuse(number, "no") in scene.settle()
    scene.exit(Source(number), 0)


def test_files_that_have_changed_are_not_tried_again_while_anybody_serves(serving: Scene) -> None:
    repaired(serving, "changed")
    serving.settle()
    serving.now += 1000.0
    assert serving.settle() == []
    serving.exit(ONE, -9)
    serving.now += 1000.0
    assert serving.settle() == []
    serving.exit(TWO, -9)
    assert serving.settle() == [StartGeneration(3, LAST_RESORT)]


def test_other_failures_are_tried_again(serving: Scene) -> None:
    repaired(serving, "app")
    serving.settle()
    serving.now += 1000.0
    assert serving.settle() == [StartGeneration(3, REPAIR)]


@pytest.mark.parametrize("kind", ["app", "changed"])
def test_the_kept_generation_serves_when_workers_are_missing(kept: Scene, kind: str) -> None:
    repaired(kept, kind)
    kept.settle()
    assert kept.fleet.kept is kept.fleet.generations[1]
    kept.exit(NEW[0], -9)
    recall, *_ = kept.settle()
    assert isinstance(recall, Recall)
    assert (recall.number, recall.reason) == (1, "the fork server of generation 2 is gone, and so are workers")


def test_the_kept_generation_is_kept_for_as_long_as_it_may_be_needed(kept: Scene) -> None:
    repaired(kept, "changed")
    kept.settle()
    kept.now += 1000.0
    assert LetGo(1) not in kept.settle()


def test_what_has_crashed_itself_is_no_refuge(kept: Scene) -> None:
    kept.fleet.generations[1].first, kept.fleet.generations[1].crashed = {1, 2}, {1, 2}
    repaired(kept, "changed")
    kept.exit(NEW[0], -9)
    kept.exit(NEW[1], -9)
    kept.now += 1000.0
    assert StartGeneration(4, LAST_RESORT) in kept.settle()


# Workers that crash --------------------------------------------------------------------------------------------------


def crash(scene: Scene, *sources: Source, status: int = -6) -> None:
    for source in sources:
        scene.exit(source, status)


def test_a_worker_that_was_ready_is_replaced_at_once_however_often(serving: Scene) -> None:
    victim = ONE
    for number in range(3, 40):
        serving.now += 2.0
        serving.exit(victim, -6)
        assert serving.settle() == [Fork(1)]
        victim = Source(1, number)
        serving.ready(victim)
        serving.settle()


def test_while_nobody_serves_the_pause_is_short(serving: Scene) -> None:
    serving.exit(TWO, -9)
    serving.exit(ONE, -9)
    serving.settle()
    for number in range(3, 30):
        serving.born(Source(1, number))
        serving.exit(Source(1, number), 1)
        serving.settle()
        assert serving.until - serving.now <= LONGEST_ALONE or number % 2
        serving.now = max(serving.now, min(serving.until, serving.now + LONGEST_ALONE))
        serving.settle()


def test_a_generation_all_of_whose_workers_crash_is_left_for_the_one_before(kept: Scene) -> None:
    crash(kept, NEW[0])
    assert kept.settle() == [Fork(2)]
    kept.now += 1.0
    crash(kept, NEW[1])
    recall, *others = kept.settle()
    assert recall == Recall(1, "all workers of generation 2 died in their first requests")
    assert others.count(Fork(1)) == 2


def roll_back(scene: Scene) -> None:
    """Have the rollback to generation 1 that has begun come to its end."""
    scene.ready(THREE, FOUR)
    scene.settle()
    for worker in scene.fleet.generations[2].workers.values():
        if worker.state is WorkerState.RETIRING:
            scene.say(worker.source, Frozen())
    scene.settle()
    scene.now += 2.0
    scene.settle()
    assert scene.fleet.serving is scene.fleet.generations[1]


@pytest.mark.parametrize(
    ("kills", "goes_back"),
    [
        pytest.param(KILLS, False, id="somebody has killed them"),
        pytest.param(KILLS + 1, True, id="the kernel has killed a process for want of memory"),
        pytest.param(None, True, id="the kernel does not tell"),
    ],
)
def test_workers_that_are_killed_have_crashed_if_memory_was_short(
    kept: Scene, kills: int | None, goes_back: bool
) -> None:
    for source in NEW:
        kept.exit(source, -9, kills)
    assert any(isinstance(action, Recall) for action in kept.settle()) is goes_back


def test_what_was_rolled_back_to_is_not_left_again(kept: Scene) -> None:
    crash(kept, *NEW)
    kept.settle()
    roll_back(kept)
    crash(kept, THREE, FOUR)
    assert all(action == Fork(1) for action in kept.settle())
    assert kept.fleet.serving is kept.fleet.generations[1]


def test_a_worker_crashes_twice_and_the_other_not_at_all(kept: Scene) -> None:
    crash(kept, NEW[0])
    kept.settle()
    kept.ready(Source(2, 3))
    kept.settle()
    crash(kept, Source(2, 3))
    assert not any(isinstance(action, Recall) for action in kept.settle())


def test_a_crash_later_on_is_an_ordinary_one(kept: Scene) -> None:
    crash(kept, NEW[0])
    kept.now += TRIAL
    crash(kept, NEW[1])
    assert not any(isinstance(action, Recall) for action in kept.settle())


def test_workers_that_were_told_to_leave_do_not_count(kept: Scene) -> None:
    kept.want(extra=-1)
    kept.settle()
    kept.say(NEW[1], Frozen())
    crash(kept, NEW[0], NEW[1])
    assert not any(isinstance(action, Recall) for action in kept.settle())


def test_without_auto_rollback_nobody_is_recalled() -> None:
    scene = second(keep_previous=300.0, auto_rollback=False)
    crash(scene, *NEW)
    assert scene.settle() == [Fork(2), Fork(2)]


def test_without_a_kept_generation_there_is_nothing_to_go_back_to(serving: Scene) -> None:
    crash(serving, ONE, TWO)
    assert serving.settle() == [Fork(1), Fork(1)]


def test_a_reload_that_was_asked_for_goes_before_a_rollback(kept: Scene) -> None:
    kept.want(generation=3)
    crash(kept, *NEW)
    assert kept.settle()[0] == StartGeneration(3, "start")


def test_a_report_of_requests_does_not_save_a_generation_that_crashes(kept: Scene) -> None:
    for source in NEW:
        kept.say(source, Report(3, 0, 1, 0, 1))
    crash(kept, *NEW)
    assert isinstance(kept.settle()[0], Recall)


def test_loaded_stamps_are_kept_with_the_generation() -> None:
    scene = Scene()
    scene.settle()
    scene.say(Source(1), Loaded(["/a.py", "/b.py"], [], ["1:2:3", ""]))
    assert scene.fleet.generations[1].stamps == {"/a.py": "1:2:3", "/b.py": ""}
