"""How far a reload or rollback has come, asked of fleets that literal messages have built. No process, no clock."""

import dataclasses

import pytest

from spawning.controller.awaiting import Failed, Replaced, Serves, Underway, look
from spawning.controller.plan import STORM_SECONDS, Service
from spawning.controller.records import Source
from spawning.controller.refusal import Refusal
from spawning.ipc.messages import Frozen, Loaded
from unit.test_plan import SETTINGS, Scene


@pytest.fixture
def scene() -> Scene:
    """Generation 1 serves."""
    scene = Scene(dataclasses.replace(SETTINGS, keep_previous=300.0))
    scene.serve()
    return scene


def progress(scene: Scene, number: int) -> object:
    return look(number, scene.wanted, scene.fleet)


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
    assert progress(scene, 2) == Serves(2)


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
    assert progress(scene, 2) == Serves(2)
    assert progress(scene, 1) == Serves(1)


def test_a_rollback_step_by_step(scene: Scene) -> None:
    reload(scene, 2)
    scene.want(recall=1)
    scene.settle()
    assert progress(scene, 1) == Underway("generation 1: starting workers")
    ready(scene, 1, 3, 4)
    assert progress(scene, 1) == Underway("generation 1: cutting over")
    freeze(scene, 2, 1, 2)
    assert progress(scene, 1) == Serves(1)


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
    assert progress(scene, 3) == Serves(3)


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
