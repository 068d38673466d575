"""The controller: binds the sockets, supervises, reloads. Never imports the application.

    controller ──── one thread, one loop (and, with --reload dev, threads that watch files and only report)
      ├─ fork server, generation 7 ── fresh interpreter; has the application in memory; forks workers when asked to
      ├─ worker 7.1 ┐
      ├─ worker 7.2 ├ forked by the fork server, adopted by the controller, accepting on the controller's sockets
      └─ …          ┘

Who may do what. Only the controller starts, kills and waits for processes, binds and closes listening sockets, and
decides. A fork server loads and forks; it decides nothing, and its death costs nobody a request. A worker serves, and
leaves when told to, or when its channel ends because the controller has gone. Each of them talks to the controller
alone, over a socketpair that the controller has made; a worker's end travels through the fork server to the worker.

How it works. Signals, messages, exits and changed files are entries of one queue; each is dispatched by its type and
changes what is wanted (``Wanted``) or the records (``fleet.py``). Then the pure ``plan.py`` says what is to be done,
the actions are executed (``executor.py``), which changes the records again, until nothing is left to do. Then the loop
sleeps until something happens or the plan's time has come. There is no other place where something is decided.
"""

import contextlib
import dataclasses
import math
import os
import signal
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from spawning import memory
from spawning.account import Account
from spawning.controller import process
from spawning.controller.boundary import PAUSE, Boundary
from spawning.controller.commands import Commands
from spawning.controller.condition import condition
from spawning.controller.control import Asked
from spawning.controller.departures import log_departure
from spawning.controller.events import Changed, Committed, Said, Signal
from spawning.controller.executor import Executor
from spawning.controller.legacy import Legacy
from spawning.controller.links import Links
from spawning.controller.outside import Outside
from spawning.controller.patience import Patience
from spawning.controller.plan import Service, plan, without_done
from spawning.controller.reader import Reader
from spawning.controller.records import GRACE, UNDER_WAY, GenerationRecord, GenerationState, Source, WorkerState
from spawning.controller.signals import Interrupts, Wakeup, held_back
from spawning.controller.state import State
from spawning.controller.status_record import STATUS
from spawning.controller.terminal import Terminal
from spawning.controller.triggers import Triggers
from spawning.controller.upgrade import Attempt, Upgrade, command_now, why
from spawning.errors import ConfigError
from spawning.ipc.messages import (
    OWN_QUESTION,
    AskDetails,
    Born,
    Configured,
    Details,
    Loaded,
    LoadFailed,
    Ready,
    WorkerGone,
)
from spawning.logs.log import Log
from spawning.logs.setup import fields, finish
from spawning.settings import Settings
from spawning.systemd import Notifier, Phase

_ROUNDS = 1000  # of planning without a pause; more is a bug, and must not eat the machine

# Settings that the machine may not agree to; they are looked at once, at the first start.
log = Log("spawning.controller")


