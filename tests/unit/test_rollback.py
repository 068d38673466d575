"""Going back to the generation before: planner and records, asked with literal messages. No process, no clock."""

import dataclasses

import pytest

from spawning.controller.actions import (
    Abandon,
    BeginCutover,
    EndForkServer,
    FinishCutover,
    Forget,
    Fork,
    GiveUpWorker,
    KillForkServer,
    KillWorker,
    LetGo,
    PauseForkServer,
    Recall,
    Refuse,
    RetireWorker,
    StartGeneration,
)
from spawning.controller.condition import condition
from spawning.controller.plan import FREEZE_SECONDS, Service
from spawning.controller.records import ForkServerState, GenerationState, Source, WorkerState
from spawning.ipc.messages import Frozen, Loaded, LoadFailed
from spawning.systemd import Phase
from unit.test_plan import SETTINGS, Scene

KEEP = 300.0
NEW = (Source(2, 1), Source(2, 2))
AGAIN = (Source(1, 3), Source(1, 4))


@pytest.fixture
def kept() -> Scene:
    """Generation 2 serves, generation 1 is kept and has no workers any more."""
    scene = Scene(dataclasses.replace(SETTINGS, keep_previous=KEEP))
    scene.serve()
    reload(scene, 2)
    for worker in (1, 2):
        scene.exit(Source(1, worker))
    assert scene.settle() == []
    return scene


def reload(scene: Scene, number: int) -> None:
    """Have generation `number` serve; the workers before freeze, and stay."""
    scene.want(generation=number, recall=0)
    before = [worker.source for each in scene.fleet for worker in each.active]
    scene.load(number)
    scene.ready(Source(number, 1), Source(number, 2))
    scene.settle()
    for source in before:
        scene.say(source, Frozen())
    scene.settle()
    assert scene.fleet.serving is scene.fleet.generations[number]


def roll_back(scene: Scene) -> None:
    """Have generation 1 serve instead of generation 2 again."""
    scene.want(recall=1)
    scene.settle()
    scene.ready(*AGAIN)
    scene.settle()
    for source in NEW:
        scene.say(source, Frozen())
    scene.settle()
    assert scene.fleet.serving is scene.fleet.generations[1]


def test_the_generation_before_is_kept_for_its_time(kept: Scene) -> None:
    assert kept.fleet.kept is kept.fleet.generations[1]
    assert kept.until == kept.now + KEEP
    kept.now = kept.until
    assert kept.settle() == [LetGo(1), EndForkServer(1)]
    kept.exit(Source(1), -9)
    assert kept.settle() == [Forget(1)]


def test_only_one_generation_is_kept(kept: Scene) -> None:
    reload(kept, 3)
    assert kept.fleet.kept is kept.fleet.generations[2]
    assert kept.fleet.generations[1].state is GenerationState.RETIRING


def test_nothing_is_kept_that_is_not_in_memory() -> None:
    scene = Scene(dataclasses.replace(SETTINGS, keep_previous=KEEP, no_preload=True))
    scene.serve()
    reload(scene, 2)
    assert scene.fleet.kept is None


def test_a_kept_fork_server_that_dies_is_not_repaired(kept: Scene) -> None:
    kept.exit(Source(1), -9)
    assert kept.settle() == [Forget(1)]
    kept.want(recall=1)
    assert kept.settle() == []


def test_a_rollback_step_by_step(kept: Scene) -> None:
    kept.want(recall=1)
    assert kept.settle() == [Recall(1), Fork(1), Fork(1)]
    kept.ready(*AGAIN)
    assert kept.settle() == [
        BeginCutover(1, kept.now + FREEZE_SECONDS),
        RetireWorker(NEW[0], 120.0),
        RetireWorker(NEW[1], 120.0),
    ]
    kept.say(NEW[0], Frozen())
    assert kept.settle() == []
    kept.say(NEW[1], Frozen())
    assert kept.settle() == [FinishCutover(1), PauseForkServer(2)]
    assert kept.fleet.kept is kept.fleet.generations[2]


def test_a_rollback_that_is_asked_for_during_the_cutover_begins_at_its_end() -> None:
    """The fork server is not stopped in between: nobody would continue it, and no worker would ever be born."""
    scene = Scene(dataclasses.replace(SETTINGS, keep_previous=KEEP))
    scene.serve()
    scene.want(generation=2)
    scene.load(2)
    scene.ready(*NEW)
    scene.settle()
    scene.want(recall=1)
    assert scene.settle() == []
    scene.say(Source(1, 1), Frozen())
    scene.say(Source(1, 2), Frozen())
    assert scene.settle() == [FinishCutover(2), Recall(1), Fork(1), Fork(1)]
    assert scene.fleet.generations[1].fork_server is ForkServerState.RUNNING


def test_a_rollback_that_is_asked_for_in_the_last_moment_begins(kept: Scene) -> None:
    kept.now = kept.until
    kept.want(recall=1)
    assert kept.settle() == [Recall(1), Fork(1), Fork(1)]


def test_the_service_manager_hears_of_a_rollback(kept: Scene) -> None:
    kept.want(recall=1)
    kept.settle()
    told = condition(kept.wanted, kept.fleet)
    assert (told.phase, told.target) == (Phase.RELOADING, 1)


