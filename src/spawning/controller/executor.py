"""Carry out the plan's actions: the one place where processes are started, told something and killed.

Rules: an action is done and noted in the records, or raises. Nothing is decided here.
"""

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

from spawning import cgroup, memory
from spawning.controller import process
from spawning.controller.actions import (
    Abandon,
    Action,
    AnnounceEnd,
    BeginCutover,
    CutStreams,
    EndForkServer,
    EndStatus,
    Finish,
    FinishCutover,
    Forget,
    Fork,
    GiveUpWorker,
    KillForkServer,
    KillStatus,
    KillWorker,
    LetGo,
    MeasureMemory,
    PauseForkServer,
    Recall,
    RecycleWorker,
    Refuse,
    RetireWorker,
    StartGeneration,
    StartStatus,
    StartWorker,
    StopWorker,
    SuspectWorker,
)
from spawning.controller.banner import say_ready
from spawning.controller.descent import children_titled, descendants, families
from spawning.controller.fleet import Fleet
from spawning.controller.links import Links
from spawning.controller.outside import Outside
from spawning.controller.paths import working_directory
from spawning.controller.plan import FREEZE_SECONDS
from spawning.controller.reader import Reader
from spawning.controller.records import (
    END_SECONDS,
    GRACE,
    LAST_RESORT,
    PAGE,
    REPAIR,
    ForkServerStep,
    GenerationRecord,
    GenerationState,
    Source,
    WorkerRecord,
    WorkerState,
    WorkerStep,
)
from spawning.controller.refusal import Refusal, shown
from spawning.controller.spare import Spare
from spawning.controller.telling import Telling, undertaking
from spawning.errors import AppLoadError, ConfigError
from spawning.ipc.channel import Channel
from spawning.ipc.fence import Fence
from spawning.ipc.messages import (
    Announce,
    Boot,
    EndStreams,
    ForkWorker,
    LoadFailed,
    Message,
    ReopenLog,
    Retire,
    Start,
    Stop,
)
from spawning.logs.log import Log
from spawning.logs.setup import configure, fields, zone
from spawning.settings import Settings, as_dict
from spawning.settings.values import AUTO

log = Log("spawning.controller")


