"""One setting of another server, and what it means here."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from spawning.settings.names import setting_of
from spawning.settings.table import OPTIONS


@dataclass(frozen=True, slots=True)
class Remark:
    """What cannot be said as a setting here: a sentence for people who move."""

    text: str


@dataclass(frozen=True, slots=True)
class Conf:
    """All settings of the other server.

    :param values: name to value, also those that nobody has said.
    :param said: the names that somebody has said.
    :param environ: the variables of the process.
    """

    values: Mapping[str, Any]
    said: frozenset[str]
    environ: Mapping[str, str] = field(default_factory=dict)


def as_it_is(value: Any, conf: Conf) -> Any:
    """Take a value that means the same here."""
    return value


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A setting of the other server.

    :param name: what a file of its settings calls it.
    :param flags: its options; none if only a file may say it.
    :param default: what it is when nobody says it.
    :param key: our long option that means this, without the dashes; empty if there is none, and none is planned.
    :param note: a sentence: why none is needed, or what is different here.
    :param take: turns a value into ours, with all the others at hand: a plain value, None if nothing is to be said, or
        a :class:`Remark`. Raises ``ValueError`` or ``TypeError`` if it is no value there either.
    :param unsaid: whether it is to be said here although nobody said it there, since the defaults differ.
    :param missing: there is no option for it, and somebody may miss one.
    :param same: an option of the same name and meaning that is no setting.
    """

    name: str
    flags: tuple[str, ...] = ()
    default: Any = None
    key: str = ""
    note: str = ""
    take: Callable[[Any, Conf], Any] = as_it_is
    unsaid: bool = False
    missing: bool = False
    same: bool = False

    @property
    def setting(self) -> str | None:
        """The name of our setting; None if the table has none."""
        return setting_of(self.key) if self.key else None

    @property
    def verdict(self) -> str:
        """What the documentation says: ``same``, ``ours``, ``not needed`` or ``not there yet``."""
        if self.same:
            return "same"
        if not self.key:
            return "not there yet" if self.missing else "not needed"
        if self.setting is None:
            return "not there yet"
        option = OPTIONS.get(self.setting)
        spellings = (*option.flags, *option.habits) if option else ()
        return "same" if set(self.flags) & {each for each in spellings if each.startswith("--")} else "ours"
