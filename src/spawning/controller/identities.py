"""The certificates that the server has at present: read when a generation's settings are known, given to its workers,
and read again when their files change, without a reload.

All generations with the same settings have the same certificates, so what is held is held by settings. What has been
read is given to workers as it was, also to those that are forked later: a file that is broken by now replaces nothing.
A person or a program writes two files one after the other, so what does not fit together is looked at again for a
moment before the log is told, once.

The keys of session tickets are made here too, so a session goes on in another worker and another generation. They are
made anew once a day.

For the controller's loop alone, which waits here for the command that prints a passphrase at most.
"""

import math
import os
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from spawning.controller.fleet import Fleet
from spawning.controller.links import Links
from spawning.controller.paths import working_directory
from spawning.controller.polling import Seen, seen
from spawning.controller.records import GenerationRecord, WorkerState
from spawning.errors import ConfigError
from spawning.interpreter import start
from spawning.ipc.messages import Renew
from spawning.logs.log import Log
from spawning.logs.setup import fields
from spawning.net import tickets
from spawning.net.identity import (
    NAMED,
    Material,
    Term,
    context_of,
    files_of,
    is_wanted,
    lay_down,
    pick_up,
    read,
    terms,
)
from spawning.settings import Settings

EVERY: Final = 1.0  # seconds between looks at the files
QUIET: Final = 0.1  # seconds in which nothing may change before they are read
PATIENCE: Final = 2.0  # seconds that files may not fit together
DAY: Final = 86400.0  # seconds
SOON: Final = 21  # days before the end of a certificate from which on it is warned of

log: Final = Log("spawning.controller")

_Key = tuple[Any, ...]


@dataclass(slots=True, eq=False)
class _Held:
    """What has been read for some settings.

    :param fd: of the file in memory that workers get.
    :param found: the files as they were when they were read, or last found to be of no use.
    :param changed: as they are since `changed_at` (monotonic seconds).
    """

    settings: Settings
    sources: Mapping[str, str]
    material: Material
    fd: int
    terms: list[Term]
    found: Seen
    changed: Seen = field(default_factory=dict)
    changed_at: float = 0.0


