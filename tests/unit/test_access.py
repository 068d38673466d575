"""Access lines: Apache's combined format, the duration appended, and nothing that a client could forge."""

import re
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from spawning.logs.access import AccessLog
from spawning.logs.streams import open_file

DEADLINE = 30.0  # seconds

ENVIRON = {
    "REMOTE_ADDR": "192.0.2.1",
    "REQUEST_METHOD": "GET",
    "RAW_URI": "/a?b",
    "SERVER_PROTOCOL": "HTTP/1.1",
    "HTTP_REFERER": "http://a.example/",
    "HTTP_USER_AGENT": "probe/1",
}
LINE = re.compile(
    r'(?P<address>\S+) - (?P<user>\S+) \[\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}\] "(?P<request>[^"]*)" '
    r'(?P<status>\d{3}) (?P<size>\d+|-) "(?P<referer>[^"]*)" "(?P<agent>[^"]*)" (?P<seconds>\d+\.\d{6})'
)


def record(log: AccessLog, environ: dict[str, Any], code: int, sent: int, started: float) -> None:
    """Record a request of which the application has changed nothing."""
    log.record(log.entry(environ), environ, code, sent, started)


def line(tmp_path: Path, environ: dict[str, Any], code: int = 200, sent: int = 5, **changes: object) -> re.Match[str]:
    """Write one record, of a request whose application has made these changes, and read its line."""
    path = tmp_path / "access.log"
    log = AccessLog(open_file(str(path)))
    log.record(log.entry(environ), {**environ, **changes}, code, sent, monotonic() - 0.25)
    log.end(DEADLINE)
    (text,) = path.read_text("latin-1").splitlines()
    match = LINE.fullmatch(text)
    assert match, text
    return match


def test_a_line_says_everything(tmp_path: Path) -> None:
    match = line(tmp_path, ENVIRON, REMOTE_USER="ann")
    assert float(match["seconds"]) >= 0.25  # since it began that long ago
    assert match.groupdict() == {
        "address": "192.0.2.1",
        "user": "ann",
        "request": "GET /a?b HTTP/1.1",
        "status": "200",
        "size": "5",
        "referer": "http://a.example/",
        "agent": "probe/1",
        "seconds": match["seconds"],
    }


def test_what_is_not_known_is_a_dash(tmp_path: Path) -> None:
    match = line(tmp_path, {"REQUEST_METHOD": "GET", "RAW_URI": "/", "REMOTE_ADDR": ""}, 304, 0)
    assert match.group("address", "user", "size", "referer", "agent") == ("-", "-", "-", "-", "-")


@pytest.mark.parametrize("value", ['a" 200 5 "', "a\\", "a\nb", "a\x1b[1m", "a\x7fb", "caf\u00e9", "\u00a0"])
def test_a_client_cannot_end_a_field_a_line_or_reach_a_terminal(tmp_path: Path, value: str) -> None:
    match = line(tmp_path, {**ENVIRON, "HTTP_USER_AGENT": value, "HTTP_REFERER": value, "RAW_URI": value})
    assert match.string.isprintable()
    assert match.string.isascii()
    assert match["agent"].encode().decode("unicode_escape") == value


class User:
    """Put into ``REMOTE_USER`` by an application that does not know that it is a string."""

    __hash__ = None  # type: ignore[assignment]

    def __str__(self) -> str:
        return "ann"


@pytest.mark.parametrize(("user", "shown"), [(User(), "ann"), (["ann"], "['ann']"), (7, "7")])
def test_what_is_no_string_is_shown_as_one(tmp_path: Path, user: object, shown: str) -> None:
    match = line(tmp_path, ENVIRON, REMOTE_USER=user, REMOTE_ADDR=user)
    assert match.group("user", "address") == (shown, shown)


def test_the_application_says_who_asks_and_the_client_what_for(tmp_path: Path) -> None:
    """As a middleware does that believes a proxy, or lets a form say PUT."""
    match = line(tmp_path, ENVIRON, REMOTE_ADDR="192.0.2.9", REQUEST_METHOD="PUT", RAW_URI="/b", HTTP_USER_AGENT="x")
    assert match.group("address", "request", "agent") == ("192.0.2.9", "GET /a?b HTTP/1.1", "probe/1")


@pytest.mark.parametrize("address", [None, ""])
def test_an_address_that_the_application_has_removed_is_a_dash(tmp_path: Path, address: str | None) -> None:
    assert line(tmp_path, ENVIRON, REMOTE_ADDR=address)["address"] == "-"


