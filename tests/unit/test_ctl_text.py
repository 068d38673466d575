"""What ``spawnctl`` shows people."""

import pytest

from spawning.ctl_text import escaped, in_lines, requests_text, stacks_text, status_text
from spawning.figures import duration

WORKER = {"name": "2.1", "pid": 17, "state": "serving", "age": 6.0, "requests": 5, "errors": 0, "refused": 2,
          "executing": 1, "queued": 0, "tunnels": 3, "connections": None, "ferries": 0}  # fmt: skip
STATUS = {
    "version": "1.0", "python": "3.12.1", "pid": 4, "address": "http://127.0.0.1:8080", "uptime": 3700.0,
    "service": "run", "serving": 2, "workers_wanted": 1, "last_refusal": None,
    "generations": [
        {"number": 1, "state": "kept", "trigger": "start", "age": 3700.0, "fork_server": None, "workers": []},
        {"number": 2, "state": "serving", "trigger": "SIGHUP", "age": 61.0, "fork_server": 16, "workers": [WORKER]},
    ],
}  # fmt: skip


def test_status() -> None:
    assert status_text(STATUS).splitlines() == [
        "Spawning 1.0 (Python 3.12.1), pid 4, http://127.0.0.1:8080, up 1 h 1 min",
        "",
        "generation 1 kept, no fork server, start 1 h 1 min ago",
        "",
        "generation 2 serving, fork server 16, SIGHUP 1 min 1 s ago",
        "  worker  pid  state    age  requests  errors  refused  executing  queued  tunnels  connections  ferries",
        "  2.1     17   serving  6 s  5         0       2        1          0       3        -            0",
    ]


def test_status_ends_with_the_last_refusal() -> None:
    refusal = {
        "generation": 3,
        "trigger": "change",
        "at": 0.0,
        "reason": "it does not import",
        "traceback": "Trace\nback\n",
    }
    lines = status_text({**STATUS, "service": "drain", "last_refusal": refusal}).splitlines()
    assert lines[0].endswith(", stopping")
    assert lines[-4].startswith("last refusal: generation 3, 19")
    assert lines[-3:] == ["it does not import", "Trace", "back"]


def test_requests_and_who_has_not_answered() -> None:
    request = {"thread": "request thread 1", "method": "GET", "path": "/a", "address": "::1", "seconds": 1.5}
    values = {"workers": [{"name": "1.1", "requests": [request]}, {"name": "1.2", "requests": None}]}
    assert requests_text(values).splitlines() == [
        "worker  thread            seconds  client  request",
        "1.1     request thread 1  1.500    ::1     GET /a",
        "worker 1.2 has not answered",
    ]
    assert requests_text({"workers": [{"name": "1.1", "requests": []}]}) == "no request is executing"


def test_stacks() -> None:
    values = {"workers": [{"name": "1.1", "requests": [], "stacks": {"b": "two\n", "a": "one\n"}}]}
    assert stacks_text(values) == "a:\none\n\nb:\ntwo\n"


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (59.9, "59 s"), (60, "1 min 0 s"), (3600, "1 h 0 min"), (200000, "2 d 7 h")]
)
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, naïve, 日本\n\tindented", "plain, naïve, 日本\n\tindented"),
        ("\x1b]0;title\x07", r"\x1b]0;title\x07"),
        ("\rover\x08\x7f\0", r"\rover\x08\x7f\x00"),
        ("\x9b2J\x85", r"\x9b2J\x85"),  # C1: one character, and as good as ESC [
        ("\u202eabc\u2028\u200b", r"\u202eabc\u2028\u200b"),
        ("\ud800", r"\ud800"),
    ],
)
def test_a_terminal_obeys_nothing(text: str, shown: str) -> None:
    assert escaped(text) == shown


def test_only_tracebacks_and_stacks_have_lines() -> None:
    values = {"path": "/a\nb\t", "pid": 1, "a\nb": None, "traceback": "one\ntwo\n", "stacks": {"a": "one\ntwo"}}
    assert in_lines([values]) == [
        {"path": r"/a\nb\t", "pid": 1, r"a\nb": None, "traceback": "one\ntwo\n", "stacks": {"a": "one\ntwo"}}
    ]
