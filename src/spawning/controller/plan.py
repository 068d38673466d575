"""What is to be done next: pure, from what is wanted, the records and the time.

Rules: no system call, no state, no memory. The controller executes the actions in order, which changes the records, and
asks again until nothing is left to do; so each action must make the condition go away that called for it. What is asked
for twice, half done or interrupted is no special case: the plan looks at what there is, not at how it came about.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import NamedTuple

from spawning.controller import recycle, status_record
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
    MeasureMemory,
    PauseForkServer,
    Recall,
    RecycleWorker,
    Refuse,
    RetireWorker,
    StartGeneration,
    StartWorker,
    StopWorker,
    SuspectWorker,
)
from spawning.controller.fleet import Fleet
from spawning.controller.records import (
    END_SECONDS,
    GRACE,
    LAST_RESORT,
    PAGE,
    REPAIR,
    UNASKED,
    UNDER_WAY,
    ForkServerState,
    GenerationRecord,
    GenerationState,
    Repair,
    Source,
    WorkerRecord,
    WorkerState,
)

FREEZE_SECONDS = 1.0  # how long a cutover waits for the workers before to say that they have stopped accepting
STORM_SECONDS = 1.0  # what a generation that loads may go on for at least, however many reloads are asked for meanwhile
MOST_STARTING = 32  # workers of a generation that start at the same time; as many orders fit into any socket's buffer


class Service(Enum):
    RUN = "run"
    DRAIN = "drain"  # stop gracefully
    END = "end"  # stop at once


@dataclass(frozen=True, slots=True)
class Wanted:
    """The wishes of the outside.

    :param generation: the number of the newest generation asked for; a reload asks for one more.
    :param trigger: what asked for it.
    :param recall: the number of a kept generation that is asked for in place of the newest; 0 is none.
    :param extra: workers more (or fewer) than the generation's settings say.
    :param drain_at: when a graceful stop begins; before that the service goes on and says that it will end.
    :param drain_until: when a graceful stop turns into one at once.
    :param end_until: when a stop at once does not wait for exits any longer.
    :param ends_streams: a graceful stop does not wait for event streams.
    """

    generation: int = 1
    trigger: str = "start"
    recall: int = 0
    extra: int = 0
    service: Service = Service.RUN
    drain_at: float = -math.inf
    drain_until: float = math.inf
    end_until: float = math.inf
    ends_streams: bool = False

    def ended(self, now: float) -> "Wanted":
        """Return the same with the service ended at once."""
        return replace(self, service=Service.END, end_until=now + END_SECONDS)

    def workers(self, generation: GenerationRecord) -> int:
        return max(1, generation.settings.num_processes + self.extra)


class Plan(NamedTuple):
    """The actions, and when to ask again even if nothing happens until then (infinity: never)."""

    actions: list[Action]
    until: float


@dataclass(slots=True)
class _Planner:
    """One question. `times` collects the future moments at which the answer would be another."""

    wanted: Wanted
    fleet: Fleet
    now: float
    times: list[float] = field(default_factory=list)
    cutting: bool = False  # a cutover is among the actions already

    def due(self, time: float) -> bool:
        """Whether a moment has come; if not, have the controller ask again then."""
        if time > self.now:
            self.times.append(time)
        return time <= self.now

    # Running ---------------------------------------------------------------------------------------------------------

    def run(self) -> Iterator[Action]:
        for action in self.begin():
            yield action
            if isinstance(action, Recall):  # all else is due, or not any more, once the kept generation is under way
                return
        for generation in reversed(list(self.fleet)):
            if generation.state in UNDER_WAY:
                yield from self.prepare(generation)
        yield from self.cutover()
        if (serving := self.fleet.serving) is not None:
            yield from self.end_silence(serving)
            yield from self.end_hanging_starts(serving)
            yield from self.serve(serving)
            if recycle.measures(serving) and self.due(self.fleet.measure_at):
                yield MeasureMemory()
        yield from self.clean_up()
        yield from self.keep_status()

    def begin(self) -> Iterator[Action]:
        serving, kept = self.fleet.serving, self.fleet.kept
        if kept is not None and not kept.may_be_kept:
            kept = None  # its fork server is on its way out
        if kept is not None and kept.number == self.wanted.recall:
            yield Recall(kept.number)
        elif self.fleet.newest < self.wanted.generation:
            if self.storm_is_over():
                yield StartGeneration(self.wanted.generation, self.wanted.trigger)
        elif self.fleet.under_way is not None:
            return
        elif self.fleet.page is not None:
            yield StartGeneration(self.fleet.newest + 1, PAGE)
        elif serving is None:
            return
        elif serving.trigger == PAGE:
            yield from self.replace_page(serving)
        elif kept is not None and recycle.has_failed(serving, kept):
            yield Recall(kept.number, f"all workers of generation {serving.number} died in their first requests")
        elif recycle.needs_reload(serving, self.fleet, self.due):
            yield StartGeneration(self.fleet.newest + 1, recycle.MAX_MEMORY)
        elif serving.pid is None:
            yield from self.repair(serving, kept)

    def repair(self, serving: GenerationRecord, kept: GenerationRecord | None) -> Iterator[Action]:
        """Replace the fork server of what serves, from the same files; workers that die come back from it.

        When that fails, they come back from what is in memory: the generation before. Whatever else lies on the disk
        was asked for by nobody, and is served only when there is nothing else to serve.
        """
        failed = serving.repair is not Repair.UNTRIED
        if failed and kept is not None and not recycle.is_unfit(kept) and self.is_short_of_workers(serving):
            yield Recall(kept.number, f"the fork server of generation {serving.number} is gone, and so are workers")
        elif serving.repair is Repair.CHANGED and serving.active:
            return
        elif self.due(self.fleet.repairs.not_before):
            trigger = LAST_RESORT if serving.repair is Repair.CHANGED else REPAIR
            yield StartGeneration(self.fleet.newest + 1, trigger)

    def replace_page(self, page: GenerationRecord) -> Iterator[Action]:
        """When no process of a page is left, load anew what was refused; if that is refused again, a new page says so.

        Its own fork server cannot be replaced from the same files: what it shows was in its memory alone.
        """
        if page.pid is None and not page.active and self.due(self.fleet.repairs.not_before):
            yield StartGeneration(self.fleet.newest + 1, self.wanted.trigger)

    def is_short_of_workers(self, generation: GenerationRecord) -> bool:
        return len(generation.active) < self.wanted.workers(generation)

    def storm_is_over(self) -> bool:
        """Whether a generation may be started in the place of one that loads.

        It may have read files that have changed since, so the load has to be begun again; but ten signals within a
        second are two loads, not ten. The code that it has loaded may serve until then: it is newer than what does.
        """
        newest = self.fleet.generations.get(self.fleet.newest)
        if newest is None or newest.state not in UNDER_WAY or newest.trigger == PAGE:
            return True
        return self.due(newest.started_at + STORM_SECONDS)

    def may_serve(self, generation: GenerationRecord) -> bool:
        """Whether a generation that is under way may come to serve.

        The one begun last may. So may the oldest: it is newer than what serves, and stays if the newest turns out to be
        broken. Those between them are given up, so two are loaded at a time at most, and so is what was overtaken.
        """
        number, fleet = generation.number, self.fleet
        if number == fleet.latest:
            return True
        if fleet.latest != fleet.newest or generation.trigger in UNASKED:  # the first is a rollback
            return False
        serving = (GenerationState.CUTOVER, GenerationState.SERVING)
        overtaken = any(each.number > number and each.state in serving for each in fleet)
        return not overtaken and not any(each.number < number and each.state in UNDER_WAY for each in fleet)

    def prepare(self, generation: GenerationRecord) -> Iterator[Action]:
        number, workers = generation.number, generation.active
        if not self.may_serve(generation):
            yield Abandon(number)
        elif generation.failure is not None:
            yield Refuse(number, generation.failure.message)
        elif self.due(generation.boot_until):
            yield Refuse(
                number, f"the application was not ready within {generation.settings.boot_timeout:g} s (--boot-timeout)"
            )
        elif generation.state is GenerationState.FORKING:
            missing = self.wanted.workers(generation) - len(workers)
            if missing > 0:
                yield from self.fork(generation, missing)
            elif all(worker.state is WorkerState.READY for worker in workers) and not self.in_cutover():
                self.cutting = True
                yield BeginCutover(number, self.now + FREEZE_SECONDS)

    def fork(self, generation: GenerationRecord, missing: int) -> Iterator[Action]:
        alone = not any(worker.state is WorkerState.SERVING for worker in generation.active)
        if generation.pid is None or generation.ended:
            return
        if missing > 0 and self.due(generation.forks.at(alone=alone)):
            starting = sum(worker.state is WorkerState.STARTING for worker in generation.active)
            for _ in range(min(missing, MOST_STARTING - starting)):
                yield Fork(generation.number)

    def cutover(self) -> Iterator[Action]:
        generation = next((each for each in self.fleet if each.state is GenerationState.CUTOVER), None)
        if generation is None:
            return
        others = [each for each in self.fleet if each is not generation and each.state not in UNDER_WAY]
        before = [worker for each in others for worker in each.workers.values()]
        active = [worker for worker in before if worker.is_active]
        if active:
            for worker in active:
                yield from self.retire(worker.source, worker.state, generation.settings.deadman_timeout)
        elif all(worker.state is not WorkerState.RETIRING for worker in before) or self.due(generation.cutover_until):
            yield FinishCutover(generation.number)

    def retire(self, source: Source, state: WorkerState, seconds: float) -> Iterator[Action]:
        if state is WorkerState.STARTING:
            yield KillWorker(source, "not needed any more")
        else:
            yield RetireWorker(source, seconds)

    def serve(self, generation: GenerationRecord) -> Iterator[Action]:
        if self.in_cutover():
            return
        wanted, workers = self.wanted.workers(generation), generation.active
        for worker in workers:
            if worker.state is WorkerState.READY:
                yield StartWorker(worker.source)
        # While the service is about to end, a worker that says it was sent SIGTERM is one of all that were.
        candidate = recycle.candidate(generation, self.fleet, self.due) if self.wanted.service is Service.RUN else None
        if candidate is not None:
            if sum(worker.state is WorkerState.SERVING for worker in workers) > wanted:
                yield RecycleWorker(candidate.source, generation.settings.deadman_timeout, candidate.reason)
                return
            wanted += 1  # the replacement
        if candidate is None or self.fleet.under_way is None:
            yield from self.fork(generation, wanted - len(workers))
        for worker in workers[wanted:]:
            yield from self.retire(worker.source, worker.state, generation.settings.deadman_timeout)

    def end_hanging_starts(self, generation: GenerationRecord) -> Iterator[Action]:
        """A replacement has as long to start as the workers before the cutover had, all together."""
        seconds = generation.settings.boot_timeout
        for worker in generation.active:
            if worker.state is WorkerState.STARTING and self.due(worker.forked_at + seconds):
                yield KillWorker(worker.source, f"was not ready within {seconds:g} s (--boot-timeout)")

    def end_silence(self, generation: GenerationRecord) -> Iterator[Action]:
        seconds = generation.settings.request_timeout + recycle.SILENCE
        for worker in recycle.silent(generation, self.due):
            if worker.suspected_at == math.inf:
                yield SuspectWorker(worker.source)
            elif self.due(worker.suspected_at + recycle.SUSPICION):
                yield KillWorker(worker.source, f"has not reported for {seconds:g} s (--request-timeout)")

    def in_cutover(self) -> bool:
        return self.cutting or self.fleet.in_cutover

    def clean_up(self) -> Iterator[Action]:
        yield from self.overdue()
        yield from self.end_oldest()
        kept, serving = self.fleet.kept, self.fleet.serving
        needed = serving is not None and serving.pid is None and serving.repair is not Repair.UNTRIED
        if kept is not None and not needed and self.due(kept.kept_until):
            yield LetGo(kept.number)
        for generation in self.fleet:
            if generation.state in (GenerationState.KEPT, GenerationState.RETIRING):
                yield from self.put_aside(generation)
            if generation.state in (GenerationState.RETIRING, GenerationState.REFUSED) and generation.is_empty:
                yield Forget(generation.number)

    def end_oldest(self) -> Iterator[Action]:
        """Have no more generations finish their requests than ``--max-old-generations``; each has its memory, and one
        that has served twice has workers of both terms.

        Those that only ferry have finished theirs. Their clients would lose connections of which nobody has told them
        that they end, and asked often enough for a reload, all would.
        """
        serving = self.fleet.serving
        most = serving.settings.max_old_generations if serving is not None else 0
        if most == 0:
            return
        terms: dict[tuple[float, int], list[WorkerRecord]] = {}
        for each in self.fleet:
            over = each.state in (GenerationState.KEPT, GenerationState.RETIRING)
            for worker in each.workers.values():
                if worker.is_leaving and not worker.only_ferries and (over or worker.term != each.started_at):
                    terms.setdefault((worker.term, each.number), []).append(worker)
        for term in sorted(terms)[: max(0, len(terms) - most)]:
            for worker in terms[term]:
                yield KillWorker(worker.source, f"more than {most} old generations (--max-old-generations)")

    def put_aside(self, generation: GenerationRecord) -> Iterator[Action]:
        """Have no threads of an older generation's fork server run beside those of the newer, and in the end none.

        What the application has started there (a ``multiprocessing.Manager``) may be needed until its last worker has
        exited.
        """
        if generation.pid is None or generation.ended:
            return
        if generation.state is GenerationState.RETIRING and not generation.workers:
            yield EndForkServer(generation.number)
        elif generation.fork_server is ForkServerState.RUNNING and not _nameless(generation):
            yield PauseForkServer(generation.number)

    def overdue(self) -> Iterator[Action]:
        for generation in self.fleet:
            for worker in generation.workers.values():
                if worker.is_leaving and self.due(worker.kill_at):
                    yield KillWorker(worker.source, "not finished within --deadman_timeout")
                elif worker.is_leaving and not worker.ends_streams and self.ends_streams(generation):
                    yield CutStreams(worker.source)
            if generation.state not in UNDER_WAY:  # there, all have --boot-timeout
                yield from self.unanswered(generation)
            if generation.fork_server is ForkServerState.ENDING and generation.pid and self.due(generation.end_until):
                yield KillForkServer(generation.number, f"did not end within {END_SECONDS:g} s")

    def ends_streams(self, generation: GenerationRecord) -> bool:
        """Whether nobody is to wait for event streams: while developing a page that listens is to meet the new code."""
        return self.wanted.ends_streams or generation.settings.reload == "dev"

    def unanswered(self, generation: GenerationRecord) -> Iterator[Action]:
        """Orders to fork that nobody has followed: the fork server hangs, or is stopped, or what it forks hangs.

        A worker says who it is before anything of the application runs in it, except hooks of the fork itself.
        """
        for worker in _nameless(generation):
            if generation.pid is None and worker.state is WorkerState.KILLED:
                yield GiveUpWorker(worker.source)
            elif self.due(generation.answer_until(worker)):
                if worker.state is not WorkerState.KILLED:
                    yield KillWorker(worker.source, "was not born in time")
                if generation.pid is not None and not generation.ended:
                    yield KillForkServer(generation.number, "does not answer an order to fork")
                    return

    # Stopping --------------------------------------------------------------------------------------------------------

    def announce(self) -> Iterator[Action]:
        """Serve on, with nothing new, and say that this will end (``--drain-delay``)."""
        yield from self.abandon()
        yield from self.cutover()
        if (serving := self.fleet.serving) is not None:
            yield from self.serve(serving)
            for worker in serving.active:
                if worker.state is WorkerState.SERVING and not worker.announced:
                    yield AnnounceEnd(worker.source)
        yield from self.clean_up()
        yield from self.keep_status()

    def keep_status(self) -> Iterator[Action]:
        if self.fleet.status is not None:
            yield from status_record.keep(self.fleet.status, self.due)

    def has_status(self) -> bool:
        return self.fleet.status is not None and self.fleet.status.pid is not None

    def abandon(self) -> Iterator[Action]:
        yield from (Abandon(generation.number) for generation in self.fleet if generation.state in UNDER_WAY)

    def drain(self) -> Iterator[Action]:
        if any(generation.state in UNDER_WAY for generation in self.fleet):
            yield from self.abandon()
        elif self.in_cutover():  # at most a second; without it nobody would accept what waits in the backlog
            yield from self.cutover()
        else:
            yield from self.overdue()
            for generation in self.fleet:
                for worker in generation.active:
                    yield from self.stop(worker.source, worker.state)
                if not generation.ended and generation.pid and len(_nameless(generation)) == len(generation.workers):
                    yield EndForkServer(generation.number)
            yield from self.stop_retired()
            if not all(generation.is_empty for generation in self.fleet):
                yield from self.keep_status()
            elif self.fleet.status is not None and self.has_status():  # last of all
                yield from status_record.end(self.fleet.status, self.due)
            else:
                yield Finish()

    def stop_retired(self) -> Iterator[Action]:
        """Have retired workers close what they would hand over, when the last worker has ended that took it up."""
        workers = [worker for generation in self.fleet for worker in generation.workers.values()]
        if not any(worker.is_active or worker.stops for worker in workers):
            for worker in workers:
                if worker.is_leaving:
                    yield from self.stop(worker.source, worker.state)

    def end(self) -> Iterator[Action]:
        for generation in self.fleet:
            for worker in generation.workers.values():
                if worker.state is not WorkerState.KILLED:
                    yield KillWorker(worker.source, "the service ends")
        for generation in self.fleet:
            if generation.pid is not None and generation.fork_server is not ForkServerState.KILLED:
                yield KillForkServer(generation.number)
        if self.fleet.status is not None:
            yield from status_record.kill(self.fleet.status)
        known = (each for each in self.fleet if each.pid or len(_nameless(each)) < len(each.workers))
        if not (any(known) or self.has_status()) or self.due(
            min(self.wanted.end_until, self.wanted.drain_until + END_SECONDS)
        ):
            yield Finish()

    def stop(self, source: Source, state: WorkerState) -> Iterator[Action]:
        if state is WorkerState.STARTING:
            yield KillWorker(source, "not needed any more")
        else:
            yield StopWorker(source, max(0.0, self.wanted.drain_until - GRACE - self.now))


def _nameless(generation: GenerationRecord) -> list[WorkerRecord]:
    return [worker for worker in generation.workers.values() if worker.is_nameless]


def plan(wanted: Wanted, fleet: Fleet, now: float) -> Plan:
    """Return what is to be done now.

    :param now: seconds of the same monotonic clock as in the records.
    """
    planner = _Planner(wanted, fleet, now)
    if wanted.service is Service.RUN:
        actions = list(planner.run())
    elif wanted.service is Service.END or planner.due(wanted.drain_until):
        actions = list(planner.end())
    elif not planner.due(wanted.drain_at):
        actions = list(planner.announce())
    else:
        actions = list(planner.drain())
    return Plan(actions, min(planner.times, default=math.inf))


def without_done(wanted: Wanted, fleet: Fleet) -> Wanted:
    """Drop a rollback that has begun: it is asked for once, and not again whenever that generation is kept again."""
    return replace(wanted, recall=0) if wanted.recall == fleet.latest else wanted
