"""``spawnctl log``: what an access log says in numbers."""

import json
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from integration.client import Client
from integration.control import spawnctl
from integration.server import Server, _inherited_environment
from integration.sites import write


def line(path: str, seconds: float, *, status: int = 200, ago: float = 60, method: str = "GET", offset: int = 0) -> str:
    zone = datetime.fromtimestamp(time.time() - ago, UTC) + timedelta(hours=offset)
    stamp = f"{zone.day:02}/{zone.strftime('%b')}/{zone.year}:{zone:%H:%M:%S} {offset:+03}00"
    return f'127.0.0.1 - ann [{stamp}] "{method} {path} HTTP/1.1" {status} 5 "-" "a (b) agent" {seconds:.6f}\n'


def report(*arguments: str | Path) -> dict[str, Any]:
    finished = spawnctl("log", "--json", *arguments)
    assert finished.status == 0, finished.err
    found: dict[str, Any] = json.loads(finished.out)
    return found


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "access.log"
    hundred = [line("/slow?n=1", number / 100) for number in range(1, 101)]
    others = [
        line("/quick", 0.001, ago=600),
        line("/quick", 0.003, status=500, ago=600, method="POST"),
        line("/quick", 0.002, ago=7200, offset=2),
        "a line of something else\n",
        '192.0.2.66 - - [99/Foo/2026:19:31:02 +0100] "-" 400 44 "-" "-" 0.000000\n',
        '192.0.2.66 - - [23/Nov/2020:19:31:02 +0100] "\\x16\\x03" 400 44 "-" "-" 0.000000 "an-id"\n',
    ]
    path.write_text("".join([*hundred, *others]))
    return path


def test_requests_are_counted_by_path_without_their_query(log: Path) -> None:
    found = report(log)
    slow, quick, none = found["groups"]
    assert (slow["group"], slow["requests"], slow["errors"]) == ("/slow", 100, 0)
    assert (slow["p50"], slow["p90"], slow["p99"], slow["longest"]) == (0.5, 0.9, 0.99, 1.0)
    assert slow["total"] == 50.5
    assert (quick["group"], quick["requests"], quick["errors"]) == ("/quick", 3, 1)
    assert (none["group"], none["requests"]) == ("-", 1)
    assert found["left_out"] == 2


@pytest.mark.parametrize(
    ("arguments", "requests"),
    [
        (["--earliest", "-1h"], {"/slow": 100, "/quick": 2}),
        (["--earliest", "-3h"], {"/slow": 100, "/quick": 3}),
        (["--earliest", "-3h", "--latest", "-1h"], {"/quick": 1}),
        (["--earliest", "-0.5d", "--latest", "-300s"], {"/quick": 3}),
        (["--latest", "2021-01-01"], {"-": 1}),
        (["--earliest", "2020-11-23T19:31:02+01:00", "--latest", "2020-11-23T18:31:02+00:00"], {"-": 1}),
        (["--most", "1"], {"/slow": 100}),
        (["--group-by", "method"], {"GET": 102, "POST": 1, "\\x16\\x03": 1}),
        (["--group-by", "status"], {"200": 102, "500": 1, "400": 1}),
        (["-g", "user"], {"ann": 103, "-": 1}),
        (["-g", "agent"], {"a (b) agent": 103, "-": 1}),
        (["-g", "all"], {"all requests": 104}),
    ],
    ids=" ".join,
)
def test_what_counts(log: Path, arguments: list[str], requests: dict[str, int]) -> None:
    assert {each["group"]: each["requests"] for each in report(log, *arguments)["groups"]} == requests


def test_the_rate_is_that_of_the_time_asked_for(log: Path) -> None:
    slow = report(log, "--earliest", "-100s")["groups"][0]
    assert slow["rate"] == pytest.approx(1.0, rel=0.01)


def test_a_table_for_people_cannot_be_forged(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(line("/a", 0.1234).encode().replace(b"/a", b"/\x1b[2Ja"))
    finished = spawnctl("log", path)
    assert finished.out.splitlines() == [
        "path       requests  a second  5xx  p50 ms  p90 ms  p99 ms  longest ms  total s",
        "/\\x1b[2Ja         1     1.000    0   123.4   123.4   123.4       123.4    0.123",
    ]


def test_what_a_server_writes_is_read_from_stdin(tmp_path: Path) -> None:
    write(tmp_path, "1")
    log = tmp_path / "access.log"
    with Server(
        "site_app:application", "-s", "1", "-l", str(log), "--request-id-header", "X-Request-ID", cwd=tmp_path
    ) as s:
        with Client(s.port) as client:
            client.get('/with"quote\\')
        with Client(s.port) as client:
            client.get("/two?x")
    command = [sys.executable, "-m", "spawning.ctl", "log", "-", "--json"]
    with log.open("rb") as lines:
        done = subprocess.run(command, stdin=lines, capture_output=True, env=_inherited_environment(), check=True)
    found = json.loads(done.stdout)
    assert {each["group"] for each in found["groups"]} == {"/with\\x22quote\\x5c", "/two"}
    assert found["left_out"] == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["absent"], "spawnctl: log: cannot read absent: No such file or directory"),
        (["."], "spawnctl: log: cannot read .: Is a directory"),
        ([__file__, "--earliest", "yesterday"], "spawnctl: log: 'yesterday' is not a time such as -1h, 2026-11-23 or"),
        ([__file__, "--earliest", "-1y"], "spawnctl: log: '-1y' is not a time such as -1h"),
        ([__file__, "--earliest", "-1h", "--latest", "-2h"], "spawnctl: log: --earliest is after --latest"),
        ([__file__, "--group-by", "colour"], "spawnctl: Invalid value for '-g' / '--group-by': 'colour' is not one of"),
        ([__file__, "--most", "0"], "spawnctl: Invalid value for '-n' / '--most': 0 is not in the range x>=1."),
        ([], "spawnctl: Missing argument 'FILE'."),
    ],
    ids=["absent", "directory", "word", "unit", "order", "group", "most", "no-file"],
)
def test_bad_input(arguments: list[str], message: str) -> None:
    finished = spawnctl("log", *arguments)
    assert finished.err.startswith(message)
    assert finished.err.count("\n") == 1
    assert (finished.status, finished.out) == (2, "")
