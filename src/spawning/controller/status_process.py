"""The controller's side of the status service: its sockets, its process, and what it is told.

It is told how everything is once a second, and whenever a generation or the service changes its state. What the
threads of the workers are doing is asked for only while somebody looks (``Watching``): to answer costs each worker a
moment. A status service that does not read is told nothing until it does. For the controller's loop alone.
"""

import os
import secrets
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Mapping
from typing import Any

from spawning.controller import process
from spawning.controller.actions import EndStatus, KillStatus, StartStatus
from spawning.controller.fleet import Fleet, how
from spawning.controller.links import Links
from spawning.controller.records import Source, WorkerState
from spawning.controller.snapshot import Situation, full_snapshot
from spawning.controller.status_record import STATUS, StatusRecord, StatusState
from spawning.errors import ConfigError
from spawning.ipc.channel import Channel
from spawning.ipc.messages import OWN_QUESTION, AskDetails, BootStatus, Details, Message, Snapshot, Stop, Watching
from spawning.logs.log import Log
from spawning.logs.setup import fields, zone
from spawning.net.status import bind_status, remove_status, status_url
from spawning.settings import Settings, as_dict

EVERY = 1.0  # seconds between snapshots
FRESH = 3.0  # seconds that an answer of a worker is shown

_FIXED = (
    "status", "status_token", "status_port", "status_host", "statsd_host", "statsd_prefix", "statsd_tags",
    "app_metrics", "sysinfo", "coverage",
)  # fmt: skip
_SHOWN = {"app_metrics": "them", "sysinfo": "it", "coverage": "it"}
_FINISH_SECONDS = 1.0  # that it has for its clients when it is told to end
_ANSWERING = (WorkerState.READY, WorkerState.SERVING, WorkerState.RETIRING, WorkerState.FROZEN)

log = Log("spawning.controller")


def _directory() -> str:
    """Return where the application's processes are to keep their metrics; empty: there is no place."""
    try:
        return os.path.join(tempfile.gettempdir(), f"spawning-metrics-{secrets.token_hex(8)}")
    except FileNotFoundError:
        return ""


