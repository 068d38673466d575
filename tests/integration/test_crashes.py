"""Requests that crash their worker: the others go on, and code that crashes in every request does not stay."""

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from integration.client import Client, Closed, fetch, request
from integration.control import spawnctl
from integration.server import DEADLINE, Server, until
from integration.sites import version, write

APP = "site_app:application"
ABORTS = """
import os

def application(environ, start_response):
    os.abort()
"""
POISON = """
import os

def application(environ, start_response):
    if environ["PATH_INFO"] == "/poison":
        os.abort()
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]
"""


def attempt(port: int) -> None:
    with contextlib.suppress(Closed, OSError):
        fetch(port)


def crashed(server: Server, worker: str) -> bool:
    """Send one more request; whether a worker has died by now."""
    attempt(server.port)
    return f" worker died worker={worker} " in server.log()


@pytest.mark.parametrize("workers", [1, 2])
def test_poison_does_not_make_the_others_wait_for_longer_and_longer(tmp_path: Path, workers: int) -> None:
    """All poison waits in the backlog at once, so that each replacement meets some as soon as it accepts."""
    (tmp_path / "site_app.py").write_text(POISON)
    with Server(APP, "-s", str(workers), "-l", "/dev/null", cwd=tmp_path) as server, contextlib.ExitStack() as stack:
        for _ in range(12):
            stack.enter_context(Client(server.port)).send(request("/poison"))
        with Client(server.port, timeout=30.0) as healthy:  # the pauses would add up to more than this
            assert healthy.get("/").text == "ok"
        server.wait_workers(workers)


def test_code_that_crashes_in_every_request_is_left_for_the_code_before(tmp_path: Path) -> None:
    control = tmp_path / "ctl"
    write(tmp_path, "1")
    with Server(APP, "-s", "2", "-l", "/dev/null", "--control-socket", str(control), cwd=tmp_path) as server:
        (tmp_path / "site_app.py").write_text(ABORTS)
        mark = server.mark()
        deploy = [sys.executable, "-m", "spawning.ctl", "-S", str(control), "reload", "--wait"]
        with subprocess.Popen(deploy, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as waiting:
            server.wait_for_log(" reload finished generation=2 ", after=mark)

            def rolled_back() -> bool:
                attempt(server.port)
                return any(" rollback finished generation=1 " in line for line in server.err.since(mark))

            until(rolled_back, "the generation before serves")
            out, err = waiting.communicate(timeout=DEADLINE)
        assert (waiting.returncode, out) == (1, "")
        reason = "all workers of generation 2 died in their first requests; generation 1 serves again"
        assert err.splitlines()[-1] == f"spawnctl: generation 2 was refused: {reason}"
        server.wait_for_log(
            " ERROR generation failed, going back to the one before generation=2"
            ' reason="all workers of generation 2 died in their first requests" to=1$',
            after=mark,
        )
        assert version(server.port) == "1"
        assert reason in spawnctl("-S", control, "status").out
        assert server.log().count("rollback started") == 1
        write(tmp_path, "3")
        assert server.reload()
        assert version(server.port) == "3"


def test_code_whose_workers_somebody_kills_is_not_to_blame(tmp_path: Path) -> None:
    write(tmp_path, "1")
    with Server(APP, "-s", "2", "-l", "/dev/null", cwd=tmp_path) as server:
        write(tmp_path, "2")
        assert server.reload()
        for worker in [each for each in server.workers() if each.generation == 2]:
            os.kill(worker.pid, signal.SIGKILL)
        for replacement in ("2.3", "2.4"):
            server.wait_for_log(f" worker started worker={replacement} ")
        assert version(server.port) == "2"
        assert "generation failed" not in server.log()


def test_without_auto_rollback_it_stays(tmp_path: Path) -> None:
    write(tmp_path, "1")
    with Server(APP, "-s", "1", "-l", "/dev/null", "--no-auto-rollback", cwd=tmp_path) as server:
        (tmp_path / "site_app.py").write_text(ABORTS)
        assert server.reload()
        for number in (2, 3, 4):
            until(lambda number=number: crashed(server, f"2.{number}"), f"worker 2.{number} crashes")  # type: ignore[misc]
        assert "rollback" not in server.log()


def test_a_worker_that_does_not_stop_accepting_in_time_is_named(tmp_path: Path) -> None:
    write(tmp_path, "1")
    with Server(APP, "-s", "2", cwd=tmp_path) as server:
        stopped, other = server.wait_workers(2)
        os.kill(stopped.pid, signal.SIGSTOP)
        write(tmp_path, "2")
        assert server.reload()
        server.wait_for_log(
            rf" WARNING worker did not stop accepting in time worker={stopped.name} pid={stopped.pid} seconds=1\.000$"
        )
        assert f"in time worker={other.name}" not in server.log()
        os.kill(stopped.pid, signal.SIGCONT)
        server.wait_for_log(rf" worker retired worker={stopped.name} ")
