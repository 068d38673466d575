"""How far a reload or rollback has come, asked of fleets that literal messages have built. No process, no clock."""

import dataclasses

import pytest

from spawning.controller.actions import Recall
from spawning.controller.awaiting import Failed, Replaced, Serves, Underway, look
from spawning.controller.plan import STORM_SECONDS, Service
from spawning.controller.records import TRIAL, Source
from spawning.controller.refusal import Refusal
from spawning.ipc.messages import Frozen, Loaded
from unit.test_plan import SETTINGS, Scene


@pytest.fixture
def scene() -> Scene:
    """Generation 1 serves."""
    scene = Scene(dataclasses.replace(SETTINGS, keep_previous=300.0, auto_rollback=False))
    scene.serve()
    return scene


def progress(scene: Scene, number: int) -> object:
    """Look; the number alone means that it serves and stays."""
    found = look(number, scene.wanted, scene.fleet, scene.now)
    return found.number if isinstance(found, Serves) else found


def ready(scene: Scene, number: int, *workers: int) -> None:
    scene.ready(*(Source(number, worker) for worker in workers))
    scene.settle()


def freeze(scene: Scene, number: int, *workers: int) -> None:
    for worker in workers:
        scene.say(Source(number, worker), Frozen())
    scene.settle()


def reload(scene: Scene, number: int) -> None:
    scene.want(generation=number, recall=0)
    scene.load(number)
    ready(scene, number, 1, 2)
    freeze(scene, number - 1, 1, 2)


def test_a_reload_step_by_step(scene: Scene) -> None:
    scene.want(generation=2)
    assert progress(scene, 2) == Underway("generation 2: waiting to be started")
    scene.settle()
    assert progress(scene, 2) == Underway("generation 2: loading")
    scene.say(Source(2), Loaded())
    scene.settle()
    assert progress(scene, 2) == Underway("generation 2: starting workers")
    ready(scene, 2, 1, 2)
    assert progress(scene, 2) == Underway("generation 2: cutting over")
    freeze(scene, 1, 1, 2)
    assert progress(scene, 2) == 2


@pytest.fixture
def on_trial() -> Scene:
    """Generation 2 has just begun to serve in the place of 1, and goes if its workers crash."""
    scene = Scene(dataclasses.replace(SETTINGS, keep_previous=300.0))
    scene.serve()
    reload(scene, 2)
    return scene


def test_a_generation_that_may_be_rolled_back_is_watched_first(on_trial: Scene) -> None:
    until = on_trial.now + TRIAL
    assert progress(on_trial, 2) == Underway("generation 2: serves, and is watched for 10 s", until)
    since = on_trial.now
    on_trial.now = until
    assert look(2, on_trial.wanted, on_trial.fleet, on_trial.now) == Serves(2, since)


def test_a_rollback_that_nobody_has_asked_for_is_the_end_of_the_reload(on_trial: Scene) -> None:
    for worker in (1, 2):
        on_trial.exit(Source(2, worker), -6)
    (recall,) = (action for action in on_trial.settle() if isinstance(action, Recall))
    on_trial.fleet.last_refusal = Refusal(2, "spawnctl", 0.0, recall.reason)
    reason = "generation 2 was refused: all workers of generation 2 died in their first requests"
    assert progress(on_trial, 2) == Failed(reason)


def test_nobody_watches_where_there_is_nothing_to_go_back_to(on_trial: Scene) -> None:
    on_trial.exit(Source(1), -9)
    assert progress(on_trial, 2) == 2


def test_a_rollback_is_not_watched(on_trial: Scene) -> None:
    on_trial.want(recall=1)
    on_trial.settle()
    ready(on_trial, 1, 3, 4)
    freeze(on_trial, 2, 1, 2)
    assert progress(on_trial, 1) == 1


def test_a_reload_that_is_refused(scene: Scene) -> None:
    scene.want(generation=2)
    scene.settle()
    scene.fleet.refused(2, scene.now)
    scene.fleet.last_refusal = Refusal(2, "spawnctl", 0.0, "it does not import", "Traceback …\n")
    assert progress(scene, 2) == Failed("generation 2 was refused: it does not import", "Traceback …\n")
    scene.fleet.forgotten(2)
    assert progress(scene, 2) == Failed("generation 2 was refused: it does not import", "Traceback …\n")


def test_who_waits_goes_on_waiting_for_the_newer_code(scene: Scene) -> None:
    scene.want(generation=2)
    scene.settle()
    scene.want(generation=3)
    scene.settle()
    assert progress(scene, 2) == Underway("generation 2: loading")
    assert progress(scene, 3) == Underway("generation 3: waiting to be started")
    scene.now += STORM_SECONDS
    scene.settle()
    assert progress(scene, 2) == Underway("generation 2: loading")  # and serves, if it is ready first
    assert progress(scene, 3) == Underway("generation 3: loading")
    scene.now += STORM_SECONDS
    scene.want(generation=4)
    scene.settle()
    assert progress(scene, 2) == Underway("generation 2: loading")
    assert progress(scene, 3) == Replaced(4)


def test_a_generation_that_is_superseded_at_once_has_served(scene: Scene) -> None:
    reload(scene, 2)
    reload(scene, 3)
    assert progress(scene, 2) == 2
    assert progress(scene, 1) == 1


def test_a_rollback_step_by_step(scene: Scene) -> None:
    reload(scene, 2)
    scene.want(recall=1)
    scene.settle()
    assert progress(scene, 1) == Underway("generation 1: starting workers")
    ready(scene, 1, 3, 4)
    assert progress(scene, 1) == Underway("generation 1: cutting over")
    freeze(scene, 2, 1, 2)
    assert progress(scene, 1) == 1


def test_a_rollback_waits_for_the_cutover_under_way(scene: Scene) -> None:
    reload(scene, 2)
    scene.want(generation=3)
    scene.load(3)
    ready(scene, 3, 1, 2)
    scene.want(recall=2)
    scene.settle()
    assert progress(scene, 2) == Underway("generation 2: waiting for the end of another cutover")
    assert progress(scene, 3) == Underway("generation 3: cutting over")
    freeze(scene, 2, 1, 2)
    assert progress(scene, 2) == Underway("generation 2: starting workers")
    assert progress(scene, 3) == 3


def test_a_rollback_to_what_is_gone(scene: Scene) -> None:
    reload(scene, 2)
    scene.exit(Source(1), -9)
    scene.want(recall=1)
    scene.settle()
    assert progress(scene, 1) == Failed("generation 1 is not kept any more")


def test_a_reload_is_given_up_for_a_rollback(scene: Scene) -> None:
    reload(scene, 2)
    scene.want(generation=3)
    scene.settle()
    scene.want(recall=1)
    scene.settle()
    assert progress(scene, 3) == Failed("generation 3 was given up for a rollback")


def test_nothing_comes_of_it_when_the_service_ends(scene: Scene) -> None:
    scene.want(generation=2, service=Service.DRAIN)
    assert progress(scene, 2) == Failed("the server is stopping")