def test_back_and_forth(kept: Scene) -> None:
    roll_back(kept)
    kept.want(recall=2)
    assert kept.settle() == [Recall(2), Fork(2), Fork(2)]
    kept.ready(Source(2, 3), Source(2, 4))
    kept.settle()
    for source in AGAIN:
        kept.say(source, Frozen())
    assert kept.settle() == [FinishCutover(2), PauseForkServer(1)]
    assert kept.fleet.kept is kept.fleet.generations[1]


def test_a_rollback_is_done_once(kept: Scene) -> None:
    """A reload that nobody asked for, such as that of --max-memory, is not undone by the rollback before it."""
    roll_back(kept)
    assert kept.wanted.recall == 0
    kept.want(generation=3)
    kept.load(3)
    kept.ready(Source(3, 1), Source(3, 2))
    kept.settle()
    for source in AGAIN:
        kept.say(source, Frozen())
    assert kept.settle()[0] == FinishCutover(3)
    assert kept.fleet.kept is kept.fleet.generations[1]
    assert kept.settle() == []


def test_workers_of_the_first_term_finish_in_peace() -> None:
    scene = Scene(dataclasses.replace(SETTINGS, keep_previous=KEEP))
    scene.serve()
    reload(scene, 2)
    first = scene.fleet.generations[1].workers
    assert {worker.state for worker in first.values()} == {WorkerState.FROZEN}
    roll_back(scene)
    assert [first[number].state for number in (1, 2)] == [WorkerState.FROZEN] * 2
    scene.exit(Source(1, 1))
    assert scene.settle() == []


def test_a_reload_after_a_rollback_retires_the_workers_of_the_older_number(kept: Scene) -> None:
    roll_back(kept)
    kept.want(generation=3, recall=0)
    kept.load(3)
    kept.ready(Source(3, 1), Source(3, 2))
    _, *told = kept.settle()
    assert told == [RetireWorker(source, 120.0) for source in AGAIN]


def test_a_rollback_abandons_what_is_loading(kept: Scene) -> None:
    kept.want(generation=3)
    kept.settle()
    kept.want(recall=1)
    assert kept.settle() == [Recall(1), Abandon(3), Fork(1), Fork(1)]


def test_a_reload_abandons_a_rollback_and_kills_nobody_who_has_served() -> None:
    scene = Scene(dataclasses.replace(SETTINGS, keep_previous=KEEP))
    scene.serve()
    reload(scene, 2)
    scene.want(recall=1)
    scene.settle()
    scene.want(generation=3, recall=0)
    assert scene.settle() == [StartGeneration(3, "start"), Abandon(1)]
    states = {
        source.worker: worker.state
        for source, worker in ((each.source, each) for each in scene.fleet.generations[1].workers.values())
    }
    assert states == {1: WorkerState.FROZEN, 2: WorkerState.FROZEN, 3: WorkerState.KILLED, 4: WorkerState.KILLED}


def test_a_rollback_asked_for_during_a_cutover_comes_after_it(kept: Scene) -> None:
    kept.want(generation=3)
    kept.load(3)
    kept.ready(Source(3, 1), Source(3, 2))
    kept.settle()
    kept.want(recall=2)
    assert kept.settle() == []
    for source in NEW:
        kept.say(source, Frozen())
    assert kept.settle()[:2] == [FinishCutover(3), Recall(2)]


def test_two_cutovers_do_not_overlap(kept: Scene) -> None:
    kept.want(generation=3)
    kept.load(3)
    kept.ready(Source(3, 1), Source(3, 2))
    kept.settle()
    kept.want(generation=4)
    kept.settle()
    kept.say(Source(4), Loaded())
    kept.settle()
    kept.ready(Source(4, 1), Source(4, 2))
    assert kept.settle() == []
    for source in NEW:
        kept.say(source, Frozen())
    done = kept.settle()
    assert done.index(FinishCutover(3)) < done.index(BeginCutover(4, kept.now + FREEZE_SECONDS))


def test_a_rollback_that_does_not_become_ready_is_refused(kept: Scene) -> None:
    kept.now += 100.0
    kept.want(recall=1)
    kept.settle()
    assert kept.until == kept.now + 60.0
    kept.say(AGAIN[0], LoadFailed("app", "no"))
    assert kept.settle() == [Refuse(1, "no")]
    assert kept.fleet.serving is kept.fleet.generations[2]


def test_a_fork_server_that_dies_during_its_rollback_leaves_what_serves_alone(kept: Scene) -> None:
    kept.want(recall=1)
    kept.settle()
    kept.ready(AGAIN[0])
    kept.exit(Source(1), -9)
    refusal, given_up = kept.settle()
    assert isinstance(refusal, Refuse)
    assert given_up == GiveUpWorker(AGAIN[1])
    kept.exit(AGAIN[0], -9)
    assert kept.settle() == [Forget(1)]
    assert kept.fleet.serving is kept.fleet.generations[2]


def test_a_stop_ends_what_is_kept(kept: Scene) -> None:
    kept.want(service=Service.END)
    reason = "the service ends"
    assert kept.settle() == [
        KillWorker(NEW[0], reason),
        KillWorker(NEW[1], reason),
        KillForkServer(1),
        KillForkServer(2),
    ]