class Executor:
    """Hands of the controller. For its loop alone.

    :param reader: reads the settings that each generation starts from.
    :param outside: has the listening sockets, those of a generation before its first worker is forked, and their
        certificates; the files of the access log, which workers are given; and the status service.
    :param handoff: both ends of the handoff socket.
    :param fence: what workers see their turn in.

    ``spare`` is where fork servers come from; ``directory`` is where generations start, by its name; ``telling``
    says why one was refused; ``outcome`` is why the first start has failed, ``finished`` that
    nothing is left to be done.
    """

    def __init__(
        self,
        reader: Reader,
        fleet: Fleet,
        links: Links,
        outside: Outside,
        handoff: tuple[Channel, Channel],
        fence: Fence,
    ) -> None:
        self.outcome: AppLoadError | ConfigError | None = None
        self.finished = False
        self.spare = Spare()
        self.directory = working_directory()
        self.telling = Telling(fleet, self.directory)
        self._reader = reader
        self._fleet = fleet
        self._links = links
        self._listeners = outside.listeners
        self._identities = outside.identities
        self._fence = fence
        self._logs = outside.logs
        self._status = outside.status
        self._handoff = handoff  # idle connections go from retiring workers to serving ones
        self._execute: dict[type[Any], Callable[[Any], None]] = {
            StartGeneration: self._start_generation,
            Refuse: self._refuse,
            Abandon: self._abandon,
            Recall: self._recall,
            LetGo: self._let_go,
            Fork: self._fork,
            BeginCutover: self._begin_cutover,
            FinishCutover: self._finish_cutover,
            StartWorker: self._start_worker,
            RetireWorker: self._retire_worker,
            RecycleWorker: self._recycle_worker,
            SuspectWorker: self._suspect_worker,
            AnnounceEnd: self._announce_end,
            StopWorker: self._stop_worker,
            CutStreams: self._end_streams,
            KillWorker: self._kill_worker,
            GiveUpWorker: self._give_up_worker,
            PauseForkServer: self._pause_fork_server,
            EndForkServer: self._end_fork_server,
            KillForkServer: self._kill_fork_server,
            Forget: self._forget,
            MeasureMemory: self._measure_memory,
            StartStatus: outside.status.start,
            EndStatus: outside.status.end,
            KillStatus: outside.status.kill,
            Finish: self._finish,
        }

    def execute(self, action: Action) -> None:
        self._execute[type(action)](action)

    # Generations -----------------------------------------------------------------------------------------------------

    def _start_generation(self, action: StartGeneration) -> None:
        page = self._fleet.page if action.trigger == PAGE else None
        if self._fleet.has_served and page is None:
            log.info("reload started %s", fields(generation=action.number, trigger=action.trigger))
        started_at = time.monotonic()
        with contextlib.suppress(OSError):  # the fork server says it better
            os.chdir(self.directory)  # what the name means now; the release that it meant before may be deleted
        try:
            settings = page.settings if page is not None else self._settings_for(action)
        except ConfigError as error:
            self._not_configured(action, str(error))
            return
        try:
            near, pid = self.spare.take()
        except OSError as error:
            self._not_started(action, f"cannot start {sys.executable}: {error.strerror}")
            return
        same = self._stamps_to_keep(action.trigger)
        self._fleet.generation_started(action.number, settings, action.trigger, pid, started_at)
        if page is not None:
            self._fleet.generations[action.number].listeners = list(page.listeners)
        self._links.add(Source(action.number), near)
        directory, zone_changes = self.directory, zone().changes
        values = {**as_dict(settings), **(shown(page) if page is not None else {})}
        metrics, sources = self._status.metrics, self._reader.sources_for(action.number)
        boot = Boot(action.number, values, started_at, directory, os.getpid(), same, zone_changes, metrics, sources)
        self._links.send(Source(action.number), boot)

    def _settings_for(self, action: StartGeneration) -> Settings:
        serving = self._fleet.serving
        settings = self._reader.settings_for(action.number, action.trigger, serving.number if serving else None)
        configure(settings)
        return settings

    def _stamps_to_keep(self, trigger: str) -> dict[str, str] | None:
        """Return what the files of the generation that serves were like, if nothing else may be loaded now."""
        serving = self._fleet.serving
        if trigger == LAST_RESORT:
            log.warning("no worker is left and no generation is kept, so the code on the disk is taken")
        if trigger != REPAIR or serving is None or serving.settings.no_preload:
            return None
        return serving.stamps

    def _not_configured(self, action: StartGeneration, reason: str) -> None:
        """Refuse a generation whose settings cannot be read any more. Those of the first start have been read before,
        so if nothing serves, it is waited for a change already.
        """
        self._fleet.start_failed(action.number, action.trigger, time.monotonic())
        self._fleet.last_refusal = Refusal(action.number, action.trigger, time.time(), reason)
        sentence = "reload refused" if self._fleet.has_served else "start refused, waiting for a change"
        log.error("%s %s", sentence, fields(generation=action.number, reason=reason))

    def _not_started(self, action: StartGeneration, reason: str) -> None:
        """Refuse a generation that has not even a process. It has to be asked for again, as a repair will."""
        self._fleet.start_failed(action.number, action.trigger, time.monotonic())
        if not self._fleet.has_served and self._fleet.serving is None:
            self.outcome = ConfigError(reason)
            return
        self._fleet.last_refusal = Refusal(action.number, action.trigger, time.time(), reason)
        log.error("reload refused %s", fields(generation=action.number, reason=reason))

    def _refuse(self, action: Refuse) -> None:
        generation = self._fleet.generations[action.number]
        failure = generation.failure or LoadFailed("app", action.reason)
        listens = generation.state is not GenerationState.LOADING or generation.failure is not None
        self._fleet.refused(action.number, time.monotonic())
        refused = LoadFailed(failure.kind, action.reason, failure.details)
        self._fleet.reload_ended(generation, "refused", time.time(), time.monotonic(), refused)
        refusal = Refusal(action.number, generation.trigger, time.time(), action.reason, failure.details)
        self._fleet.last_refusal = refusal
        self._kill_all(generation, listens=listens)
        self._listeners.release(self._fleet)
        serving = self._fleet.serving
        settings = self._reader.current.settings
        answers = settings.daemonize and not self._fleet.has_served  # somebody waits to be told how the start went
        reloads = settings.reload is not None and not answers
        waits_for_change = reloads and (failure.kind == "app" or serving is not None)
        if self._fleet.has_served or waits_for_change:
            self.telling.refused(generation, refusal, failure)
        elif failure.kind == "config":
            self.outcome = ConfigError(failure.message)
        else:
            self.outcome = AppLoadError(failure.message, failure.details)

    def _abandon(self, action: Abandon) -> None:
        generation = self._fleet.generations[action.number]
        listens = generation.state is not GenerationState.LOADING
        self._fleet.refused(action.number, time.monotonic())
        self._fleet.reload_ended(generation, "abandoned", time.time(), time.monotonic())
        self._kill_all(generation, listens=listens)
        self._listeners.release(self._fleet)
        tell = log.debug if generation.trigger == PAGE else log.info
        what = undertaking(generation) if self._fleet.has_served else "start"
        tell("%s abandoned %s", what, fields(generation=action.number))

    def _recall(self, action: Recall) -> None:
        now, serving, refusal = time.monotonic(), self._fleet.serving, self._fleet.last_refusal
        if action.reason and serving is not None:
            who = fields(generation=serving.number, reason=action.reason, to=action.number)
            log.error("generation failed, going back to the one before %s", who)
            reason = f"{action.reason}; generation {action.number} serves again"
            self._fleet.last_refusal = Refusal(serving.number, serving.trigger, time.time(), reason)
        elif refusal is not None and refusal.generation == action.number:  # it failed once, and gets another chance
            self._fleet.last_refusal = None
        self._fleet.recalled(action.number, now)
        if (pid := self._fleet.generations[action.number].pid) is not None:
            process.send_signal(pid, signal.SIGCONT)
        log.info("rollback started %s", fields(generation=action.number))
        generation = self._fleet.generations[action.number]
        try:
            self._listeners.recall(generation)
        except ConfigError as error:
            generation.failure = LoadFailed("config", str(error))

    def _let_go(self, action: LetGo) -> None:
        self._fleet.let_go(action.number)

    def _begin_cutover(self, action: BeginCutover) -> None:
        self._fleet.cutover_began(action.number, action.until)

    def _finish_cutover(self, action: FinishCutover) -> None:
        first = not self._fleet.has_served
        self._name_stragglers(action.number)
        generation = self._fleet.generations[action.number]
        self._fleet.reload_ended(generation, "finished", time.time(), time.monotonic())
        self._fleet.cutover_finished(action.number, time.monotonic(), memory.kills())
        self._fence.advance()  # before anybody of the new generation accepts
        for worker in generation.active:
            if worker.state is WorkerState.READY:
                self._start(worker)
        # A stop that was asked for meanwhile has closed them.
        addresses = [each.url for each in self._listeners.addresses]
        if generation.trigger == PAGE:
            log.info(
                "traceback served %s", fields(url=addresses[0] if addresses else "closed", generation=action.number)
            )
        elif first:
            say_ready(generation, addresses, self._status.url)
        else:
            seconds = time.monotonic() - generation.started_at
            log.info("%s finished %s", undertaking(generation), fields(generation=action.number, seconds=seconds))
        self._listeners.release(self._fleet)

    def _name_stragglers(self, number: int) -> None:
        """Log who has not said in time that it accepts no more: it may answer with old code after this."""
        for generation in self._fleet:
            for worker in generation.workers.values():
                if generation.number != number and worker.state is WorkerState.RETIRING:
                    who = fields(worker=worker.source, pid=worker.pid, seconds=FREEZE_SECONDS)
                    log.warning("worker did not stop accepting in time %s", who)

    def _forget(self, action: Forget) -> None:
        for helper in families(self._fleet.generations[action.number].helpers):
            process.end(helper)
        self._links.drop(Source(action.number))
        self._fleet.forgotten(action.number)

    def _measure_memory(self, action: MeasureMemory) -> None:
        began = time.monotonic()
        serving = self._fleet.serving
        assert serving is not None
        pids = {worker.source: worker.pid for worker in serving.active if worker.pid is not None}
        most = serving.settings.max_memory
        everybody = memory.tree(os.getpid()) if most and most != AUTO else list(pids.values())
        sizes = memory.sizes(everybody)
        workers = {source: sizes.get(pid, 0) for source, pid in pids.items()}
        group = cgroup.memory() if most == AUTO else None
        used, limit = group or (sum(sizes.values()), 0)
        self._fleet.measured(workers, used, memory.again_at(began, time.monotonic()), limit)

    def _finish(self, action: Finish) -> None:
        self.finished = True

    # Workers ---------------------------------------------------------------------------------------------------------

    def _fork(self, action: Fork) -> None:
        source = self._fleet.next_source(action.number)
        near, far = Channel.pair()
        handoff = (each.fileno() for each in self._handoff)
        listening, names = self._listeners.of(self._fleet.generations[action.number])
        descriptors = [far.fileno(), *handoff, *listening]
        try:
            self._links.send(
                Source(action.number), ForkWorker(source.worker, hands_log=True, listeners=names), descriptors
            )
        except OSError:
            near.close()
            raise
        finally:
            far.close()
        self._links.add(source, near)
        log_file = self._logs.descriptor(self._fleet.generations[action.number].settings.access_log_file)
        if log_file is not None:
            self._links.send(source, ReopenLog(), [log_file])
        self._fleet.worker_forked(source, time.monotonic())

    def _start_worker(self, action: StartWorker) -> None:
        self._start(self._worker(action.source))

    def _start(self, worker: WorkerRecord) -> None:
        descriptors = [*self._fence.descriptors, *self._identities.of(worker.source.generation)]
        self._links.send(worker.source, Start(self._fence.term, self._identities.keys), descriptors)
        worker.step(WorkerStep.STARTED)
        log.info("worker started %s", fields(worker=worker.source, pid=worker.pid))

    def _retire_worker(self, action: RetireWorker) -> None:
        self._retire(action.source, action.seconds)

    def _recycle_worker(self, action: RecycleWorker) -> None:
        pid = self._worker(action.source).pid
        log.info("worker recycled %s", fields(worker=action.source, pid=pid, reason=action.reason))
        self._retire(action.source, action.seconds)

    def _retire(self, source: Source, seconds: float) -> None:
        ferrying = self._fleet.generations[source.generation].ferrying
        self._tell_to_leave(source, Retire(seconds, ferrying), seconds + ferrying)

    def _suspect_worker(self, action: SuspectWorker) -> None:
        log.warning("worker silent %s", fields(worker=action.source, pid=self._worker(action.source).pid))
        self._fleet.suspected(action.source, time.monotonic())

    def _announce_end(self, action: AnnounceEnd) -> None:
        self._worker(action.source).announced = True
        self._links.send(action.source, Announce())

    def _stop_worker(self, action: StopWorker) -> None:
        self._tell_to_leave(action.source, Stop(action.seconds), action.seconds)
        self._fleet.told_to_stop(action.source)

    def _end_streams(self, action: CutStreams) -> None:
        self._worker(action.source).ends_streams = True
        self._links.send(action.source, EndStreams())

    def _tell_to_leave(self, source: Source, message: Message, seconds: float) -> None:
        self._fleet.told_to_leave(source, time.monotonic() + seconds + GRACE)
        self._links.send(source, message)

    def _kill_worker(self, action: KillWorker) -> None:
        worker = self._worker(action.source)
        log.warning("worker killed %s", fields(worker=worker.source, pid=worker.pid, reason=action.reason))
        self._kill(worker)

    def _worker(self, source: Source) -> WorkerRecord:
        return self._fleet.generations[source.generation].workers[source.worker]

    def _give_up_worker(self, action: GiveUpWorker) -> None:
        """Stop waiting for a worker whose pid is unknown. If its process exists, it hangs in the fork, still with the
        fork server's title, and is killed.
        """
        generation = self._fleet.generations[action.source.generation]
        known = {each.pid for each in generation.helpers} | set(self._fleet.pids())
        title = f"spawning: fork server {generation.number} ("
        for stray in children_titled(os.getpid(), title, known):
            process.end(stray)
        self._links.drop(action.source)
        self._fleet.given_up(action.source, time.monotonic())

    # Ends ------------------------------------------------------------------------------------------------------------

    def _kill_all(self, generation: GenerationRecord, *, listens: bool) -> None:
        """End a generation that is not to serve; workers that have served and are leaving finish what they have.

        :param listens: the fork server waits for orders; else it imports, and is told nothing before the end of that.
        """
        if listens:
            self._tell_to_end(generation)
        else:
            self._kill_fork_server_of(generation)
        for worker in generation.active:
            self._kill(worker)

    def _kill(self, worker: WorkerRecord) -> None:
        """Kill a worker; one that has not told its pid yet is killed when it does."""
        self._fleet.killed(worker.source)
        if worker.pid is not None:
            process.kill(worker.pid)

    def _pause_fork_server(self, action: PauseForkServer) -> None:
        generation = self._fleet.generations[action.number]
        generation.step_fork_server(ForkServerStep.WAS_PAUSED)
        if generation.pid is not None:
            process.send_signal(generation.pid, signal.SIGSTOP)

    def _end_fork_server(self, action: EndForkServer) -> None:
        self._tell_to_end(self._fleet.generations[action.number])

    def _kill_fork_server(self, action: KillForkServer) -> None:
        generation = self._fleet.generations[action.number]
        if action.reason:
            who = fields(generation=action.number, pid=generation.pid, reason=action.reason)
            log.warning("fork server killed %s", who)
        self._kill_fork_server_of(generation)

    def _tell_to_end(self, generation: GenerationRecord) -> None:
        """Have a fork server end by itself: it sees the end of its channel, runs its ``atexit`` functions and exits.

        What it forks is either born already or not wanted any more. What the application has started there and does not
        end along with it is ended once nothing else is left of the generation.
        """
        self.note_helpers(generation.number)
        self._fleet.fork_server_told_to_end(generation.number, time.monotonic() + END_SECONDS)
        self._links.drop(Source(generation.number))
        if generation.pid is not None:
            process.send_signal(generation.pid, signal.SIGCONT)

    def _kill_fork_server_of(self, generation: GenerationRecord) -> None:
        """Kill a fork server, and what hangs in a fork there; helpers stay as long as workers need them."""
        before = set(generation.helpers)
        forked = descendants(generation.pid) if generation.pid is not None else []
        loaded = generation.state is not GenerationState.REFUSED
        self._fleet.fork_server_killed(generation.number)
        self._links.drop(Source(generation.number))
        if generation.pid is not None:
            process.kill(generation.pid)
        for each in forked:
            if not (loaded and each in before):
                process.end(each)

    def note_helpers(self, number: int) -> None:
        """Take note of the processes that the application has started in a fork server."""
        generation = self._fleet.generations[number]
        if generation.pid is not None:
            generation.helpers = [*{*generation.helpers, *descendants(generation.pid)}]