class Identities:
    """See the module.

    :param fleet: whose generations have settings, and workers.
    :param links: to the workers.
    :param handed: of the program before: number of a generation to the descriptor of its file in memory.
    :param keys: of session tickets, from there too, with when they were made (seconds since the epoch); "": none.
    :param clock: returns the seconds since the epoch.
    """

    def __init__(
        self,
        fleet: Fleet,
        links: Links,
        handed: Mapping[int, int],
        keys: tuple[str, float],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._clock = clock
        self._fleet = fleet
        self._links = links
        self._held: dict[_Key, _Held] = {}
        self._keys, self._made_at = keys
        self._trouble: str | None = None  # why keys cannot be shared; None: nobody has asked yet
        self._look_at = 0.0
        self._warned_at: dict[str, float] = {}  # files of certificates: when (monotonic seconds) it was warned of them
        for number, fd in handed.items():
            settings = fleet.generations[number].settings
            material = pick_up(fd)
            self._held[_key(settings)] = _Held(settings, {}, material, fd, terms(material), _seen(settings))

    # For generations and workers -------------------------------------------------------------------------------------

    def provide(self, generation: GenerationRecord, sources: Mapping[str, str]) -> None:
        """Read the certificates of a generation, and see that they can be used.

        Those that are served already under the same settings are kept if the files do not do any more.

        :param sources: name of a setting to where its value came from.
        :raises ConfigError: they cannot be used.
        """
        settings = generation.settings
        _check_directory(settings, sources)
        self._forget()
        self._look_at = 0.0
        if not is_wanted(settings):
            return
        held = self._held.get(_key(settings))
        found = _seen(settings)
        try:
            material = _read(settings, sources)
        except ConfigError as error:
            if held is None:
                raise
            self._tell_of_failure(held, found, error)
            return
        if held is not None:
            held.sources = sources
            self._use(held, material, found)
            return
        self._share_keys()
        held = _Held(settings, sources, material, lay_down(material), terms(material), found)
        self._held[_key(settings)] = held
        self._tell("certificate loaded", held.terms)

    def go_on_as(self, user: str) -> None:
        """Warn of files that cannot be read any more, now that this process has become `user`."""
        directory = working_directory()
        for held in self._held.values():
            held.found = _seen(held.settings)  # what is out of sight now has not changed
            closed = [file for file in files_of(held.settings) if not os.access(os.path.join(directory, file), os.R_OK)]
            if closed:
                log.warning(
                    "certificate cannot be renewed without a restart %s",
                    fields(user=user, unreadable=", ".join(closed)),
                )

    def of(self, generation: int) -> list[int]:
        """Return the descriptors that go to a worker of a generation, at most one."""
        held = self._held.get(_key(self._fleet.generations[generation].settings))
        return [held.fd] if held is not None else []

    @property
    def keys(self) -> str:
        """The keys of session tickets, as text; empty: each worker has its own."""
        return self._keys

    @property
    def handed_on(self) -> dict[int, int]:
        """The files in memory by numbers of generations, for the next program."""
        return {number: fd for number in self._fleet.generations for fd in self.of(number)}

    @property
    def keys_handed_on(self) -> tuple[str, float]:
        """The keys, and when they were made, for the next program."""
        return self._keys, self._made_at

    @property
    def terms(self) -> list[Term]:
        """Until when the certificates are valid that are served."""
        serving = self._fleet.serving or self._fleet.under_way
        held = self._held.get(_key(serving.settings)) if serving is not None else None
        return held.terms if held is not None else []

    # Time ------------------------------------------------------------------------------------------------------------

    def look(self, now: float) -> float:
        """Look at the files, and at the calendar.

        :param now: monotonic seconds.
        :returns: when to look again (infinity: never).
        """
        if not self._held:
            return math.inf
        if now < self._look_at:
            return self._look_at
        self._look_at = now + EVERY
        for held in self._held.values():
            if self._look_for_change(held, now):
                self._look_at = now + QUIET
        if self._keys and not 0 <= self._clock() - self._made_at < DAY:
            self._make_keys()
            self._send(self._held.values())
        self._warn(now)
        return self._look_at

    def _look_for_change(self, held: _Held, now: float) -> bool:
        """Read files that have changed; True: they may not be quiet yet."""
        found = _seen(held.settings)
        if found == held.found:
            return False
        if found != held.changed:
            held.changed, held.changed_at = found, now
            return True
        try:
            material = _read(held.settings, held.sources)
        except ConfigError as error:
            if now < held.changed_at + PATIENCE:
                return True
            self._tell_of_failure(held, found, error)
            return False
        if _seen(held.settings) != found:
            return True
        self._use(held, material, found)
        return False

    def _tell_of_failure(self, held: _Held, found: Seen, error: ConfigError) -> None:
        if held.found != found:
            held.found = found
            log.error("certificate not replaced, the one before is served %s", fields(reason=error))

    def _use(self, held: _Held, material: Material, found: Seen) -> None:
        """Replace what is held, if it is not the same, and give it to the workers."""
        held.found = found
        if material == held.material:
            return
        fd = lay_down(material)
        os.close(held.fd)
        held.fd, held.material, held.terms = fd, material, terms(material)
        self._send([held])
        self._tell("certificate replaced", held.terms)
        self._warned_at.clear()

    def _send(self, every: Iterable[_Held]) -> None:
        """Send workers what is held; those that have not begun to serve get it when they do."""
        for held in every:
            key = _key(held.settings)
            for generation in self._fleet:
                if _key(generation.settings) != key:
                    continue
                for worker in generation.workers.values():
                    if worker.state is WorkerState.SERVING:
                        self._links.send(worker.source, Renew(self._keys), [held.fd])

    def _tell(self, what: str, found: Iterable[Term]) -> None:
        for each in found:
            days = each.days_left(self._clock())
            log.info("%s %s", what, fields(file=each.file, names=",".join(each.names), days=days))

    def _warn(self, now: float) -> None:
        """Warn of certificates that have ended, or soon will, once a day."""
        for each in self.terms:
            if now - self._warned_at.get(each.file, -math.inf) >= DAY and (
                warning := each.warning(self._clock(), SOON)
            ):
                self._warned_at[each.file] = now
                log.warning("%s", warning)

    def _forget(self) -> None:
        """Let go of what no generation has any more."""
        wanted = {_key(generation.settings) for generation in self._fleet}
        for key in [each for each in self._held if each not in wanted]:
            os.close(self._held.pop(key).fd)

    # Keys ------------------------------------------------------------------------------------------------------------

    def _share_keys(self) -> None:
        if self._trouble is None and not self._keys:
            self._trouble = tickets.trouble(start())
            if self._trouble:
                log.warning("session tickets are not shared between workers %s", fields(reason=self._trouble))
            else:
                self._make_keys()

    def _make_keys(self) -> None:
        self._keys, self._made_at = tickets.new().hex(), self._clock()


def check(settings: Settings, sources: Mapping[str, str]) -> None:
    """See that the certificates can be used, and warn of those that are not valid now.

    :raises ConfigError: they cannot be used.
    """
    _check_directory(settings, sources)
    if is_wanted(settings):
        for each in terms(_read(settings, sources)):
            if warning := each.warning(time.time(), SOON):
                log.warning("%s", warning)


def _read(settings: Settings, sources: Mapping[str, str]) -> Material:
    material = read(settings, sources, working_directory())
    context_of(material, settings, sources)
    return material


def _check_directory(settings: Settings, sources: Mapping[str, str]) -> None:
    directory = settings.acme_directory
    if directory is not None and not os.path.isdir(os.path.join(working_directory(), directory)):
        origin = sources.get("acme_directory", "setting acme_directory")
        raise ConfigError(f"{origin}: there is no directory {directory}; make it first")


def _key(settings: Settings) -> _Key:
    """Return what tells certificates apart."""
    return tuple(getattr(settings, name) for name in (*NAMED, "client_certs", "tls_min_version", "ciphers"))


def _seen(settings: Settings) -> Seen:
    directory = working_directory()
    return seen(os.path.join(directory, file) for file in files_of(settings))
