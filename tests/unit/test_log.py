"""What a log line looks like, and that neither what it says nor what is done to ``logging`` changes that."""

import ast
import io
import logging
import os
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from spawning.log_handler import ErrorLogHandler
from spawning.logs.log import Log, escaped, target
from spawning.logs.writer import Writer
from spawning.logs.zone import Zone

LINE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} \+0000 \[\d+\] (?P<level>[A-Z]+) (?P<text>.*)")
SOURCE = Path(__file__).parents[2] / "src" / "spawning"

log = Log("spawning.test")


class Written:
    """Has the lines of a log that is configured, as in a server."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.writer = Writer(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), lambda _: None)

    def lines(self) -> list[str]:
        assert self.writer.drain(30)
        return self.path.read_text().split("\n")[:-1]

    def texts(self) -> list[tuple[str, str]]:
        """Return level and text of each line; all have to be first lines."""
        found = [LINE.fullmatch(line) for line in self.lines()]
        return [(match["level"], match["text"]) for match in found if match] if all(found) else []


@pytest.fixture
def written(tmp_path: Path) -> Iterator[Written]:
    written = Written(tmp_path / "log")
    target.writer = written.writer
    yield written
    target.writer, target.level, target.json = None, logging.INFO, False
    written.writer.finish()


def test_levels(written: Written) -> None:
    log.debug("a detail")
    target.level = logging.DEBUG
    log.debug("another detail")
    log.info("said key=%s", 7)
    log.warning("100 %")
    log.error("wrong path=%r", "/a\n")
    assert written.texts() == [
        ("DEBUG", "another detail"),
        ("INFO", "said key=7"),
        ("WARNING", "100 %"),
        ("ERROR", r"wrong path='/a\n'"),
    ]


def fail(error: Exception) -> None:
    raise error


FORGED = "2026-01-01 00:00:00.000 +0000 [1] INFO ready"


@pytest.mark.parametrize("text", [f"a\n{FORGED}", f"a\r{FORGED}", f"a\x85{FORGED}", f"a\u2028{FORGED}", f"\n{FORGED}"])
def test_no_text_forges_a_line(written: Written, text: str) -> None:
    """Neither for a person, nor for a program that has other ideas of what ends a line."""
    try:
        fail(ValueError(text))
    except ValueError:
        log.exception("application raised")
    log.error("%s", text)
    lines = [line for each in written.lines() for line in each.splitlines()]
    assert [line for line in lines if line.startswith("2026-01")] == []
    assert [match["text"].split("\\")[0] for line in lines if (match := LINE.match(line))] == [
        "application raised",
        text.partition("\n")[0].split("\r")[0].split("\x85")[0].split("\u2028")[0],
    ]


@pytest.mark.parametrize("text", ["\x1b[2J", "\x9b2J", "\x07", "\x00", "\u202e", "\ud800", "\t"])
def test_no_text_reaches_a_terminal(written: Written, text: str) -> None:
    try:
        fail(ValueError(text))
    except ValueError:
        log.exception("%s", text)
    assert all(line.isprintable() for line in written.lines())
    assert ascii(text)[1:-1] in written.lines()[0]


def test_further_lines_of_a_record_begin_with_spaces(written: Written) -> None:
    try:
        int("no number")
    except ValueError:
        log.exception("application raised")
    first, second, *_, last = written.lines()
    assert LINE.fullmatch(first)
    assert second == "  Traceback (most recent call last):"
    assert last == "  ValueError: invalid literal for int() with base 10: 'no number'"


def test_colours_of_ours_are_kept_and_nothing_else(written: Written) -> None:
    log.coloured("the application failed\n%s", "\x1b[1;31mred\x1b[0m \x1b[2J\x1b]0;title\x07")
    assert written.lines()[1] == "  \x1b[1;31mred\x1b[0m \\x1b[2J\\x1b]0;title\\x07"


class Unshowable:
    def __str__(self) -> str:
        raise LookupError

    __repr__ = __str__


class UnshowableError(Exception):
    def __str__(self) -> str:
        raise SystemError


def test_what_cannot_be_shown_raises_nothing(written: Written) -> None:
    log.error("path=%r", Unshowable())
    try:
        fail(UnshowableError())
    except UnshowableError:
        log.exception("application raised")
    assert "the values cannot be shown: LookupError" in written.lines()[0]
    assert written.lines()[-1].startswith("  ")


def raise_always(*_: object, **__: object) -> logging.LogRecord:
    raise LookupError


@pytest.mark.parametrize("what", ["disable", "level", "disabled", "factory", "class"])
def test_nothing_that_is_done_to_logging_silences_it(
    written: Written, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    logger = logging.getLogger("spawning.test")
    with monkeypatch.context() as application:
        match what:
            case "disable":
                application.setattr(logging.root.manager, "disable", logging.CRITICAL)
            case "level":
                application.setattr(logging.root, "level", logging.CRITICAL)
                application.setattr(logger, "level", logging.CRITICAL)
            case "disabled":
                application.setattr(logger, "disabled", True)
            case "factory":
                application.setattr(logging, "_logRecordFactory", raise_always)
            case "class":
                application.setattr(logging, "Logger", None)
        log.error("still heard")
    assert written.texts() == [("ERROR", "still heard")]


@pytest.mark.parametrize("stream", [None, io.StringIO(), object()], ids=["None", "StringIO", "no stream"])
def test_nothing_that_is_done_to_the_streams_silences_it(
    written: Written, stream: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", stream)
    log.error("still heard")
    assert written.texts() == [("ERROR", "still heard")]


def test_outside_of_a_server_it_is_a_logger_like_others(caplog: pytest.LogCaptureFixture) -> None:
    log.warning("said key=%s", 7)
    assert [(record.name, record.levelname, record.getMessage()) for record in caplog.records] == [
        ("spawning.test", "WARNING", "said key=7")
    ]


def test_the_handler_for_applications(written: Written) -> None:
    handler = ErrorLogHandler()
    for level, text in [(5, "a trace"), (25, "between"), (50, "the end")]:
        handler.handle(logging.makeLogRecord({"name": "shop", "levelno": level, "msg": text}))
    handler.handle(logging.makeLogRecord({"name": "shop", "levelno": 30, "msg": "%s", "args": (7,)}))
    handler.setFormatter(logging.Formatter("<%(message)s>"))
    handler.handle(logging.makeLogRecord({"name": "shop", "levelno": 20, "msg": "formatted"}))
    assert written.texts() == [
        ("DEBUG", "a trace logger=shop"),
        ("INFO", "between logger=shop"),
        ("CRITICAL", "the end logger=shop"),
        ("WARNING", "7 logger=shop"),
        ("INFO", "<formatted>"),
    ]


def test_the_handler_says_what_cannot_be_shown(written: Written, capsys: pytest.CaptureFixture[str]) -> None:
    ErrorLogHandler().handle(logging.makeLogRecord({"levelno": 20, "msg": "%s", "args": (Unshowable(),)}))
    assert "--- Logging error ---" in capsys.readouterr().err
    assert written.texts() == []


def test_the_handler_elsewhere_than_in_a_server(capsys: pytest.CaptureFixture[str]) -> None:
    ErrorLogHandler().handle(logging.makeLogRecord({"levelname": "INFO", "msg": "said %s", "args": (7,)}))
    assert capsys.readouterr().err == "INFO said 7\n"


def test_printable_text_is_left_alone() -> None:
    assert escaped("caf\u00e9 \u4e2d") == "caf\u00e9 \u4e2d"


def test_every_part_of_the_server_logs_by_it() -> None:
    """A logger of ``logging`` would be the application's to silence: it is ``Log("spawning...")``."""
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and node.attr == "getLogger":
                assert path.name == "log.py", f"{path} asks logging for a logger"


