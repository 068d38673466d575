"""The certificates of all generations: read when a generation's settings are known, and given to each of its workers.

A worker that is forked later gets what the generation began with, whatever has become of the files since. For the
controller's loop alone, which waits here for the command that prints a passphrase at most.
"""

import os
import time
from collections.abc import Mapping
from typing import Final

from spawning.controller.fleet import Fleet
from spawning.controller.paths import working_directory
from spawning.controller.records import GenerationRecord
from spawning.errors import ConfigError
from spawning.logs.log import Log
from spawning.net.identity import context_of, is_wanted, lay_down, read, terms
from spawning.settings import Settings

log: Final = Log("spawning.controller")


class Identities:
    """See the module.

    :param held: number of a generation to the descriptor of its file in memory (``net/identity.py``).
    """

    def __init__(self, held: Mapping[int, int]) -> None:
        self.held = dict(held)

    def provide(self, generation: GenerationRecord, sources: Mapping[str, str], fleet: Fleet) -> None:
        """Read the certificates of a generation, and see that they can be used.

        :param sources: name of a setting to where its value came from.
        :param fleet: what is held for generations that it does not have is let go.
        :raises ConfigError: they cannot be used.
        """
        for number in [each for each in self.held if each not in fleet.generations]:
            os.close(self.held.pop(number))
        _check_directory(generation.settings, sources)
        if is_wanted(generation.settings):
            self.held[generation.number] = _laid_down(generation.settings, sources)

    def of(self, generation: int) -> list[int]:
        """Return the descriptors that go to a worker of a generation, at most one."""
        return [self.held[generation]] if generation in self.held else []


def check(settings: Settings, sources: Mapping[str, str]) -> None:
    """See that the certificates can be used, and warn of those that are not valid now.

    :raises ConfigError: they cannot be used.
    """
    _check_directory(settings, sources)
    if is_wanted(settings):
        os.close(_laid_down(settings, sources))


def _check_directory(settings: Settings, sources: Mapping[str, str]) -> None:
    directory = settings.acme_directory
    if directory is not None and not os.path.isdir(os.path.join(working_directory(), directory)):
        origin = sources.get("acme_directory", "setting acme_directory")
        raise ConfigError(f"{origin}: there is no directory {directory}; make it first")


def _laid_down(settings: Settings, sources: Mapping[str, str]) -> int:
    material = read(settings, sources, working_directory())
    context_of(material, settings, sources)
    for each in terms(material):
        if warning := each.warning(time.time()):
            log.warning("%s", warning)
    return lay_down(material)
