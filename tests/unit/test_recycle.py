"""Replacing workers that serve: who is due, the replacement first, one at a time, never during a reload."""

import dataclasses
from typing import Any

import pytest

from spawning.controller.actions import (
    Action,
    AnnounceEnd,
    BeginCutover,
    Fork,
    KillWorker,
    MeasureMemory,
    RecycleWorker,
    RetireWorker,
    StartGeneration,
    StartWorker,
    SuspectWorker,
)
from spawning.controller.plan import Service
from spawning.controller.records import REPAIR, Source
from spawning.controller.recycle import MB, RELOAD_PAUSE, SILENCE, SUSPICION, most_requests
from spawning.ipc.messages import Frozen, LoadFailed, Report, Unwell
from unit.test_plan import SETTINGS, Scene

ONE, TWO, THREE = Source(1, 1), Source(1, 2), Source(1, 3)


class RecyclingScene(Scene):
    """A generation with two workers that serves; measurements give what ``memory`` and ``total`` say."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(dataclasses.replace(SETTINGS, **settings))
        self.memory: dict[Source, int] = {}
        self.total = self.limit = 0
        self._execute |= {
            RecycleWorker: self._leave,
            MeasureMemory: self._measure,
            SuspectWorker: lambda action: self.fleet.suspected(action.source, self.now),
        }
        self.serve()
        self.now += 20.0

    def report(self, source: Source, requests: int) -> None:
        self.say(source, Report(requests=requests, errors=0, executing=0, queued=0, connections=0))

    def _measure(self, action: Action) -> None:
        living = {source: size for source, size in self.memory.items() if self.fleet.worker(source)}
        self.fleet.measured(living, self.total, self.now + 5.0, self.limit)


def test_the_replacement_serves_before_the_old_worker_leaves() -> None:
    scene = RecyclingScene(max_requests=1000)
    scene.report(ONE, 999)
    assert scene.settle() == []
    scene.report(ONE, 1003)
    assert scene.settle() == [Fork(1)]
    scene.ready(THREE)
    assert scene.settle() == [StartWorker(THREE), RecycleWorker(ONE, 120.0, "1003 requests (--max-requests 1000)")]
    scene.say(ONE, Frozen())
    scene.exit(ONE)
    assert scene.settle() == []
    assert [worker.source for worker in scene.fleet.generations[1].active] == [TWO, THREE]


def test_one_at_a_time() -> None:
    scene = RecyclingScene(max_requests=10)
    scene.report(ONE, 10)
    scene.report(TWO, 10)
    assert scene.settle() == [Fork(1)]
    scene.ready(THREE)
    assert [type(action) for action in scene.settle()] == [StartWorker, RecycleWorker]
    assert scene.settle() == []
    scene.exit(ONE)
    assert scene.settle() == [Fork(1)]


def test_the_jitter_is_the_workers_own_and_does_not_change() -> None:
    scene = RecyclingScene(max_requests=1000, max_requests_jitter=500)
    generation = scene.fleet.generations[1]
    limits = [most_requests(worker, generation) for worker in generation.active]
    assert limits == [most_requests(worker, generation) for worker in generation.active]
    assert len(set(limits)) == 2
    assert all(1000 <= limit <= 1500 for limit in limits)


def test_age_is_known_beforehand() -> None:
    scene = RecyclingScene(max_age=60.0)
    assert scene.settle() == []
    scene.now = scene.until
    assert scene.now == 160.0
    assert scene.settle() == [Fork(1)]
    scene.ready(THREE)
    assert scene.settle() == [StartWorker(THREE), RecycleWorker(ONE, 120.0, "age (--max-age 60)")]


def test_a_worker_that_needs_too_much_memory() -> None:
    scene = RecyclingScene(max_worker_memory=100)
    scene.memory = {ONE: 99 * MB, TWO: 120 * MB}
    assert scene.settle() == [MeasureMemory(), Fork(1)]
    scene.ready(THREE)
    assert scene.settle() == [StartWorker(THREE), RecycleWorker(TWO, 120.0, "120 MB (--max-worker-memory 100)")]
    scene.exit(TWO)
    assert scene.until == scene.now + 5.0


def test_nothing_is_measured_unless_somebody_wants_to_know() -> None:
    assert RecyclingScene().until == float("inf")


def test_nobody_becomes_due_during_a_reload() -> None:
    scene = RecyclingScene(max_requests=10)
    scene.want(generation=2)
    scene.settle()
    scene.report(ONE, 10)
    assert scene.settle() == []
    scene.say(Source(2), LoadFailed("app", "no"))
    assert Fork(1) in scene.settle()


def test_a_recycling_that_has_begun_is_finished_during_a_reload() -> None:
    scene = RecyclingScene(max_requests=10)
    scene.report(ONE, 10)
    assert scene.settle() == [Fork(1)]
    scene.want(generation=2)
    assert scene.settle() == [StartGeneration(2, "start")]
    scene.ready(THREE)
    assert [type(action) for action in scene.settle()] == [StartWorker, RecycleWorker]


def test_a_cutover_ends_the_recycling() -> None:
    scene = RecyclingScene(max_requests=10)
    scene.report(ONE, 10)
    scene.settle()
    scene.want(generation=2)
    scene.load(2)
    scene.ready(Source(2, 1), Source(2, 2))
    begun, *told = scene.settle()
    assert isinstance(begun, BeginCutover)
    leave = [RetireWorker(ONE, 120.0), RetireWorker(TWO, 120.0), KillWorker(THREE, "not needed any more")]
    assert told == leave


def test_a_replacement_that_dies_is_tried_again_while_the_old_worker_serves() -> None:
    scene = RecyclingScene(max_requests=10)
    scene.report(ONE, 10)
    scene.settle()
    scene.born(THREE)
    scene.exit(THREE, 3)
    assert scene.settle() == []
    scene.now = scene.until
    assert scene.settle() == [Fork(1)]
    assert len(scene.fleet.generations[1].active) == 3


def test_a_recycled_worker_is_no_part_of_a_crash_loop() -> None:
    scene = RecyclingScene(max_requests=10)
    scene.now = 101.0  # young enough for a crash to count
    scene.report(ONE, 10)
    scene.settle()
    scene.ready(THREE)
    scene.settle()
    scene.exit(ONE, 1)
    assert scene.fleet.generations[1].forks.pause == 0.0


def test_without_a_fork_server_the_old_worker_goes_on_until_it_is_repaired() -> None:
    scene = RecyclingScene(max_requests=10)
    scene.exit(Source(1), -9)
    scene.report(ONE, 10)
    assert scene.settle() == [StartGeneration(2, "repair")]


def test_fewer_workers_are_wanted_than_there_are_and_one_is_due() -> None:
    scene = RecyclingScene(max_requests=10)
    scene.report(ONE, 10)
    scene.want(extra=-1)
    assert scene.settle() == [RecycleWorker(ONE, 120.0, "10 requests (--max-requests 10)")]


def test_too_much_memory_in_all_is_a_reload_and_not_again_at_once() -> None:
    scene = RecyclingScene(max_memory=300)
    scene.total = 301 * MB
    assert scene.settle() == [MeasureMemory(), StartGeneration(2, "max-memory")]
    scene.say(Source(2), LoadFailed("app", "the disk is broken"))
    scene.settle()
    scene.exit(Source(2), -9)
    scene.now += RELOAD_PAUSE
    scene.total = 299 * MB
    assert MeasureMemory() in scene.next()
    scene.total = 302 * MB
    assert StartGeneration(3, "max-memory") in scene.settle()


@pytest.mark.parametrize(("finishing", "total"), [(True, 0), (False, 400 * MB)])
def test_what_old_workers_need_that_are_still_finishing_does_not_count(finishing: bool, total: int) -> None:
    scene = RecyclingScene(max_memory=300)
    scene.want(generation=2)
    scene.load(2)
    scene.ready(Source(2, 1), Source(2, 2))
    scene.settle()
    scene.say(ONE, Frozen())
    scene.say(TWO, Frozen())
    scene.settle()
    if not finishing:
        scene.exit(ONE)
        scene.exit(TWO)
    scene.fleet.measured({}, 400 * MB, scene.now + 5.0)
    assert scene.fleet.memory == total


def test_near_the_limit_of_the_control_group_the_largest_worker_makes_room() -> None:
    scene = RecyclingScene(max_memory="auto")
    scene.memory, scene.total, scene.limit = {ONE: 90 * MB, TWO: 300 * MB}, 450 * MB, 500 * MB
    assert scene.settle() == [MeasureMemory()]  # 90 % is allowed
    scene.total += MB
    scene.now += 5.0
    assert scene.settle() == [MeasureMemory(), Fork(1)]
    scene.ready(THREE)
    reason = "300 MB, 451 MB of 500 MB in all (--max-memory auto)"
    assert scene.settle() == [StartWorker(THREE), RecycleWorker(TWO, 120.0, reason)]
    scene.now += 5.0
    assert scene.settle() == [MeasureMemory()]  # the old one still has its memory
    scene.exit(TWO)
    assert scene.settle() == []  # what was measured counted the old one as well
    scene.now += 5.0
    assert scene.settle() == [MeasureMemory(), Fork(1)]


def test_without_a_limit_of_the_control_group_nothing_is_replaced() -> None:
    scene = RecyclingScene(max_memory="auto")
    scene.memory, scene.total = {ONE: 10**12}, 10**12
    assert scene.settle() == [MeasureMemory()]


# Stuck requests ------------------------------------------------------------------------------------------------------


def test_a_worker_that_is_unwell_comes_before_those_that_are_only_due() -> None:
    scene = RecyclingScene(max_requests=10)
    scene.report(ONE, 10)
    scene.say(TWO, Unwell("a request is stuck"))
    assert scene.settle() == [Fork(1)]
    scene.ready(THREE)
    assert scene.settle() == [StartWorker(THREE), RecycleWorker(TWO, 120.0, "a request is stuck")]


def test_nobody_is_replaced_while_the_service_is_about_to_end() -> None:
    """Who sends SIGTERM to the whole process group means the service, not each worker."""
    scene = RecyclingScene()
    scene.say(ONE, Unwell("SIGTERM"))
    scene.want(service=Service.DRAIN, drain_at=scene.now + 10.0)
    assert scene.settle() == [AnnounceEnd(ONE), AnnounceEnd(TWO)]


def test_a_replacement_that_was_begun_before_the_service_is_about_to_end_is_given_up() -> None:
    scene = RecyclingScene()
    scene.say(ONE, Unwell("SIGTERM"))
    assert scene.settle() == [Fork(1)]
    scene.want(service=Service.DRAIN, drain_at=scene.now + 10.0)
    assert KillWorker(THREE, "not needed any more") in scene.settle()


def test_a_worker_that_does_not_report_is_suspected_and_then_killed() -> None:
    scene = RecyclingScene(request_timeout=30.0)
    scene.report(ONE, 0)
    scene.report(TWO, 0)
    assert scene.settle() == []
    scene.now = scene.until
    assert scene.now == 120.0 + 30.0 + SILENCE
    scene.report(TWO, 0)
    assert scene.settle() == [SuspectWorker(ONE)]
    scene.now = scene.until
    reason = "has not reported for 35 s (--request-timeout)"
    assert scene.settle() == [KillWorker(ONE, reason), Fork(1)]


def test_after_a_pause_of_the_whole_machine_nobody_is_killed() -> None:
    scene = RecyclingScene(request_timeout=30.0)
    scene.report(ONE, 0)
    scene.report(TWO, 0)
    scene.now += 3600.0
    assert scene.settle() == [SuspectWorker(ONE), SuspectWorker(TWO)]
    scene.now += 1.0
    scene.report(ONE, 0)
    scene.report(TWO, 0)
    scene.now += SUSPICION
    assert scene.settle() == []


def test_without_a_request_timeout_silence_means_nothing() -> None:
    scene = RecyclingScene()
    scene.now += 3600.0
    assert scene.settle() == []


def test_a_reload_for_memory_does_not_wait_for_a_repair_that_cannot_be() -> None:
    scene = RecyclingScene(max_memory=300)
    scene.settle()
    scene.exit(Source(1), -9)
    assert StartGeneration(2, REPAIR) in scene.settle()
    scene.say(Source(2), LoadFailed("changed", "files have changed"))
    scene.settle()
    scene.exit(Source(2))
    scene.now += RELOAD_PAUSE
    scene.total = 301 * MB
    assert StartGeneration(3, "max-memory") in scene.settle()
