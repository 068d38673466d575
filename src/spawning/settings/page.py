"""The tables of ``docs/settings.md``: ``python -m spawning.settings.page docs/settings.md`` writes them anew.

They stand between two comments; what is around them is written by hand.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

from spawning.settings.option import Option
from spawning.settings.table import DEFAULTS, OPTIONS

BEGIN = "<!-- made by `make settings` from the table of settings -->"
END = "<!-- end -->"


def tables() -> str:
    """Return a table for each group of settings."""
    return "\n".join(_rows())


def renewed(page: str) -> str:
    """Return a page with its tables made anew.

    :raises ValueError: it has no place for them.
    """
    return replaced(page, BEGIN, f"{tables()}\n\n")


def replaced(page: str, begin: str, made: str) -> str:
    """Return a page with what is made put between the comment `begin` and the one of the end.

    :raises ValueError: it has no place for that.
    """
    before, found, rest = page.partition(begin)
    _, end, after = rest.partition(END)
    if not found or not end:
        raise ValueError(f"the page has no place between {begin} and {END}")
    return f"{before}{begin}\n{made}{END}{after}"


def _rows() -> Iterator[str]:
    group = ""
    for name, option in OPTIONS.items():
        if not option.group:
            continue
        if option.group != group:
            group = option.group
            yield from ("", f"### {group}", "", "| setting | option | default | meaning |", "|---|---|---|---|")
        flags = ", ".join(f"`{flag}`" for flag in option.flags) or "–"
        variable = f", variable `{option.env}`" if option.env else ""
        yield f"| `{name}` | {flags}{variable} | {_default(name)} | {_meaning(option)} |"


def _meaning(option: Option) -> str:
    return f"{option.help} Needs a restart." if option.needs_restart else option.help


def _default(name: str) -> str:
    default = DEFAULTS.get(name, "usable CPUs")
    if isinstance(default, bool):
        return "on" if default else "off"
    if default is None or default == ():
        return "none"
    if isinstance(default, tuple):
        return f"`{','.join(default)}`"
    return f"`{default:g}`" if isinstance(default, float) else f"`{default}`" if name in DEFAULTS else str(default)


def main() -> None:
    """Write the tables of the page that is named."""
    path = Path(sys.argv[1])
    path.write_text(renewed(path.read_text()))


if __name__ == "__main__":
    main()
