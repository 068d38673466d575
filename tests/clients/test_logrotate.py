"""Rotation of the access log by logrotate(8), with each of its ways to make room for a new file."""

import contextlib
import os
from pathlib import Path

import pytest

from clients.programs import run
from integration.client import fetch
from integration.server import Server, until

WAYS = {
    "create": "create 640",
    "nocreate": "nocreate",
    "compress": "create 600\ncompress",
    "copytruncate": "copytruncate",
    "copy and sizes": "copytruncate\nsize 1",
}


def paths(log: Path) -> list[str]:
    """List what was asked for by the lines of a log; each line is whole."""
    lines = log.read_text().splitlines()
    assert all(line.startswith("127.0.0.1 - - [") for line in lines)
    return [line.split('"')[1].split()[1] for line in lines]


@pytest.mark.parametrize("way", WAYS)
def test_each_line_is_in_one_of_the_files(tmp_path: Path, way: str) -> None:
    log, pidfile, rules = tmp_path / "access.log", tmp_path / "pid", tmp_path / "rules"
    moves = "copytruncate" not in WAYS[way]
    reopen = f'postrotate\nkill -USR1 "$(cat {pidfile})"\nendscript' if moves else ""
    rules.write_text(f"{log} {{\nrotate 5\n{WAYS[way]}\n{reopen}\n}}\n")
    rules.chmod(0o600)
    with Server("basics.application", "-s", "2", "-l", str(log), "--pidfile", str(pidfile)) as server:
        for number in range(3):
            asked = [f"/hello?{number}.{each}" for each in range(20)]
            for path in asked:
                assert fetch(server.port, path).status == 200
            until(lambda: len(paths(log)) == 20, "all lines")
            assert sorted(paths(log)) == sorted(asked)
            mark = server.mark()
            run("logrotate", "--force", "--state", tmp_path / "state", rules)
            if moves:
                server.wait_for_log(rf" log reopened log=access file={log} signal=SIGUSR1$", after=mark)
                # Workers are given the file a moment after that line; what they write until then is in the old one.
                until(lambda: reopened(server, log), "all workers have the new file")
            else:
                assert log.read_text() == ""
        if way == "create":
            assert log.stat().st_mode & 0o777 == 0o640
    assert len(list(tmp_path.glob("access.log.*"))) == 3
    if way != "compress":
        assert paths(tmp_path / "access.log.3") != paths(tmp_path / "access.log.1")


def reopened(server: Server, log: Path) -> bool:
    """Whether each worker has the file open that has the name now, and none that had it before."""
    return all(logs(worker.pid, log) == {str(log)} for worker in server.workers())


def logs(pid: int, log: Path) -> set[str]:
    """Return the names that the log's files have now which a process has open."""
    found = set()
    for each in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            found.add(os.readlink(each))
    return {name for name in found if name.startswith(str(log))}