# The time zone -------------------------------------------------------------------------------------------------------


@pytest.fixture
def zone_of_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """Lets a test set ``TZ``; afterwards all is as before."""
    yield monkeypatch
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("name", "second", "shown"),
    [
        ("UTC", 1_800_000_000, "2027-01-15 08:00:00 +0000"),
        ("JST-9", 1_800_000_000, "2027-01-15 17:00:00 +0900"),
        ("<+0545>-5:45", 1_800_000_000, "2027-01-15 13:45:00 +0545"),
        ("NST3:30NDT,M3.2.0,M11.1.0", 1_800_000_000, "2027-01-15 04:30:00 -0330"),
        ("CET-1CEST,M3.5.0,M10.5.0/3", 1_805_590_799, "2027-03-21 01:59:59 +0100"),  # a rule instead of a name
    ],
)
def test_local_times(zone_of_process: pytest.MonkeyPatch, name: str, second: int, shown: str) -> None:
    zone_of_process.setenv("TZ", name)
    time.tzset()
    zone = Zone.here()
    zone_of_process.setenv("TZ", "NZST-12NZDT,M9.5.0,M4.1.0/3")  # as an application may
    time.tzset()
    local, offset = zone.local(second)
    assert f"{time.strftime('%Y-%m-%d %H:%M:%S', local)} {offset}" == shown


@pytest.mark.parametrize(
    "name", ["CET-1CEST,M3.5.0,M10.5.0/3", "EST5EDT,M3.2.0,M11.1.0", "<+1030>-10:30<+11>-11,M10.1.0,M4.1.0"]
)
def test_a_zone_is_that_of_the_machine_at_every_moment(zone_of_process: pytest.MonkeyPatch, name: str) -> None:
    zone_of_process.setenv("TZ", name)
    time.tzset()
    zone = Zone(Zone.here().changes)  # as it travels
    now = int(time.time())
    moments = [*range(now, now + 5 * 365 * 86400, 43_201)]
    moments += [change + step for change, _ in zone.changes for step in (-1, 0, 1) if change > now]
    assert len(zone.changes) > 10
    assert [zone.offset(moment) for moment in moments] == [time.localtime(moment).tm_gmtoff for moment in moments]
