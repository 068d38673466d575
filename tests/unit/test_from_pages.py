"""``docs/from``: every option of the other server is in its table, and what is said to be here is.

``tests/elsewhere/options`` has the options, made from each server's ``--help`` by ``renew.py`` there.
"""

import argparse
import fnmatch
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from django.core.management import load_command_class

from spawning.cli_options import QUESTIONS
from spawning.elsewhere import page as pages
from spawning.elsewhere.page import renewed, spellings

ROOT = Path(__file__).parents[2]
PAGES = {path.stem: path for path in (ROOT / "docs" / "from").glob("*.md")}
OPTION = re.compile(r"`(-[\w*-]+)`")
OURS = spellings() | {"--help", "-h", "--version"} | {flag for flag, _ in QUESTIONS.values()}
VERDICTS = ("same", "not needed", "not there yet")


class Row(NamedTuple):
    """A line of a table."""

    theirs: tuple[str, ...]
    here: str
    note: str


def rows(server: str) -> Iterator[Row]:
    """Yield the lines of all tables of options."""
    for line in PAGES[server].read_text().splitlines():
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if len(cells) >= 3 and OPTION.search(cells[0]):
            yield Row(tuple(OPTION.findall(cells[0])), cells[-2], cells[-1])


def options(server: str) -> list[tuple[str, ...]]:
    """List the other server's options, each with all its spellings."""
    if server == "runserver":
        parser = load_command_class("django.contrib.staticfiles", "runserver").create_parser("manage.py", "runserver")
        return [tuple(action.option_strings) for action in actions(parser) if action.option_strings]
    lines = (ROOT / "tests" / "elsewhere" / "options" / f"{server}.txt").read_text().splitlines()
    return [tuple(line.split()) for line in lines if line.startswith("-")]


def actions(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    return parser._actions


def fits(spelling: str, row: Row) -> bool:
    return any(fnmatch.fnmatchcase(spelling, pattern) for pattern in row.theirs)


def test_there_is_a_page_for_each() -> None:
    assert PAGES.keys() == {"gunicorn", "mod_wsgi", "runserver", "uwsgi", "waitress"}


@pytest.mark.parametrize("server", PAGES)
def test_every_option_of_the_other_server_is_in_a_table(server: str) -> None:
    table, known = list(rows(server)), options(server)
    text = PAGES[server].read_text()
    assert len(known) > 10
    missing = [names for names in known if not any(fits(name, row) for row in table for name in names)]
    if server == "gunicorn":  # these are in the sentence behind the table
        missing = [names for names in missing if not all(f"`{name}`" in text for name in names)]
    assert missing == []


@pytest.mark.parametrize("server", PAGES)
def test_every_row_is_about_options_that_are_there(server: str) -> None:
    known = [name for names in options(server) for name in names]
    without = ("--json", "--js", "--cap", "--greenlet")  # uWSGI has these or not, by how it was built
    named = [pattern for row in rows(server) for pattern in row.theirs if pattern not in without]
    assert [pattern for pattern in named if not fnmatch.filter(known, pattern)] == []


@pytest.mark.parametrize("server", PAGES)
def test_what_is_said_to_be_here_is(server: str) -> None:
    for row in rows(server):
        named = OPTION.findall(row.here)
        if row.here.startswith("not there yet"):
            assert not named or not set(named) <= OURS, f"{row.theirs}: it is there now: make settings"
        elif row.here == "same":
            assert set(row.theirs) & OURS, f"{row.theirs}: there is no such option here"
        else:
            assert set(named) <= OURS, row
            assert named or row.here == "not needed" or row.here.startswith("`"), row
        assert row.here in VERDICTS or "`" in row.here, row


@pytest.mark.parametrize("server", PAGES)
def test_what_is_not_needed_says_why(server: str) -> None:
    trivial = ("--orphan-interpreter", "--embedded-mode", "--enable-docs", "--threads-stack*", "--honour-stdin")
    without = [row.theirs[0] for row in rows(server) if row.here == "not needed" and not row.note]
    assert [name for name in without if name not in trivial] == []


@pytest.mark.parametrize("server", PAGES)
def test_options_of_ours_in_notes_exist(server: str) -> None:
    commands = re.compile(r"`spawn ([^`]*)`|`(--[\w-]+)[^`]*`")
    for row in rows(server):
        for typed, option in commands.findall(row.note):
            named = re.findall(r"(?<!\w)--?[a-z][\w-]*", typed or option)
            assert set(named) <= OURS, row


@pytest.mark.parametrize("server", PAGES)
def test_the_tables_are_those_of_the_table_of_settings(server: str) -> None:
    page = PAGES[server].read_text()
    assert renewed(page) == page, "make settings"


def test_what_was_not_there_yet_is_named_once_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    line = "| `--x` | not there yet (`--certs`, `--keys`) | |"
    monkeypatch.setattr(pages, "spellings", lambda: frozenset({"--certs"}))
    assert renewed(line) == line
    monkeypatch.setattr(pages, "spellings", lambda: frozenset({"--certs", "--keys"}))
    assert renewed(line) == "| `--x` | `--certs`, `--keys` | |"