def test_a_field_that_was_sent_empty_is_no_dash(tmp_path: Path) -> None:
    match = line(tmp_path, {**ENVIRON, "HTTP_REFERER": "", "HTTP_USER_AGENT": ""})
    assert match.group("referer", "agent") == ("", "")


def test_a_long_text_is_shown_whole_each_time(tmp_path: Path) -> None:
    target = "/" + 5000 * "a"
    path = tmp_path / "access.log"
    log = AccessLog(open_file(str(path)))
    for _ in range(2):
        record(log, {**ENVIRON, "RAW_URI": target}, 200, 1, monotonic())
    log.end(DEADLINE)
    assert path.read_text().count(f'"GET {target} HTTP/1.1"') == 2


def test_requests_that_differ_in_one_thing_have_lines_that_do(tmp_path: Path) -> None:
    names = ("REMOTE_ADDR", "REMOTE_USER", "REQUEST_METHOD", "RAW_URI", "SERVER_PROTOCOL", "HTTP_REFERER")
    path = tmp_path / "access.log"
    log = AccessLog(open_file(str(path)))
    for name in (*names, "HTTP_USER_AGENT"):
        for value in ("one", "two", "one"):
            record(log, {**ENVIRON, name: value}, 200, 1, monotonic())
    log.end(DEADLINE)
    found = [("one" in text, "two" in text) for text in path.read_text().splitlines()]
    assert found == [(True, False), (False, True), (True, False)] * 7


@pytest.mark.parametrize(("value", "shown"), [("ab-1", "ab-1"), (None, "-"), ('a"\n', "a\\x22\\x0a")])
def test_ids_end_the_line_where_they_are_wanted(tmp_path: Path, value: str | None, shown: str) -> None:
    path = tmp_path / "access.log"
    log = AccessLog(open_file(str(path)), with_ids=True)
    record(log, {**ENVIRON, "REQUEST_ID": value}, 200, 1, monotonic())
    log.end(DEADLINE)
    assert re.search(r" \d\.\d{6} (.*)\n\Z", path.read_text())[1] == shown  # type: ignore[index]


def test_nothing_is_written_before_the_flush_and_everything_then(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    log = AccessLog(open_file(str(path)))
    for number in range(1000):
        record(log, {**ENVIRON, "RAW_URI": f"/{number}"}, 200, 1, monotonic())
    assert log.waiting
    assert path.read_text() == ""
    log.end(DEADLINE)
    assert not log.waiting
    found = [int(number) for number in re.findall(r'"GET /(\d+) ', path.read_text())]
    assert found == list(range(1000))
    log.end(DEADLINE)
    assert path.read_text().count("\n") == 1000


def test_a_rotated_file_is_left_behind_with_its_lines(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    log = AccessLog(open_file(str(path)))
    record(log, {**ENVIRON, "RAW_URI": "/before"}, 200, 1, monotonic())
    path.rename(tmp_path / "rotated")
    log.use(open_file(str(path)))
    record(log, {**ENVIRON, "RAW_URI": "/after"}, 200, 1, monotonic())
    log.end(DEADLINE)
    deadline = monotonic() + DEADLINE
    while "/before" not in (tmp_path / "rotated").read_text():  # written by a thread that nobody waits for
        assert monotonic() < deadline
    assert "/after" in path.read_text()
    assert "/before" not in path.read_text()


@pytest.mark.parametrize("full", [True, False], ids=["full disk", "no file yet"])
def test_lines_that_nothing_takes_are_counted_and_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, full: bool
) -> None:
    log = AccessLog(open_file("/dev/full")) if full else AccessLog()
    for _ in range(3):
        record(log, ENVIRON, 200, 1, monotonic())
    log.end(DEADLINE)
    assert caplog.messages == ["log lines lost count=3 log=access"]
    record(log, ENVIRON, 200, 1, monotonic())
    log.flush()
    assert not log.waiting
    log.use(open_file(str(tmp_path / "access.log")))
    record(log, ENVIRON, 200, 1, monotonic())
    log.end(DEADLINE)
    assert (tmp_path / "access.log").read_text().count("\n") == 1


def test_the_file_is_appended_to(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    path.write_text("old\n")
    log = AccessLog(open_file(str(path)))
    record(log, ENVIRON, 200, 1, monotonic())
    log.end(DEADLINE)
    assert path.read_text().startswith("old\n")
    assert "probe/1" in path.read_text()
