"""How a setting is reached from outside: the row of the table that stands beside its default."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

PREFIX = "SPAWNING_"


@dataclass(frozen=True, slots=True)
class Option:
    """How a setting is reached from outside.

    :param flags: command-line spellings; empty when only a factory may set it.
    :param parse: turns text or a plain value into the setting's type; raises ``ValueError`` or ``TypeError`` that says
        what would be right.
    :param help: one line for ``--help`` and the documentation.
    :param metavar: the placeholder in ``--help``; empty for a switch.
    :param env: the environment variable that replaces the default, if it is set and not empty: a convention of many
        programs. Every option has a variable of ours besides (:attr:`variable`).
    :param group: the heading under which ``--help`` and the documentation list it.
    :param habits: spellings of other servers that mean the same; taken on the command line, and listed nowhere.
    :param needs_restart: a reload cannot change it.
    :param in_file: whether a configuration file may hold it.
    :param secret: ``--print-config`` does not show it.
    :param again: why it is an error to give it a second time on the command line, where somebody may expect both to
        count; empty: the last one does, so that a script may have defaults of its own before what it is given.
    """

    flags: tuple[str, ...]
    parse: Callable[[Any], Any]
    help: str
    metavar: str = ""
    env: str = ""
    group: str = ""
    habits: tuple[str, ...] = ()
    needs_restart: bool = False
    in_file: bool = True
    secret: bool = False
    again: str = ""

    @property
    def flag(self) -> str:
        """The spelling that messages use: the longest one, or empty when only a factory may set it."""
        return max((flag for flag in self.flags if flag not in self.opposites), key=len, default="")

    @property
    def opposites(self) -> tuple[str, ...]:
        """The spellings that switch off what is on by default: ``--no-X`` beside ``--X``."""
        return tuple(flag for flag in self.flags if flag.startswith("--no-") and f"--{flag[5:]}" in self.flags)

    @property
    def is_switch(self) -> bool:
        """Whether the option stands alone on the command line, without a value."""
        return not self.metavar

    @property
    def key(self) -> str:
        """Its name in a configuration file: that of the long option, ``max-requests``; empty where there is none."""
        return self.flag.lstrip("-").replace("_", "-")

    @property
    def variable(self) -> str:
        """Its environment variable, ``SPAWNING_MAX_REQUESTS``; empty where there is none."""
        return f"{PREFIX}{self.key.upper().replace('-', '_')}" if self.key else ""


def option(
    default: Any,
    *flags: str,
    parse: Callable[[Any], Any],
    help: str,
    metavar: str = "",
    env: str = "",
    group: str = "",
    habits: tuple[str, ...] = (),
    needs_restart: bool = False,
    in_file: bool = True,
    secret: bool = False,
    again: str = "",
) -> Any:
    """Make a field of the table.

    :param default: the value, or what is called to get it. The rest: see :class:`Option`.
    """
    row = Option(flags, parse, help, metavar, env, group, habits, needs_restart, in_file, secret, again)
    if callable(default):
        return field(default_factory=default, metadata={"option": row})
    return field(default=default, metadata={"option": row})
