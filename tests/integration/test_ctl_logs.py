"""``spawnctl logs``: the end of a log, and what follows, also behind a rotation."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from integration.client import fetch
from integration.control import spawnctl
from integration.server import APPS, Lines, Server, _inherited_environment, until

SITE = ("basics.application", "-s", "1")


def at(server: Server) -> tuple[str, str]:
    return ("-a", f"127.0.0.1:{server.port}")


def test_the_last_lines_of_the_access_log(tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    with Server(*SITE, "-l", str(log)) as server:
        for number in range(5):
            fetch(server.port, f"/hello?number={number}")
        until(lambda: log.read_text().count("\n") == 5, "five lines")
        done = spawnctl(*at(server), "logs", "access", "-n", "2")
        assert [line.split('"')[1] for line in done.out.splitlines()] == [
            "GET /hello?number=3 HTTP/1.1", "GET /hello?number=4 HTTP/1.1",
        ]  # fmt: skip
        assert spawnctl(*at(server), "logs", "access", "-n", "0").out == ""
        assert len(spawnctl(*at(server), "logs", "access", "-n", "1000").out.splitlines()) == 5


def test_it_follows_a_log_behind_its_rotation(tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    with Server(*SITE, "-l", str(log)) as server:
        command = [sys.executable, "-m", "spawning.ctl", *at(server), "logs", "access", "-f"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, env=_inherited_environment()) as process:
            assert process.stdout is not None
            lines = Lines(process.stdout)
            fetch(server.port, "/hello?before")
            lines.find(r"GET /hello\?before", 30)
            log.rename(tmp_path / "access.log.1")
            mark = server.mark()
            server.signal(signal.SIGUSR1)
            server.wait_for_log("log", after=mark)
            until(log.exists, "the new file")

            def followed() -> bool:
                """Ask, and look: the worker may get the new file's descriptor a moment later than the log says."""
                fetch(server.port, "/hello?behind")
                return any("GET /hello?behind" in line for line in lines.since())

            until(followed, "a line of the new file")
            process.send_signal(signal.SIGINT)
            try:
                assert process.wait(30) == 130
            finally:
                process.kill()


def test_a_stream_that_is_a_file_is_read_there(tmp_path: Path) -> None:
    err = tmp_path / "err"
    with err.open("wb") as stream:
        command = [sys.executable, "-m", "spawning", "--port", "0", *SITE]
        process = subprocess.Popen(
            command,
            cwd=APPS,
            stdout=subprocess.PIPE,
            stderr=stream,
            env=_inherited_environment(),
            start_new_session=True,
        )
    try:
        until(lambda: " ready url=" in err.read_text(), "ready")
        port = err.read_text().split(" ready url=http://127.0.0.1:")[1].split()[0]
        err.write_text(err.read_text() + "\x1b[2Jforged\n")
        done = spawnctl("-a", f"127.0.0.1:{port}", "logs")
        assert " ready url=" in done.out
        assert "\\x1b[2Jforged" in done.out
        done = spawnctl("-a", f"127.0.0.1:{port}", "logs", "access")
        assert done.status == 1
        assert done.err.startswith("spawnctl: the access log goes to stdout, which is no file but pipe:")
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["-l", "/dev/null"], "the access log is switched off"),
        (["-l", "{}/access.log"], "the access log cannot be read"),
        (["-l", "/dev/full"], "which is no file that could be read twice"),
    ],
)
def test_what_cannot_be_shown_is_one_line(args: list[str], words: str, tmp_path: Path) -> None:
    with Server(*SITE, *(each.format(tmp_path) for each in args)) as server:
        if (tmp_path / "access.log").exists():
            os.unlink(tmp_path / "access.log")
        done = spawnctl(*at(server), "logs", "access")
        assert (done.status, done.out) == (1, "")
        assert words in done.err
