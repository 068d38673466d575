"""The configuration, read again for each reload.

Rules: what cannot be read refuses the reload, and what was read before stays. A replacement for a fork server that has
died gets the settings that the dead one was given: it is to load the same, whatever the files say by now.
"""

from collections.abc import Callable

from spawning.controller.records import REPAIR, GenerationRecord
from spawning.settings import OPTIONS, Settings
from spawning.settings.sources import Configuration, Sources

NEEDS_RESTART = tuple(name for name, option in OPTIONS.items() if option.needs_restart)


class Reader:
    """For the controller's loop alone.

    :param first: what was read at the start.
    :param settle: puts in what no source says, such as the address of an inherited socket.
    :param again: whether the first generation needs a reading of its own, since `first` is none of `sources`.
    :ivar current: what was read last.
    """

    def __init__(
        self,
        sources: Sources,
        first: Configuration,
        settle: Callable[[Configuration], Configuration],
        *,
        again: bool = False,
    ) -> None:
        self._sources = sources
        self._settle = settle
        self._unused = not again
        self._given: dict[int, Configuration] = {}
        self.current = settle(first)

    @property
    def typed_in(self) -> str:
        """The directory in which the command was typed."""
        return self._sources.typed_in

    def settings_for(self, number: int, trigger: str, serving: int | None) -> Settings:
        """Return the settings that a generation begins with.

        :param serving: the number of the generation that serves.
        :raises ConfigError: they cannot be read.
        """
        configuration = self._given.get(serving) if trigger == REPAIR and serving is not None else None
        if configuration is None:
            configuration = self._read()
        kept = (serving, number)
        self._given = {each: given for each, given in self._given.items() if each in kept} | {number: configuration}
        return configuration.settings

    def sources_for(self, number: int) -> dict[str, str]:
        """Return where the settings came from that a generation begins with; none are known of a page's."""
        given = self._given.get(number)
        return given.sources if given is not None else {}

    def origins(self, generation: GenerationRecord) -> dict[str, str]:
        """Return where the settings of a generation came from that are no defaults, when its factory has run."""
        return self._given.get(generation.number, self.current).behind_the_factory(generation.settings)

    def _read(self) -> Configuration:
        """Read the sources, but for the first time, which has just been."""
        if not self._unused:
            self.current = self._settle(self._sources.read_all())
        self._unused = False
        return self.current


def what_needs_a_restart(bound: Settings, settings: Settings) -> list[str]:
    """List the settings that a reload has changed in vain."""
    return [name for name in NEEDS_RESTART if getattr(settings, name) != getattr(bound, name)]
