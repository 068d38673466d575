"""Records of the error log as JSON: their members, and nothing that a text could forge."""

import json
import logging
import os
import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from spawning.logs.log import Log, target, write
from spawning.logs.setup import fields
from spawning.logs.writer import Writer

log = Log("spawning.test")


class Written:
    """Has the objects of a log that is configured, as in a server."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.writer = Writer(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), lambda _: None)

    def objects(self) -> list[dict[str, Any]]:
        assert self.writer.drain(30)
        text = self.path.read_bytes().decode("ascii")
        assert all(line.isprintable() for line in text.split("\n"))
        return [json.loads(line) for line in text.splitlines()]


@pytest.fixture
def written(tmp_path: Path) -> Iterator[Written]:
    written = Written(tmp_path / "log")
    target.writer, target.json = written.writer, True
    yield written
    target.writer, target.json, target.level = None, False, logging.INFO
    written.writer.finish()


def test_a_record_has_time_level_sentence_and_process(written: Written) -> None:
    log.info("stopped")
    (found,) = written.objects()
    at = datetime.fromisoformat(found.pop("timestamp"))
    assert at.tzinfo is not None
    assert abs(at.timestamp() - datetime.now().timestamp()) < 60
    assert found == {"severity": "INFO", "message": "stopped", "process.pid": os.getpid()}


def test_the_time_of_a_record_has_nothing_of_the_one_before_it(written: Written) -> None:
    for _ in range(20):  # in one second, but for once
        target.json = False
        target.stamp()
        target.json = True
        assert re.search(r"T\d\d:.*:\d\d$", target.stamp())


@pytest.mark.parametrize(
    ("text", "message", "members"),
    [
        ("worker died worker=1.2 pid=17 how=exit", "worker died", {"worker": "1.2", "pid": 17, "how": "exit"}),
        ('refused reason="it is \\"so\\" a=b" to=7', "refused", {"reason": 'it is "so" a=b', "to": 7}),
        ("application raised method=GET path='/a b=c\\n'", "application raised", {"method": "GET", "path": "/a b=c\n"}),
        ("finished seconds=0.512", "finished", {"seconds": 0.512}),
        ("no pairs here", "no pairs here", {}),
        ("a=b in the middle of text", "a=b in the middle of text", {}),
        ("an a=b in the middle then c=d", "an a=b in the middle then", {"c": "d"}),
        ("empty a= b=1", "empty", {"a": "", "b": 1}),
        ("open a='b c=d", "open", {"a": "'b", "c": "d"}),
        ("collides message=x pid=1", "collides", {"spawning.message": "x", "pid": 1}),
        ("numbers a=007 b=-5 c=1e5 d=٣", "numbers", {"a": "007", "b": -5, "c": "1e5", "d": "٣"}),
    ],
)  # fmt: skip
def test_pairs_at_the_end_become_members(written: Written, text: str, message: str, members: dict[str, object]) -> None:
    log.warning("%s", text)
    (found,) = written.objects()
    assert found["message"] == message
    assert {key: found[key] for key in set(found) - {"timestamp", "severity", "message", "process.pid"}} == members


def test_what_fields_makes_is_read_again(written: Written) -> None:
    values = {"a": "one two", "b": 'q"uo=te', "c": "\x1b[31m", "d": "ü", "e": "", "f": "'"}
    log.info("said %s", fields(**values))
    (found,) = written.objects()
    assert {key: found[key] for key in values} == values


def fail(error: Exception) -> None:
    raise error


@pytest.mark.parametrize("text", ['x"}\n{"message":"forged"}', "a\r\nb", "\x1b[2J\x7f\x85\u2028", "\ud800"])
def test_no_text_forges_a_record(written: Written, text: str) -> None:
    try:
        fail(LookupError(text))
    except LookupError:
        log.exception("application raised method=GET path=%r", text)
    log.error("%s", text)
    first, second = written.objects()
    assert first["message"] == "application raised"
    assert (first["exception.type"], first["path"]) == ("LookupError", text)
    assert first["exception.stacktrace"].startswith("Traceback (most recent call last):\n")
    assert "forged" not in (first["message"], second["message"])


def test_further_lines_are_details(written: Written) -> None:
    log.error("request given up worker=%s\n%s", "1.1", "  File x\n    y\n")
    (found,) = written.objects()
    assert (found["message"], found["worker"], found["details"]) == ("request given up", "1.1", "  File x\n    y")


def test_colours_are_left_out(written: Written) -> None:
    log.coloured("the application failed\n%s", "\x1b[1;31mred\x1b[0m")
    assert written.objects()[0]["details"] == "red"


def test_lines_of_an_application_are_objects_too(written: Written) -> None:
    write('one\ntwo "2"\n')
    assert [(each["stream"], each["message"]) for each in written.objects()] == [
        ("wsgi.errors", "one"), ("wsgi.errors", 'two "2"'),
    ]  # fmt: skip


@pytest.mark.parametrize(("level", "count"), [("debug", 4), ("info", 3), ("warning", 2), ("error", 1)])
def test_levels(written: Written, level: str, count: int) -> None:
    target.level = getattr(logging, level.upper())
    log.debug("a")
    log.info("b")
    log.warning("c")
    log.error("d")
    assert len(written.objects()) == count


def test_a_long_text_is_read_in_time(written: Written) -> None:
    """Quadratic time would be minutes, which the timeout of the whole run would not survive."""
    log.error("%s", "text" + " a=b" * 20000 + " '" + " c='" * 20000)
    assert len(written.objects()) == 1
