"""What a service has outside of its processes: logs, listening sockets and certificates, pidfile, status service.

It is opened when the settings of the first generation are known, before anything of the application is imported, and
with the rights of who has started the server; then those are given up (``--chuid``). Later generations share it.
"""

import os
from collections.abc import Callable

from spawning import cgroup, interpreter, memory
from spawning.account import Account
from spawning.controller.fleet import Fleet
from spawning.controller.identities import Identities
from spawning.controller.legacy import Legacy
from spawning.controller.links import Links
from spawning.controller.listeners import Listeners
from spawning.controller.logfiles import LogFiles
from spawning.controller.pidfile import Pidfile
from spawning.controller.reader import Reader, what_needs_a_restart
from spawning.controller.records import PAGE, GenerationRecord
from spawning.controller.snapshot import Situation
from spawning.controller.standard import NAMES, StandardFiles
from spawning.controller.status_process import StatusProcess
from spawning.controller.triggers import Triggers, check_library
from spawning.ipc.messages import ReopenLog, ReopenStream
from spawning.logs.log import Log
from spawning.logs.setup import fields, redirect
from spawning.settings import Settings
from spawning.settings.names import key_of
from spawning.settings.values import AUTO

_NAMES = (
    "watch", "reload", "access_log_file", "pidfile", "control_socket", "max_memory", "max_worker_memory", "status",
    "status_port", "app_metrics", "sysinfo", "coverage",
)  # fmt: skip

log = Log("spawning.controller")


class Outside:
    """See the module. For the controller's loop alone.

    :param account: who the service is to go on as; None: it stays who it is.
    :param situation: returns what the controller knows beside its records.

    ``bound`` are the settings with which it was opened, None before.
    """

    def __init__(
        self,
        legacy: Legacy,
        account: Account | None,
        reader: Reader,
        fleet: Fleet,
        links: Links,
        situation: Callable[[], Situation],
    ) -> None:
        self.bound = legacy.bound
        self.logs = LogFiles(legacy.started_in or os.getcwd(), legacy.logs, self._hand_out_log)
        directory = self.logs.directory
        self.listeners = Listeners(legacy.held, legacy.inherited, legacy.outside, directory, legacy.handoff[0])
        self.identities = Identities(fleet, links, legacy.identities, legacy.ticket_keys)
        self.status = StatusProcess(fleet, links, legacy.status_listeners, legacy.metrics, situation)
        self.pidfile = Pidfile.handed_on(legacy.pidfile, legacy.pidfile_lock) if legacy.pidfile else None
        self._standard = StandardFiles(directory)
        self._account = account
        self._reader = reader
        self._fleet = fleet
        self._links = links

    # Opening ---------------------------------------------------------------------------------------------------------

    def open(
        self, generation: GenerationRecord, triggers: Triggers, open_control: Callable[[Settings, str], None]
    ) -> None:
        """Take hold of everything, and give up the privileges for it.

        :param generation: the first one.
        :param open_control: is called with the settings, and where the control socket's name came from.
        :raises ConfigError: something cannot be opened; closing is the caller's.
        """
        settings = generation.settings
        origins = self._reader.origins(generation)
        sources = {name: origins.get(name, f"setting {name}") for name in _NAMES}
        if settings.max_memory or settings.max_worker_memory:
            memory.check_readable(sources["max_memory" if settings.max_memory else "max_worker_memory"])
        if settings.max_memory == AUTO and cgroup.memory() is None:
            log.info("the control group has no limit of memory, so --max-memory auto does nothing")
        triggers.check(settings, sources)
        self._open_log(settings.access_log_file, sources["access_log_file"])
        self._provide_listeners(generation)
        self.bound = settings
        if settings.pidfile is not None:
            pidfile = Pidfile(settings.pidfile, sources["pidfile"])
            pidfile.write()
            self.pidfile = pidfile
        if self._account is None:
            self.status.open(settings, sources)
            open_control(settings, sources["control_socket"])
            return
        self.listeners.give_to(self._account.uid, self._account.gid)
        with self._account.tried(os.environ):
            self._account.check_can_start(interpreter.needed())
            self.status.open(settings, sources)
            open_control(settings, sources["control_socket"])
        self._account.enter(os.environ)
        self.identities.go_on_as(self._account.variables.get("USER", str(self._account.uid)))

    def follow(self, generation: GenerationRecord) -> None:
        """Do for a later generation what its settings say, and log which of them need a restart.

        :raises ConfigError: an address cannot be bound, or what is to watch files is not installed.
        """
        assert self.bound is not None
        settings = generation.settings
        check_library(settings, self._reader.origins(generation).get("reload", "setting reload"))
        self.logs.want(settings.access_log_file)
        self._provide_listeners(generation)
        self.status.compare(generation.number, settings)
        in_vain = what_needs_a_restart(self.bound, settings)
        if in_vain:
            log.warning(
                "settings have changed that need a restart %s",
                fields(generation=generation.number, settings=", ".join(map(key_of, in_vain))),
            )

    def go_on_with(self, bound: Settings) -> None:
        """Go on with what an earlier program of this controller has opened with the settings `bound`."""
        self.status.go_on_with(bound)
        for generation in self._fleet:
            self.logs.want(generation.settings.access_log_file)

    def closing(self) -> list[Callable[[], None]]:
        """Return what closes and removes it all, each for itself."""
        closing = [self.listeners.close, self.logs.close, self.status.close]
        return [*closing, self.pidfile.remove] if self.pidfile is not None else closing

    def _provide_listeners(self, generation: GenerationRecord) -> None:
        origins = self._reader.origins(generation)
        self.identities.provide(generation, origins)
        if generation.trigger == PAGE:  # it shows itself where the site is
            self.listeners.recall(generation)
        else:
            self.listeners.provide(generation, generation.settings, origins)

    # Logs ------------------------------------------------------------------------------------------------------------

    def reopen_logs(self, cause: str, settings: Settings) -> None:
        """Open all logs anew, in all processes.

        :param cause: for the log.
        :param settings: those that were read last, which count before there is a generation.
        """
        names = {generation.settings.access_log_file for generation in self._fleet}
        bound = self.bound or settings
        for stream, descriptor in self._standard.reopened(bound, cause):
            redirect(stream, descriptor)
            for source in self._links.sources():
                self._links.send(source, ReopenStream(stream), [descriptor])
            os.close(descriptor)
        files = [name for name in NAMES.values() if getattr(bound, name) is not None]
        self.logs.reopen(cause, names or {settings.access_log_file}, files)

    def _hand_out_log(self, path: str, descriptor: int) -> None:
        for generation in self._fleet:
            if self.logs.path(generation.settings.access_log_file) == path:
                for worker in generation.workers.values():
                    self._links.send(worker.source, ReopenLog(), [descriptor])

    def _open_log(self, name: str, origin: str) -> None:
        """Open a log; one that is made by this is to be the user's whom the service goes on as, who reopens it."""
        path = self.logs.path(name)
        is_new = path is not None and not os.path.lexists(path)
        self.logs.open_first(name, origin)
        descriptor = self.logs.descriptor(name)
        if is_new and descriptor is not None and self._account is not None:
            os.fchown(descriptor, self._account.uid, self._account.gid)
