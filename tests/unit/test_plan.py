"""The planner, asked about fleets that literal messages have built. No process, no clock."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import pytest

from spawning.controller.actions import (
    Abandon,
    Action,
    AnnounceEnd,
    BeginCutover,
    CutStreams,
    EndForkServer,
    Finish,
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
    StartWorker,
    StopWorker,
)
from spawning.controller.fleet import Fleet
from spawning.controller.plan import FREEZE_SECONDS, MOST_STARTING, STORM_SECONDS, Service, Wanted, plan, without_done
from spawning.controller.records import END_SECONDS, PAGE, ForkServerStep, Source, WorkerStep
from spawning.controller.refusal import Page, Refusal, page_settings
from spawning.ipc.messages import Born, Frozen, Loaded, LoadFailed, Ready, Report
from spawning.settings import Settings

SETTINGS = Settings(args=("site:app",), num_processes=2, boot_timeout=60.0, deadman_timeout=120.0, keep_previous=0.0)

KILLS = 7  # processes that the kernel has killed for want of memory, as of each cutover


class Scene:
    """A fleet, what is wanted of it, and a clock that the test moves. :meth:`settle` does what the controller does."""

    def __init__(self, settings: Settings = SETTINGS) -> None:
        self.settings = settings
        self.fleet = Fleet()
        self.wanted = Wanted()
        self.now = 100.0
        self.done: list[Action] = []
        self._execute: dict[type[Any], Callable[[Any], None]] = {
            StartGeneration: lambda action: self.fleet.generation_started(
                action.number, self._settings_of(action), action.trigger, action.number * 1000, self.now
            ),
            Refuse: self._refuse,
            Abandon: self._refuse,
            Recall: lambda action: self.fleet.recalled(action.number, self.now),
            LetGo: lambda action: self.fleet.let_go(action.number),
            Fork: self._fork,
            BeginCutover: lambda action: self.fleet.cutover_began(action.number, action.until),
            FinishCutover: self._finish_cutover,
            StartWorker: lambda action: self._worker(action.source).step(WorkerStep.STARTED),
            RetireWorker: self._leave,
            AnnounceEnd: self._announce,
            StopWorker: self._stop,
            CutStreams: self._cut_streams,
            KillWorker: lambda action: self.fleet.killed(action.source),
            GiveUpWorker: lambda action: self.fleet.given_up(action.source, self.now),
            PauseForkServer: self._pause_fork_server,
            EndForkServer: lambda action: self.fleet.fork_server_told_to_end(action.number, self.now + END_SECONDS),
            KillForkServer: lambda action: self.fleet.fork_server_killed(action.number),
            Forget: lambda action: self.fleet.forgotten(action.number),
            Finish: lambda action: None,
        }

    def _settings_of(self, action: StartGeneration) -> Settings:
        page = self.fleet.page
        return page.settings if page is not None and action.trigger == PAGE else self.settings

    def want(self, **changes: Any) -> None:
        self.wanted = dataclasses.replace(self.wanted, **changes)

    def next(self) -> list[Action]:
        return plan(self.wanted, self.fleet, self.now).actions

    @property
    def until(self) -> float:
        return plan(self.wanted, self.fleet, self.now).until

    def settle(self) -> list[Action]:
        """Execute the plan until nothing is left to do, and give what was done."""
        done: list[Action] = []
        for _ in range(20):
            actions = self.next()
            if not actions or actions == [Finish()]:
                return done + actions
            for action in actions:
                self._execute[type(action)](action)
            done += actions
            self.wanted = without_done(self.wanted, self.fleet)
        raise AssertionError(f"the plan does not come to an end: {done}")

    def say(self, source: Source, message: Any) -> None:
        self.fleet.apply(source, message, self.now)

    def exit(self, source: Source, status: int = 0, kills: int | None = None) -> None:
        self.fleet.exited(_pid(source), status, self.now, kills)

    def born(self, *sources: Source) -> None:
        for source in sources:
            self.say(source, Born(_pid(source)))

    def ready(self, *sources: Source) -> None:
        self.born(*sources)
        for source in sources:
            self.say(source, Ready())

    def load(self, number: int) -> list[Action]:
        """Have a generation load and fork."""
        self.settle()
        self.say(Source(number), Loaded())
        return self.settle()

    def serve(self, number: int = 1) -> None:
        """Get a generation with two workers to serve; those before it freeze and exit."""
        self.load(number)
        self.ready(Source(number, 1), Source(number, 2))
        before = [worker.source for each in self.fleet if each.number < number for worker in each.active]
        self.settle()
        for source in before:
            self.say(source, Frozen())
        self.settle()
        for source in before:
            self.exit(source)
        if before:
            self.exit(Source(number - 1), -9)
        self.settle()

    def _announce(self, action: AnnounceEnd) -> None:
        self._worker(action.source).announced = True

    def _worker(self, source: Source) -> Any:
        return self.fleet.generations[source.generation].workers[source.worker]

    def _fork(self, action: Fork) -> None:
        self.fleet.worker_forked(self.fleet.next_source(action.number), self.now)

    def _leave(self, action: Any) -> None:
        self.fleet.told_to_leave(action.source, self.now + action.seconds + 1.0)

    def _stop(self, action: StopWorker) -> None:
        self._leave(action)
        self.fleet.told_to_stop(action.source)

    def _cut_streams(self, action: CutStreams) -> None:
        self._worker(action.source).ends_streams = True

    def _pause_fork_server(self, action: PauseForkServer) -> None:
        self.fleet.generations[action.number].step_fork_server(ForkServerStep.WAS_PAUSED)

    def _refuse(self, action: Any) -> None:
        self.fleet.refused(action.number, self.now)
        self.fleet.fork_server_told_to_end(action.number, self.now + END_SECONDS)
        for worker in self.fleet.generations[action.number].active:
            self.fleet.killed(worker.source)

    def _finish_cutover(self, action: FinishCutover) -> None:
        self.fleet.cutover_finished(action.number, self.now, KILLS)
        for worker in self.fleet.generations[action.number].active:
            if worker.state.name == "READY":
                worker.step(WorkerStep.STARTED)


def _pid(source: Source) -> int:
    return source.generation * 1000 + source.worker


@pytest.fixture
def serving() -> Scene:
    scene = Scene()
    scene.serve()
    scene.now += 20.0
    return scene


ONE, TWO, THREE = Source(1, 1), Source(1, 2), Source(1, 3)


# Starting ------------------------------------------------------------------------------------------------------------


def test_the_first_generation_step_by_step() -> None:
    scene = Scene()
    assert scene.next() == [StartGeneration(1, "start")]
    assert scene.settle() == [StartGeneration(1, "start")]
    assert scene.until == 160.0  # the boot timeout
    scene.say(Source(1), Loaded())
    assert scene.settle() == [Fork(1), Fork(1)]
    scene.ready(ONE)
    assert scene.settle() == []
    scene.ready(TWO)
    assert scene.settle() == [BeginCutover(1, 100.0 + FREEZE_SECONDS), FinishCutover(1)]
    assert scene.until == math.inf


def test_forks_are_bounded_at_a_time() -> None:
    scene = Scene(dataclasses.replace(SETTINGS, num_processes=MOST_STARTING + 3))
    assert len(scene.load(1)) == MOST_STARTING
    scene.ready(ONE)
    assert scene.settle() == [Fork(1)]


def test_a_generation_that_is_not_ready_in_time_is_refused() -> None:
    scene = Scene()
    scene.load(1)
    scene.ready(ONE)
    scene.now = 160.0
    (refusal,) = scene.settle()
    assert isinstance(refusal, Refuse)
    assert refusal.reason == "the application was not ready within 60 s (--boot-timeout)"


def test_a_refused_generation_is_forgotten_when_its_processes_have_gone() -> None:
    scene = Scene()
    scene.load(1)
    scene.born(ONE, TWO)
    scene.say(ONE, LoadFailed("app", "no"))
    assert scene.settle() == [Refuse(1, "no")]
    scene.exit(ONE, 3)
    scene.exit(Source(1), -9)
    assert scene.settle() == []
    scene.exit(TWO, -9)
    assert scene.settle() == [Forget(1)]


# Supervision ---------------------------------------------------------------------------------------------------------


def test_a_dead_worker_is_replaced_at_once_and_started_when_ready(serving: Scene) -> None:
    serving.exit(ONE, -9)
    assert serving.settle() == [Fork(1)]
    serving.ready(THREE)
    assert serving.settle() == [StartWorker(THREE)]


def test_a_worker_that_freezes_by_itself_is_replaced_before_it_has_gone(serving: Scene) -> None:
    serving.say(ONE, Frozen())
    assert serving.settle() == [Fork(1)]


def test_a_crash_loop_waits_and_does_not_give_up(serving: Scene) -> None:
    serving.exit(ONE, -9)
    serving.settle()
    serving.ready(THREE)
    serving.settle()
    serving.exit(THREE, -9)
    assert serving.settle() == []
    assert serving.until == pytest.approx(serving.now + 0.1)
    serving.now = serving.until
    assert serving.settle() == [Fork(1)]


def test_a_dead_fork_server_is_repaired_by_a_new_generation(serving: Scene) -> None:
    serving.exit(Source(1), -9)
    assert serving.settle() == [StartGeneration(2, "repair")]
    serving.exit(ONE, -9)
    assert serving.settle() == []  # nobody to fork from, for now


def test_a_repair_that_fails_is_tried_again_after_a_pause(serving: Scene) -> None:
    serving.exit(Source(1), -9)
    serving.settle()
    serving.say(Source(2), LoadFailed("app", "no"))
    assert serving.settle() == [Refuse(2, "no")]
    assert serving.until > serving.now
    serving.now = serving.until
    assert serving.settle() == [StartGeneration(3, "repair")]


def test_more_and_fewer_workers(serving: Scene) -> None:
    serving.want(extra=1)
    assert serving.settle() == [Fork(1)]
    serving.ready(THREE)
    serving.settle()
    serving.want(extra=-1)
    assert serving.settle() == [RetireWorker(TWO, 120.0), RetireWorker(THREE, 120.0)]
    serving.want(extra=-5)
    assert serving.settle() == []  # one is the least


# Reload --------------------------------------------------------------------------------------------------------------


def test_the_cutover_is_ordered(serving: Scene) -> None:
    serving.want(generation=2, trigger="SIGHUP")
    assert serving.settle() == [StartGeneration(2, "SIGHUP")]
    assert serving.load(2) == [Fork(2), Fork(2)]
    serving.ready(Source(2, 1), Source(2, 2))
    assert serving.settle() == [
        BeginCutover(2, serving.now + FREEZE_SECONDS),
        RetireWorker(ONE, 120.0),
        RetireWorker(TWO, 120.0),
    ]
    serving.say(ONE, Frozen())
    assert serving.settle() == []
    serving.say(TWO, Frozen())
    assert serving.settle() == [FinishCutover(2), PauseForkServer(1)]
    serving.exit(ONE)
    serving.exit(TWO)
    serving.exit(Source(1), -9)
    assert serving.settle() == [Forget(1)]


def test_a_worker_that_does_not_freeze_in_time_is_not_waited_for(serving: Scene) -> None:
    serving.want(generation=2)
    serving.load(2)
    serving.ready(Source(2, 1), Source(2, 2))
    serving.settle()
    assert serving.until == serving.now + FREEZE_SECONDS
    serving.now = serving.until
    assert serving.settle() == [FinishCutover(2), PauseForkServer(1)]


def test_a_worker_that_dies_instead_of_freezing_is_not_waited_for_nor_replaced(serving: Scene) -> None:
    serving.want(generation=2)
    serving.load(2)
    serving.ready(Source(2, 1), Source(2, 2))
    serving.settle()
    serving.say(ONE, Frozen())
    serving.exit(TWO, -9)
    assert serving.settle() == [FinishCutover(2), PauseForkServer(1)]


def test_a_replacement_that_is_still_starting_is_killed_by_the_cutover(serving: Scene) -> None:
    serving.want(generation=2)
    serving.load(2)
    serving.exit(ONE, -9)
    assert serving.settle() == [Fork(1)]
    serving.ready(Source(2, 1), Source(2, 2))
    _, *told = serving.settle()
    assert told == [RetireWorker(TWO, 120.0), KillWorker(THREE, "not needed any more")]


def test_what_does_not_finish_is_killed(serving: Scene) -> None:
    serving.want(generation=2)
    serving.load(2)
    serving.ready(Source(2, 1), Source(2, 2))
    serving.settle()
    serving.say(ONE, Frozen())
    serving.say(TWO, Frozen())
    serving.settle()
    serving.exit(ONE)
    assert serving.until == serving.now + 121.0
    serving.now = serving.until
    assert serving.settle() == [KillWorker(TWO, "not finished within --deadman_timeout")]


def test_a_second_trigger_starts_again_with_the_newest_code(serving: Scene) -> None:
    serving.want(generation=2)
    serving.load(2)
    serving.now += STORM_SECONDS
    serving.want(generation=3)
    assert serving.settle() == [StartGeneration(3, "start")]
    assert serving.fleet.serving is serving.fleet.generations[1]


def loading_two(serving: Scene) -> None:
    """Have generation 2 load, and generation 3 beside it."""
    serving.want(generation=2)
    serving.load(2)
    serving.now += STORM_SECONDS
    serving.want(generation=3)
    serving.settle()


def test_a_good_generation_serves_when_the_newer_one_is_broken(serving: Scene) -> None:
    loading_two(serving)
    serving.say(Source(3), LoadFailed("app", "SyntaxError"))
    assert serving.settle() == [Refuse(3, "SyntaxError")]
    serving.ready(Source(2, 1), Source(2, 2))
    assert serving.settle()[0] == BeginCutover(2, serving.now + FREEZE_SECONDS)


def test_a_good_generation_serves_until_the_newer_one_is_ready(serving: Scene) -> None:
    loading_two(serving)
    serving.ready(Source(2, 1), Source(2, 2))
    serving.settle()
    serving.say(ONE, Frozen())
    serving.say(TWO, Frozen())
    assert serving.settle() == [FinishCutover(2), PauseForkServer(1)]
    serving.say(Source(3), Loaded())
    serving.settle()
    serving.ready(Source(3, 1), Source(3, 2))
    assert serving.settle()[0] == BeginCutover(3, serving.now + FREEZE_SECONDS)


def test_what_was_overtaken_does_not_serve(serving: Scene) -> None:
    loading_two(serving)
    serving.say(Source(3), Loaded())
    serving.settle()
    serving.ready(Source(3, 1), Source(3, 2))
    assert Abandon(2) in serving.settle()
    serving.ready(Source(2, 1), Source(2, 2))
    assert BeginCutover(2, serving.now + FREEZE_SECONDS) not in serving.settle()


def test_of_two_that_become_ready_at_once_the_newer_one_serves(serving: Scene) -> None:
    loading_two(serving)
    serving.say(Source(3), Loaded())
    serving.settle()
    serving.ready(Source(2, 1), Source(2, 2), Source(3, 1), Source(3, 2))
    done = serving.settle()
    assert [action for action in done if isinstance(action, BeginCutover | Abandon)] == [
        BeginCutover(3, serving.now + FREEZE_SECONDS),
        Abandon(2),
    ]


def test_what_has_begun_between_the_oldest_and_the_newest_is_given_up(serving: Scene) -> None:
    loading_two(serving)
    serving.now += STORM_SECONDS
    serving.want(generation=4)
    assert serving.settle() == [StartGeneration(4, "start"), Abandon(3)]


# Developing ----------------------------------------------------------------------------------------------------------


def a_page(scene: Scene, number: int) -> Page:
    return Page(Refusal(number, "change", 0.0, "SyntaxError"), [], page_settings(scene.settings))


def test_a_refusal_is_shown_when_nothing_else_is_under_way(serving: Scene) -> None:
    loading_two(serving)
    serving.say(Source(3), LoadFailed("app", "SyntaxError"))
    serving.settle()
    serving.fleet.page = a_page(serving, 3)
    assert serving.settle() == []
    serving.say(Source(2), LoadFailed("app", "SyntaxError"))
    assert serving.settle() == [Refuse(2, "SyntaxError"), StartGeneration(4, PAGE)]
    assert serving.fleet.page is None


def test_what_is_asked_for_goes_before_a_page(serving: Scene) -> None:
    serving.fleet.page = a_page(serving, 1)
    serving.want(generation=2)
    assert serving.settle() == [StartGeneration(2, "start")]
    assert serving.fleet.page is None


def test_a_change_gives_up_a_page_that_is_under_way_at_once(serving: Scene) -> None:
    serving.fleet.page = a_page(serving, 1)
    assert serving.settle() == [StartGeneration(2, PAGE)]
    serving.want(generation=3)
    assert serving.settle() == [StartGeneration(3, "start"), Abandon(2)]


def test_a_page_is_not_the_application() -> None:
    scene = Scene(dataclasses.replace(SETTINGS, num_processes=1))
    scene.settle()
    scene.say(Source(1), LoadFailed("app", "SyntaxError"))
    scene.settle()
    scene.fleet.page = a_page(scene, 1)
    assert scene.settle() == [StartGeneration(2, PAGE)]
    scene.say(Source(2), Loaded())
    scene.settle()
    scene.ready(Source(2, 1))
    scene.settle()
    assert scene.fleet.serving is scene.fleet.generations[2]
    assert not scene.fleet.has_served
    scene.exit(Source(2), -9)
    assert scene.settle() == []  # its fork server is not repaired: what would be loaded is the broken code


def test_event_streams_are_not_waited_for_while_developing_and_at_an_interrupt(serving: Scene) -> None:
    developing = Scene(dataclasses.replace(SETTINGS, reload="dev"))
    developing.serve()
    for scene, ends in ((serving, False), (developing, True)):
        scene.want(generation=2)
        scene.load(2)
        scene.ready(Source(2, 1), Source(2, 2))
        done = scene.settle()
        assert (CutStreams(ONE) in done, CutStreams(TWO) in done) == (ends, ends)
        assert done.count(CutStreams(ONE)) == int(ends)
    serving.say(ONE, Frozen())
    serving.say(TWO, Frozen())
    serving.settle()
    serving.want(service=Service.DRAIN, drain_until=serving.now + 100.0)
    serving.settle()
    serving.want(ends_streams=True)
    assert serving.settle() == [CutStreams(source) for source in (ONE, TWO, Source(2, 1), Source(2, 2))]


def reloaded(scene: Scene, number: int) -> list[Action]:
    """Have a generation of one worker serve in the place of the one before; return what is done at the end of it."""
    scene.want(generation=number)
    scene.load(number)
    scene.ready(Source(number, 1))
    scene.settle()
    if number > 1:
        scene.say(Source(number - 1, 1), Frozen())
    return scene.settle()


def test_old_generations_do_not_pile_up() -> None:
    scene = Scene(dataclasses.replace(SETTINGS, num_processes=1, max_old_generations=2))
    for number in range(1, 5):
        done = reloaded(scene, number)
        killed = [action for action in done if isinstance(action, KillWorker)]
        expected = [KillWorker(ONE, "more than 2 old generations (--max-old-generations)")] if number == 4 else []
        assert killed == expected


def test_old_terms_of_two_generations_do_not_pile_up() -> None:
    """A generation that a rollback has made serve again has workers of an earlier term, which have their memory too."""
    scene = Scene(dataclasses.replace(SETTINGS, num_processes=1, max_old_generations=1, keep_previous=100.0))
    reloaded(scene, 1)
    reloaded(scene, 2)
    for term in range(5):
        serving, kept = scene.fleet.serving, scene.fleet.kept
        assert serving is not None
        assert kept is not None
        before = serving.active
        scene.now += 1.0
        scene.want(recall=kept.number)
        scene.settle()
        scene.ready(Source(kept.number, kept.forked))
        scene.settle()
        scene.say(before[0].source, Frozen())
        scene.settle()
        leaving = [each for generation in scene.fleet for each in generation.workers.values() if each.is_leaving]
        assert leaving == before, term


def test_so_many_old_generations_as_there_are_may_be_kept() -> None:
    scene = Scene(dataclasses.replace(SETTINGS, num_processes=1, max_old_generations=0))
    for number in range(1, 8):
        assert not any(isinstance(action, KillWorker) for action in reloaded(scene, number))


def test_who_only_ferries_is_no_old_generation() -> None:
    """Its clients have not been told that their connections end; when they have, it ends by itself."""
    scene = Scene(dataclasses.replace(SETTINGS, num_processes=1, max_old_generations=1))
    nothing = Report(requests=5, errors=0, executing=0, queued=0, connections=0)
    for number in range(1, 5):
        assert not any(isinstance(action, KillWorker) for action in reloaded(scene, number))
        if number > 1:
            scene.say(Source(number - 1, 1), dataclasses.replace(nothing, ferries=2))
    scene.say(ONE, nothing)
    assert scene.settle() == []
    scene.say(Source(2, 1), dataclasses.replace(nothing, executing=1, connections=1, ferries=2))
    scene.say(Source(3, 1), dataclasses.replace(nothing, executing=1, connections=1, ferries=2))
    assert scene.settle() == [KillWorker(Source(2, 1), "more than 1 old generations (--max-old-generations)")]


def test_where_tls_is_spoken_ferries_have_more_time() -> None:
    scene = Scene(dataclasses.replace(SETTINGS, num_processes=1, keepalive_timeout=75.0))
    reloaded(scene, 1)
    generation = scene.fleet.generations[1]
    assert generation.ferrying == 0.0
    generation.listeners = ["127.0.0.1:80", "127.0.0.1:443?tls"]
    assert generation.ferrying == 75.0


# Storms --------------------------------------------------------------------------------------------------------------


def test_ten_triggers_in_a_second_are_two_loads(serving: Scene) -> None:
    begun = serving.now
    serving.want(generation=2)
    assert serving.settle() == [StartGeneration(2, "start")]
    for _ in range(9):
        serving.now += 0.05
        serving.want(generation=serving.fleet.newest + 1)
        assert serving.settle() == []
        assert serving.until == begun + STORM_SECONDS
    serving.now = serving.until
    assert serving.settle() == [StartGeneration(3, "start")]
    assert serving.settle() == []


def test_what_a_storm_finds_loading_may_serve_until_the_newest_code_does(serving: Scene) -> None:
    serving.want(generation=2)
    serving.load(2)
    serving.want(generation=3)
    serving.settle()
    serving.ready(Source(2, 1), Source(2, 2))
    assert serving.settle()[:2] == [BeginCutover(2, serving.now + FREEZE_SECONDS), StartGeneration(3, "start")]


def test_what_a_storm_finds_loading_is_begun_again_at_once_when_it_fails(serving: Scene) -> None:
    serving.want(generation=2)
    serving.settle()
    serving.want(generation=3)
    serving.settle()
    serving.say(Source(2), LoadFailed("app", "SyntaxError"))
    assert serving.settle() == [Refuse(2, "SyntaxError"), StartGeneration(3, "start")]


def test_a_trigger_during_the_cutover_lets_it_finish(serving: Scene) -> None:
    serving.want(generation=2)
    serving.load(2)
    serving.ready(Source(2, 1), Source(2, 2))
    serving.settle()
    serving.want(generation=3)
    assert serving.settle() == [StartGeneration(3, "start")]
    serving.say(ONE, Frozen())
    serving.say(TWO, Frozen())
    assert serving.settle() == [FinishCutover(2), PauseForkServer(1)]


def test_a_refused_generation_leaves_the_serving_one_alone(serving: Scene) -> None:
    serving.want(generation=2)
    serving.settle()
    serving.say(Source(2), LoadFailed("app", "SyntaxError"))
    assert serving.settle() == [Refuse(2, "SyntaxError")]
    serving.exit(Source(2), -9)
    assert serving.settle() == [Forget(2)]
    serving.exit(ONE, -9)
    assert serving.settle() == [Fork(1)]


def test_workers_of_two_generations_before_may_still_be_finishing(serving: Scene) -> None:
    serving.want(generation=2)
    serving.load(2)
    serving.ready(Source(2, 1), Source(2, 2))
    serving.settle()
    serving.say(ONE, Frozen())
    serving.say(TWO, Frozen())
    serving.settle()
    serving.want(generation=3)
    serving.load(3)
    serving.ready(Source(3, 1), Source(3, 2))
    _, *told = serving.settle()
    assert told == [RetireWorker(Source(2, 1), 120.0), RetireWorker(Source(2, 2), 120.0)]
    serving.say(Source(2, 1), Frozen())
    serving.say(Source(2, 2), Frozen())
    assert serving.settle() == [FinishCutover(3), PauseForkServer(2)]


# Stopping ------------------------------------------------------------------------------------------------------------


def test_a_graceful_stop_waits_for_the_workers(serving: Scene) -> None:
    serving.want(service=Service.DRAIN, drain_until=serving.now + 121.0)
    assert serving.settle() == [StopWorker(ONE, 120.0), StopWorker(TWO, 120.0)]
    serving.exit(ONE)
    assert serving.settle() == []
    serving.exit(TWO)
    assert serving.settle() == [EndForkServer(1)], "what the application has started there may be needed until now"
    assert serving.settle() == []
    serving.exit(Source(1))
    assert serving.settle() == [Finish()]


def test_before_a_delayed_stop_the_service_goes_on_and_says_that_it_will_end(serving: Scene) -> None:
    begin = serving.now + 10.0
    serving.want(service=Service.DRAIN, drain_at=begin, drain_until=begin + 121.0)
    assert serving.settle() == [AnnounceEnd(ONE), AnnounceEnd(TWO)]
    assert serving.until == begin
    serving.want(generation=2)  # too late
    serving.exit(ONE, -9)
    serving.now += 0.1
    assert serving.settle() == [Fork(1)]
    replacement = Source(1, 3)
    serving.ready(replacement)
    assert serving.settle() == [StartWorker(replacement), AnnounceEnd(replacement)]
    serving.now = begin
    assert serving.settle() == [StopWorker(TWO, 120.0), StopWorker(replacement, 120.0)]


def test_a_delayed_stop_abandons_what_is_loading(serving: Scene) -> None:
    serving.want(generation=2)
    serving.settle()
    serving.want(service=Service.DRAIN, drain_at=serving.now + 10.0)
    assert serving.settle() == [Abandon(2), AnnounceEnd(ONE), AnnounceEnd(TWO)]


def test_a_graceful_stop_that_takes_too_long_ends_at_once(serving: Scene) -> None:
    serving.want(service=Service.DRAIN, drain_until=serving.now + 121.0)
    serving.settle()
    assert serving.until == serving.now + 121.0
    serving.now = serving.until
    serving.exit(ONE)
    assert serving.settle() == [
        KillWorker(TWO, "the service ends"),
        KillForkServer(1),
    ]


def test_a_stop_at_once_kills_everything(serving: Scene) -> None:
    serving.want(service=Service.END)
    reason = "the service ends"
    assert serving.settle() == [KillWorker(ONE, reason), KillWorker(TWO, reason), KillForkServer(1)]


def test_a_stop_abandons_what_is_loading(serving: Scene) -> None:
    serving.want(generation=2)
    serving.settle()
    serving.want(service=Service.DRAIN, drain_until=serving.now + 121.0)
    assert serving.settle() == [Abandon(2), StopWorker(ONE, 120.0), StopWorker(TWO, 120.0)]


def test_a_stop_lets_a_cutover_finish_so_that_somebody_accepts(serving: Scene) -> None:
    serving.want(generation=2)
    serving.load(2)
    serving.ready(Source(2, 1), Source(2, 2))
    serving.settle()
    serving.want(service=Service.DRAIN, drain_until=serving.now + 121.0)
    assert serving.settle() == []
    serving.say(ONE, Frozen())
    serving.say(TWO, Frozen())
    assert serving.settle() == [
        FinishCutover(2),
        StopWorker(Source(2, 1), 120.0),
        StopWorker(Source(2, 2), 120.0),
    ]


def test_retired_workers_keep_no_connections_for_others_when_the_last_of_those_has_ended(serving: Scene) -> None:
    serving.want(generation=2)
    serving.load(2)
    new = Source(2, 1), Source(2, 2)
    serving.ready(*new)
    serving.settle()
    serving.say(ONE, Frozen())
    serving.say(TWO, Frozen())
    serving.settle()
    serving.want(service=Service.DRAIN, drain_until=serving.now + 121.0)
    assert serving.settle() == [StopWorker(new[0], 120.0), StopWorker(new[1], 120.0)]
    serving.exit(new[0])
    serving.exit(TWO)
    assert serving.settle() == []
    serving.exit(new[1])
    assert StopWorker(ONE, 120.0) in serving.settle()
    assert serving.settle() == []


def test_a_stop_during_the_first_start() -> None:
    scene = Scene()
    scene.load(1)
    scene.born(ONE, TWO)
    scene.want(service=Service.DRAIN, drain_until=scene.now + 121.0)
    assert scene.settle() == [Abandon(1)]
    for source in (Source(1), ONE, TWO):
        scene.exit(source, -9)
    assert scene.settle() == [Finish()]


def test_nothing_is_started_any_more_while_stopping(serving: Scene) -> None:
    serving.want(service=Service.DRAIN, drain_until=serving.now + 121.0)
    serving.settle()
    serving.want(generation=2)
    serving.exit(ONE, -9)
    serving.exit(Source(1), -9)
    assert serving.settle() == []
