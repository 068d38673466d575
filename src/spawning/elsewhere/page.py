"""The tables of ``docs/from/``: ``python -m spawning.elsewhere.page docs/from/*.md`` makes them anew.

The table of gunicorn's settings is made from ``gunicorn.py``. The others are written by hand; what they call "not there
yet (`--option`)" is called by that option alone once the table of settings has it.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from spawning.elsewhere import gunicorn
from spawning.elsewhere.rows import Row
from spawning.settings.names import APP, MIDDLEWARE
from spawning.settings.table import OPTIONS

BEGIN: Final = "<!-- made by `make settings` from spawning/elsewhere/gunicorn.py -->"
END: Final = "<!-- end -->"
_COMING: Final = re.compile(r"not there yet \(((?:`--[\w-]+`(?:, )?)+)\)")
_OPTION: Final = re.compile(r"`(--[\w-]+)`")


def renewed(page: str) -> str:
    """Return a page as it has to be by now."""
    before, begin, rest = page.partition(BEGIN)
    if begin:
        page = f"{before}{BEGIN}\n\n{tables()}\n\n{END}{rest.partition(END)[2]}"
    return _COMING.sub(_what_is_there, page)


def spellings() -> frozenset[str]:
    """Return every spelling of every option of ours."""
    return frozenset(each for option in OPTIONS.values() for each in (*option.flags, *option.habits))


def _what_is_there(match: re.Match[str]) -> str:
    return match[1] if set(_OPTION.findall(match[1])) <= spellings() else match[0]


def tables() -> str:
    """Return the tables of gunicorn's settings: those with an option, and those that only a file has."""
    return "\n".join(_tables())


def _tables() -> Iterator[str]:
    yield from ("| option | in the file | here | |", "|---|---|---|---|")
    for row in gunicorn.ROWS:
        if row.flags:
            flags = ", ".join(f"`{flag}`" for flag in row.flags)
            yield f"| {flags} | `{row.name}` | {_here(row)} | {row.note} |"
    yield from ("", "| only in the file | here | |", "|---|---|---|")
    for row in gunicorn.ROWS:
        if not row.flags:
            yield f"| `{row.name}` | {_here(row)} | {row.note} |"
    for name, (decorator, sentence) in gunicorn.HOOKS.items():
        here = f"`@{decorator.__name__}` ([hooks](../hooks.md))" if decorator else "not needed"
        yield f"| `{name}` | {here} | {sentence[0].upper()}{sentence[1:].rstrip('.')}. |"


def _here(row: Row) -> str:
    verdict, setting = row.verdict, row.setting
    if verdict == "not there yet" and row.key:
        return f"not there yet (`--{row.key}`)"
    if verdict != "ours":
        return verdict
    if setting in (APP, MIDDLEWARE):
        return f"`{setting}` in a file, or an argument"
    return f"`{OPTIONS[setting or ''].flag}`"


def main() -> None:
    """Write the pages that are named anew."""
    for name in sys.argv[1:]:
        path = Path(name)
        path.write_text(renewed(path.read_text()))


if __name__ == "__main__":
    main()