class Controller:
    """The loop, and what each entry of its queue means. One per process, in its main thread."""

    def __init__(
        self,
        reader: Reader,
        wakeup: Wakeup,
        legacy: Legacy,
        account: Account | None,
        on_ready: Callable[[], None] | None,
    ) -> None:
        self.reader = reader
        self._on_first_ready = on_ready
        self.wanted = legacy.wanted
        self.fleet = legacy.fleet
        self.wakeup = wakeup
        self.links = Links(wakeup.fileno())
        for source, channel in legacy.channels.items():
            self.links.add(source, channel)
        self.links.restore(legacy.unsent)
        self.handoff = legacy.handoff
        self.fence = legacy.fence
        self.outside = Outside(legacy, account, reader, self.fleet, self.links, lambda: self.commands.situation)
        self.executor = Executor(reader, self.fleet, self.links, self.outside, self.handoff, self.fence)
        self.upgrade = Upgrade(command_now(), reader.typed_in)
        self.triggers = Triggers(self.executor.directory, self.report_changes, self.report_commit)
        self.notifier = Notifier(os.environ, Phase.SERVING if self.fleet.has_served else Phase.STARTING)
        self.terminal = Terminal(counts=legacy.terminal)
        self.patience = Patience(lambda source: self.links.send(source, AskDetails(OWN_QUESTION, stacks=False)))
        self._foreign = legacy.foreign
        self._control = legacy.control
        self._failed_files: frozenset[str] = frozenset()  # of the generation refused last
        self._interrupts = Interrupts()
        self.commands = Commands(self)
        self._boundary = Boundary(lambda: self.fleet.has_served)
        self._queue: deque[Signal | Said | Changed | Committed | Asked | process.Exit] = deque()
        self._dispatch: dict[type[Any], Callable[[Any], None]] = {
            Signal: self._on_signal,
            Said: self._on_said,
            Changed: self._on_changed,
            Committed: self._on_committed,
            Asked: self.commands.run,
            process.Exit: self._on_exit,
        }
        self._on_signals: dict[int, Callable[[signal.Signals], None]] = {
            signal.SIGTERM: self._drain,
            signal.SIGINT: self._interrupt,
            signal.SIGQUIT: self._end,
            signal.SIGHUP: self._hang_up,
            signal.SIGUSR1: self._reopen_logs,
            signal.SIGUSR2: lambda _: self.begin_upgrade(),
            signal.SIGTTIN: self._more,
            signal.SIGTTOU: self._fewer,
            signal.SIGCHLD: self._child,
        }
        self._on_messages: dict[type[Any], Callable[[Source, Any], None]] = {
            Configured: self._on_configured,
            Loaded: self._on_loaded,
            LoadFailed: self._on_load_failed,
            Born: self._on_born,
            Ready: self._on_ready,
            Details: self._on_details,
        }

    @property
    def settings(self) -> Settings:
        """The settings that were read last, before any factory."""
        return self.reader.current.settings

    # The loop --------------------------------------------------------------------------------------------------------

    def loop(self) -> None:
        """Serve until nothing is left to be done."""
        if (bound := self.outside.bound) is not None:  # by the program before this one
            self.commands.go_on_with(bound, self._control)
            self.outside.go_on_with(bound)
        self.wakeup.listen(self._on_signals)
        if not self.fleet.has_served:
            self.triggers.check(self.settings, self.reader.current.sources)
        self._guard(self._follow_files)
        while True:
            until = self._boundary.insist(time.monotonic() + PAUSE, self._settle)
            if self.executor.finished:
                return
            until = min(until, self._look())
            if self.upgrade.attempt is Attempt.APPROVED and not (self.fleet.in_cutover or self.outside.listeners.busy):
                if not self._guard(self._replace):
                    self.upgrade.refuse("an error of the program that runs, see its log")
                continue
            seconds = None if until == math.inf else max(0.0, until - time.monotonic())
            if not self._boundary.insist(False, self._collect, seconds):
                time.sleep(PAUSE)

    def _look(self) -> float:
        """Do what is to be done once a turn besides the plan; return the time at which to look again."""
        now = time.monotonic()
        if self._on_first_ready is not None and self.fleet.has_served:
            self._guard(self._on_first_ready)
            self._on_first_ready = None
        self._guard(self.commands.observe, now)
        self._guard(self.terminal.look, now)
        later = now + PAUSE
        return min(
            self.commands.until,
            self._boundary.ask(later, self.upgrade.look, now),
            self._boundary.ask(later, self.outside.status.look, now),
            self._boundary.ask(later, self.outside.logs.look, now),
            self._boundary.ask(later, self.outside.listeners.look, now, self.settings.head_timeout),
            self._boundary.ask(later, self.outside.identities.look, now),
            self._boundary.ask(later, self._look_after_spare, now),
            self._boundary.ask(later, self.patience.look, self.wanted, self.fleet, now),
            self._boundary.ask(later, lambda: self.notifier.report(condition(self.wanted, self.fleet), now)),
        )

    def _look_after_spare(self, now: float) -> float:
        serving = self.fleet.serving
        develops = serving is not None and serving.settings.reload == "dev"
        quiet = self.fleet.under_way is None and self.wanted.service is Service.RUN
        return self.executor.spare.look(wanted=develops and quiet and self.upgrade.attempt is Attempt.NONE, now=now)

    def close(self) -> None:
        """Leave nothing: no process, no thread, no socket, no pidfile."""
        for pid in self.fleet.pids():
            process.kill(pid)
        process.end_all(self._foreign)
        self.upgrade.close()
        self._release()

    def leave(self) -> None:
        """Go after an error. What serves is left to finish, as if the controller had been killed: it sees the end of
        its channel. If nothing has served yet, nothing is left.
        """
        if self.fleet.has_served:
            self._release()
        else:
            self.close()

    def _release(self) -> None:
        """Close and remove all that is not a process. What cannot be, must not keep the rest from it."""
        closing = [
            self.executor.spare.end,
            self.triggers.stop,
            self.commands.close,
            self.links.close,
            *self.outside.closing(),
        ]
        for close in closing:
            # boundary: this is the end, perhaps because of an error, and the end of a process closes everything anyway
            with contextlib.suppress(Exception):
                close()

    def report_changes(self, files: list[str]) -> None:
        """Enqueue changed files and wake the loop; called by the watcher's threads."""
        self._queue.append(Changed(files))
        self.wakeup.wake()

    def report_commit(self, before: str, commit: str) -> None:
        """Enqueue another commit and wake the loop; called by the watcher's thread."""
        self._queue.append(Committed(before, commit))
        self.wakeup.wake()

    def _settle(self) -> float:
        """Take note of everything and do what is to be done; return the time at which to look again."""
        while self._queue:
            entry = self._queue.popleft()
            self._guard(self._dispatch[type(entry)], entry)
        if self.wanted.service is Service.DRAIN and time.monotonic() >= self.wanted.drain_at:
            self.outside.listeners.close()  # the workers have theirs
        for _ in range(_ROUNDS):
            actions, until = plan(self.wanted, self.fleet, time.monotonic())
            if not actions:
                return until
            good = [self._guard(self.executor.execute, action) for action in actions]
            if not all(good):  # the others are done; each of them was due by itself
                return time.monotonic() + PAUSE
            self.wanted = without_done(self.wanted, self.fleet)
            if self.executor.outcome is not None:
                self.wanted = self.wanted.ended(time.monotonic())
        return time.monotonic() + PAUSE

    def _guard(self, function: Callable[..., object], *arguments: Any) -> bool:
        """Call; whether it went well."""
        return self._boundary.went_well(function, *arguments)

    def _collect(self, seconds: float | None) -> bool:
        """Wait for something to happen and enqueue it; whether all of that went well.

        Exits are collected before the channels are read, and enqueued after: whatever a process has said before its
        end, its pid above all, is known when its exit is noted.
        """
        ready = self.links.wait(seconds)
        self._queue.extend(Signal(number) for number in self.wakeup.drain())
        exits = process.reap()
        good = [self._guard(self._receive, source) for source in (self.links.sources() if exits else ready)]
        self._queue.extend(exits)
        return self._guard(self.commands.collect, self._queue) and all(good)

    def _receive(self, source: Source) -> None:
        self._queue.extend(Said(source, message) for message in self.links.receive(source))

    # Signals ---------------------------------------------------------------------------------------------------------

    def _on_signal(self, entry: Signal) -> None:
        self._on_signals[entry.number](signal.Signals(entry.number))

    def _drain(self, signum: signal.Signals) -> None:
        self.stop(signal=signum.name)

    def stop(self, **cause: str) -> None:
        """Stop gracefully, unless that is under way; `cause` goes to the log."""
        if self.wanted.service is not Service.RUN:
            return
        serving = self.fleet.serving
        settings = serving.settings if serving else self.settings
        delay = settings.drain_delay if serving else 0.0
        log.info("stopping %s", fields(**cause, **({"delay": delay} if delay else {})))
        at = time.monotonic() + delay
        until = at + settings.deadman_timeout + GRACE
        self.wanted = dataclasses.replace(self.wanted, service=Service.DRAIN, drain_at=at, drain_until=until)

    def _interrupt(self, signum: signal.Signals) -> None:
        if not self._interrupts.count(time.monotonic()):
            return
        if self.wanted.service is Service.RUN:
            self._drain(signum)
            self.wanted = dataclasses.replace(self.wanted, ends_streams=True)  # somebody waits for the prompt
        else:
            self._end(signum)

    def _end(self, signum: signal.Signals) -> None:
        log.info("stopping at once %s", fields(signal=signum.name))
        self.wanted = self.wanted.ended(time.monotonic())

    def _hang_up(self, signum: signal.Signals) -> None:
        if not self.terminal.is_closed:
            self.reload(signum.name)
            return
        self.stop(signal=signum.name, reason="its terminal was closed")
        self.wanted = dataclasses.replace(self.wanted, ends_streams=True)

    def reload(self, trigger: str) -> None:
        """Ask for a new generation, unless the service ends."""
        if self.wanted.service is Service.RUN:
            self.executor.telling.changed = ()
            number = self.fleet.newest + 1
            self.wanted = dataclasses.replace(self.wanted, generation=number, trigger=trigger, recall=0)

    def roll_back(self, number: int) -> None:
        """Ask for a kept generation, in place of whatever else is asked for."""
        number_asked_for = min(self.wanted.generation, self.fleet.newest)
        self.wanted = dataclasses.replace(self.wanted, generation=number_asked_for, recall=number)

    def _reopen_logs(self, signum: signal.Signals) -> None:
        self.executor.spare.end()  # has the files before, and nobody listens there yet
        self.outside.reopen_logs(signum.name, self.settings)

    def _more(self, signum: signal.Signals) -> None:
        self._change_workers(self.wanted.extra + 1)

    def _fewer(self, signum: signal.Signals) -> None:
        self._change_workers(self.wanted.extra - 1)

    def scale(self, workers: int) -> None:
        """Want so many workers, whatever the settings say."""
        if (serving := self.fleet.serving) is not None:
            self._change_workers(workers - serving.settings.num_processes)

    def _change_workers(self, extra: int) -> None:
        if (serving := self.fleet.serving) is not None:
            least = 1 - serving.settings.num_processes
            self.wanted = dataclasses.replace(self.wanted, extra=max(extra, least))
            log.info("workers wanted %s", fields(workers=self.wanted.workers(serving)))

    def _child(self, signum: signal.Signals) -> None:
        """Do nothing: the signal has ended the wait, and exits are collected after each wait."""

    def begin_upgrade(self) -> None:
        """Try to become the Spawning that is installed now."""
        if self.wanted.service is not Service.RUN or not self.fleet.has_served:
            self.upgrade.refuse("the service does not serve yet, or not any more")
        else:
            self.upgrade.begin(self._state(), self.executor.directory, time.monotonic())

    def _replace(self) -> None:
        """Become the new program, once all that has arrived for this one is dealt with."""
        with held_back(self._on_signals):
            self._collect(0)
            self._settle()
            if self.wanted.service is not Service.RUN:
                self.upgrade.refuse("the service ends")
            elif not (self.fleet.in_cutover or self.outside.listeners.busy):  # else soon
                finish()
                self.executor.spare.end()
                try:
                    self.upgrade.replace(self._state(), self.executor.directory, self.notifier.variables)
                except OSError as error:
                    self.upgrade.refuse(why(error))

    def _state(self) -> State:
        outside, (sending, receiving) = self.outside, self.handoff
        assert outside.bound is not None, "there is nothing to hand on before the sockets are bound"
        return State(
            wanted=self.wanted,
            fleet=self.fleet,
            channels=self.links.descriptors(),
            handoff=(sending.fileno(), receiving.fileno()),
            fence=self.fence.fd,
            identities=outside.identities.handed_on,
            ticket_keys=outside.identities.keys_handed_on,
            listeners=[each.fd for each in outside.listeners.held],
            activated=bool(outside.listeners.inherited),
            held=outside.listeners.held,
            inherited=outside.listeners.descriptors,
            bound=outside.bound,
            pidfile=str(outside.pidfile.path) if outside.pidfile else None,
            pidfile_lock=outside.pidfile.fd if outside.pidfile else -1,
            control=self.commands.handed_on,
            unsent=self.links.unsent(),
            foreign=self._foreign,
            started_in=outside.logs.directory,
            logs=dict(outside.logs.opened),
            terminal=self.terminal.counts,
            status_listeners=[listener.fileno() for listener in outside.status.listeners],
            metrics=outside.status.metrics,
        )

    # Messages --------------------------------------------------------------------------------------------------------

    def _on_said(self, entry: Said) -> None:
        if entry.source == STATUS:
            self.outside.status.on_said(entry.message)
            return
        if entry.message is None:
            if (departure := self.fleet.stillborn(entry.source, time.monotonic())) is not None:
                log_departure(departure, None, None)
            return
        self.fleet.apply(entry.source, entry.message, time.monotonic())
        react = self._on_messages.get(type(entry.message))
        if react is not None and entry.source.generation in self.fleet.generations:
            react(entry.source, entry.message)

    def _on_configured(self, source: Source, message: Configured) -> None:
        generation = self.fleet.generations[source.generation]
        self.triggers.load_began()
        self.patience.import_began(source.generation, time.monotonic())
        self._open_for(generation)

    def _open_for(self, generation: GenerationRecord) -> None:
        """Open what a generation's settings name; if that cannot be, refuse it."""
        try:
            if self.outside.bound is None:
                self.outside.open(generation, self.triggers, self.commands.open)
            else:
                self.outside.follow(generation)
        except ConfigError as error:
            generation.failure = LoadFailed("config", str(error))

    def _on_loaded(self, source: Source, message: Loaded) -> None:
        if not self.fleet.generations[source.generation].settings.no_preload:
            self.triggers.load_ended()
        self.executor.note_helpers(source.generation)
        self.executor.telling.left_behind(source.generation, message)
        self._follow_files()

    def _on_load_failed(self, source: Source, message: LoadFailed) -> None:
        self.triggers.load_ended()
        self._failed_files = frozenset(message.files)
        generation = self.fleet.generations[source.generation]
        if self.outside.bound is None and message.kind == "app" and generation.settings.reload == "dev":
            self._open_for(generation)  # its factory has failed, which a page is to say
        if generation.state is GenerationState.SERVING:
            self.executor.telling.show(message, "a replacement of a worker did not load", again=False)  # --no-preload
            log.error("worker failed to load %s", fields(worker=source, reason=message.message))
        self._follow_files()

    def _on_born(self, source: Source, message: Born) -> None:
        worker = self.fleet.worker(source)
        if worker is not None and worker.state is WorkerState.KILLED:  # before it could tell its pid
            process.kill(message.pid)

    def _on_ready(self, source: Source, message: Ready) -> None:
        if message.files:  # the worker has loaded the application itself
            self.triggers.load_ended()
            self._follow_files()

    def _on_details(self, source: Source, message: Details) -> None:
        self.patience.on_details(source, message)
        if message.question == OWN_QUESTION:
            self.outside.status.on_details(source, message)
        else:
            self.commands.on_details(source, message)

    # Exits and files -------------------------------------------------------------------------------------------------

    def _on_exit(self, entry: process.Exit) -> None:
        departure = self.fleet.exited(entry.pid, entry.status, time.monotonic(), memory.kills())
        if departure is None:
            others = self.executor.spare, self.outside.status
            if not any(other.exited(entry.pid, entry.status) for other in others):
                self.upgrade.exited(entry)
            return
        log_departure(departure, entry.pid, entry.status)
        if departure.worker is not None:
            self.links.drop(departure.worker.source)
            if departure.generation.told_of_exits:
                self.links.send(Source(departure.generation.number), WorkerGone(entry.pid))
        elif departure.generation.state in UNDER_WAY:
            self._follow_files()

    def _on_changed(self, entry: Changed) -> None:
        files = self.triggers.edited(entry.files)
        if files and self.wanted.service is Service.RUN:
            shown = ", ".join(os.path.relpath(file, self.executor.directory) for file in files[:5])
            log.info("files changed %s", fields(count=len(files), files=shown))
            self.reload("change")
            self.executor.telling.changed = tuple(files)

    def _on_committed(self, entry: Committed) -> None:
        if self.wanted.service is Service.RUN:
            log.info("commit changed %s", fields(before=entry.before[:12], commit=entry.commit[:12]))
            self.reload("commit")

    def _follow_files(self) -> None:
        """Have the files watched that matter: of what serves, of what is to serve, and of what was refused."""
        self.triggers.follow(self.settings, self.fleet, self._failed_files)