class StatusProcess:
    """See the module.

    :param fleet: the records.
    :param links: the channels.
    :param own: its sockets, from an earlier program of this controller.
    :param metrics: the directory for what the application's processes leave for it, likewise; empty: there was none.
    :param situation: returns what the controller knows beside its records.
    """

    def __init__(
        self,
        fleet: Fleet,
        links: Links,
        own: list[socket.socket],
        metrics: str,
        situation: Callable[[], Situation],
    ) -> None:
        self.listeners = own
        self.metrics = metrics or _directory()
        self._fleet = fleet
        self._links = links
        self._situation = situation
        self._settings: Settings | None = None
        self._next = 0.0  # monotonic seconds
        self._state: object = None  # that was told last
        self._watched_until = 0.0  # monotonic seconds
        self._details: dict[Source, tuple[Details, float]] = {}  # and when it came
        self._unanswered: set[Source] = set()

    @property
    def url(self) -> str:
        """Where people find it; empty: there is none."""
        return status_url(self.listeners)

    # Life ------------------------------------------------------------------------------------------------------------

    def open(self, settings: Settings, sources: Mapping[str, str]) -> None:
        """Bind its address, if it is wanted; the plan starts it then.

        :raises ConfigError: that cannot be done.
        """
        for name, shown in _SHOWN.items():
            if not getattr(settings, name):
                continue
            origin = sources.get(name, f"setting {name}")
            if settings.status is None and not settings.status_port:
                raise ConfigError(f"{origin}: there is no --status, which would show {shown}")
            if not self.metrics:
                raise ConfigError(
                    f"{origin}: there is no directory for temporary files: set TMPDIR to one that can be written"
                )
        self.listeners += bind_status(settings, sources)
        self._settings = settings
        if settings.measures:
            self._fleet.status = StatusRecord()

    def compare(self, generation: int, settings: Settings) -> None:
        """Log which settings of a new generation would need a restart."""
        before = self._settings
        if before is not None:
            names = [name for name in _FIXED if getattr(settings, name) != getattr(before, name)]
            if names:
                log.warning("settings need a restart %s", fields(generation=generation, settings=", ".join(names)))

    def go_on_with(self, settings: Settings) -> None:
        """Go on with what the earlier program has opened; its process is replaced by one of this program.

        :param settings: those with which it was opened.
        """
        self._settings = settings
        if self._fleet.status is not None:
            self._fleet.status.outdated = True

    def close(self) -> None:
        """Leave no socket, and no files of the application's processes."""
        remove_status(self.listeners)
        if self.metrics:
            shutil.rmtree(self.metrics, ignore_errors=True)

    def start(self, _: StartStatus) -> None:
        record, settings = self._fleet.status, self._settings
        assert record is not None
        assert settings is not None
        near, far = Channel.pair()
        try:
            pid = process.start_status(far)
        except OSError as error:
            near.close()
            record.start_failed(time.monotonic())
            log.warning("cannot start the status service %s", fields(reason=error.strerror))
            return
        finally:
            far.close()
        record.started(pid, time.monotonic())
        self._links.drop(STATUS)
        self._links.add(STATUS, near)
        self._watched_until = 0.0
        self._next = time.monotonic() + EVERY
        values = self._snapshot(time.monotonic())
        boot = BootStatus(as_dict(settings), os.getpid(), zone().changes, values, self.metrics)
        self._links.send(STATUS, boot, [listener.fileno() for listener in self.listeners])
        log.info("status service started %s", fields(url=self.url or "-", pid=pid))

    def end(self, _: EndStatus) -> None:
        record = self._fleet.status
        assert record is not None
        record.told_to_end(time.monotonic())
        self._links.send(STATUS, Stop(_FINISH_SECONDS))

    def kill(self, action: KillStatus) -> None:
        record = self._fleet.status
        assert record is not None
        assert record.pid is not None
        record.killed()
        process.kill(record.pid)
        if action.reason:
            log.warning("status service killed %s", fields(pid=record.pid, reason=action.reason))

    def exited(self, pid: int, status: int) -> bool:
        """Note an exit; False: it is another process's."""
        record = self._fleet.status
        if record is None or record.pid != pid:
            return False
        self._links.drop(STATUS)
        if record.exited(time.monotonic()) is StatusState.RUNNING:
            log.warning("status service died %s %s", fields(pid=pid), how(status))
        return True

    # Conversation ----------------------------------------------------------------------------------------------------

    def on_said(self, message: Message | None) -> None:
        """Take what it says; None is the end of its channel, of which its exit is the news."""
        now = time.monotonic()
        if self._fleet.status is not None:
            self._fleet.status.heard_at = now
        if isinstance(message, Watching):
            if now >= self._watched_until:
                self._unanswered = set(self._ask())
            self._watched_until = now + message.seconds

    def on_details(self, source: Source, message: Details) -> None:
        """Take a worker's answer; the last one completes what somebody who has just begun to look waits for."""
        self._details[source] = (message, time.monotonic())
        if source in self._unanswered:
            self._unanswered.discard(source)
            if not self._unanswered:
                self._next = 0.0

    def look(self, now: float) -> float:
        """Send the status service a snapshot, if it is time; return when to look again."""
        record = self._fleet.status
        if record is None or record.state is not StatusState.RUNNING:
            return now + EVERY
        state = self._what_matters()
        if now >= self._next or state != self._state:
            self._state = state
            self._next = now + EVERY
            if not self._links.is_behind(STATUS):
                self._links.send(STATUS, Snapshot(self._snapshot(now)))
            if now < self._watched_until:
                self._ask()
                self._unanswered.clear()
        return self._next

    def _ask(self) -> list[Source]:
        """Ask the workers what their threads are doing; return whom."""
        workers = [worker for each in self._fleet for worker in each.workers.values()]
        asked = [each.source for each in workers if each.state in _ANSWERING and not self._links.is_behind(each.source)]
        for source in asked:
            self._links.send(source, AskDetails(OWN_QUESTION, stacks=False))
        return asked

    def _what_matters(self) -> object:
        """Return what is told at once when it changes."""
        return self._situation().wanted.service, [
            (each.number, each.state, sum(worker.state is WorkerState.SERVING for worker in each.workers.values()))
            for each in self._fleet
        ]

    def _snapshot(self, now: float) -> dict[str, Any]:
        details = None
        if now < self._watched_until:
            self._details = {source: each for source, each in self._details.items() if now - each[1] < FRESH}
            details = {source: each for source, (each, _) in self._details.items()}
        return full_snapshot(self._situation(), self._fleet, now, details)
