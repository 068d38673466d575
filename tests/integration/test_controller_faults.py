"""Errors in the controller's own code: what serves goes on serving, and at worst finishes as after a kill."""

import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from integration.client import Client
from integration.gate import Gate
from integration.server import APPS, Server, until
from integration.sites import held, version, write

APP = "site_app:application"

# The real command, one of whose functions raises as long as a file is there.
_FAULTY = """
import os, sys
from spawning import cli
from spawning.controller import commands, controller, executor, fleet, links, process, state, upgrade
from spawning import systemd

def failing(before):
    def instead(*args, **kwargs):
        if os.path.exists({flag!r}):
            raise {error}
        return before(*args, **kwargs)
    return instead

{owner}.{name} = failing({owner}.{name})
sys.exit(cli.main(sys.argv[1:]))
"""
BUG = "RuntimeError('injected')"
SHORTAGES = {
    "descriptors": (24, "Too many open files"),
    "processes": (11, "Resource temporarily unavailable"),  # of fork(2)
}


def faulty(
    directory: Path,
    where: str,
    *options: str,
    error: str = BUG,
    app: str = APP,
    cwd: Path | None = None,
    ready: bool = True,
) -> Server:
    owner, _, name = where.rpartition(".")
    code = _FAULTY.format(flag=str(directory / "fault"), owner=owner, name=name, error=error)
    command: Sequence[str] = [sys.executable, "-c", code, "--port", "0", "-l", "/dev/null", *options, app]
    return Server(command=command, cwd=cwd or directory, ready=ready)


FUNCTIONS = [
    "controller.plan",
    "controller.without_done",
    "controller.condition",
    "controller.Controller._collect",
    "commands.Commands.observe",
    "commands.Commands.collect",
    "executor.Executor._fork",
    "executor.Executor._start",
    "fleet.Fleet.apply",
    "links.Links.wait",
    "links.Links.receive",
    "process.reap",
    "systemd.Notifier.report",
    "upgrade.Upgrade.look",
]


@pytest.mark.parametrize("where", FUNCTIONS)
def test_an_error_is_logged_once_ends_nobody_and_is_got_over(tmp_path: Path, where: str) -> None:
    write(tmp_path, "1")
    with faulty(tmp_path, where, "-s", "2") as server:
        victim, other = server.wait_workers(2)
        mark = server.mark()
        (tmp_path / "fault").touch()
        os.kill(victim.pid, signal.SIGKILL)
        server.wait_for_log("this is a bug in Spawning, what serves goes on serving", after=mark)
        server.wait_for_log("^  RuntimeError: injected$", after=mark)
        assert version(server.port) == "1"
        (tmp_path / "fault").unlink()
        assert server.reload()
        assert len(server.wait_workers(2)) == 2
        assert not [line for line in server.err.since(mark) if f"worker={other.name} " in line and "died" in line]
        assert server.log().count("RuntimeError: injected") == 1


def test_an_error_on_the_way_to_an_upgrade_refuses_it(tmp_path: Path) -> None:
    write(tmp_path, "1")
    with faulty(tmp_path, "controller.Controller._replace", "-s", "1") as server:
        (tmp_path / "fault").touch()
        before = server.workers()
        server.signal(signal.SIGUSR2)
        server.wait_for_log(" upgrade refused ")
        assert version(server.port) == "1"
        assert server.workers() == before


@pytest.mark.parametrize("where", ["controller.plan", "controller.Controller._collect"])
def test_a_controller_that_cannot_go_on_leaves_its_workers_to_finish(tmp_path: Path, where: str) -> None:
    with (
        Gate(tmp_path) as gate,
        faulty(tmp_path, where, "-s", "1", app="basics:application", cwd=APPS) as server,
        held(gate, server.port) as client,
    ):
        (tmp_path / "fault").touch()
        server.signal(signal.SIGHUP)
        server.wait_for_log(" ERROR the controller cannot go on")
        server.wait_for_log(r" controller died worker=1\.1 ")
        gate.open()
        assert client.read().status == 200
        client.close()
        assert server.wait() == 70


@pytest.mark.parametrize("what", SHORTAGES)
def test_a_shortage_is_one_short_line_and_is_waited_for(tmp_path: Path, what: str) -> None:
    number, text = SHORTAGES[what]
    error = f"OSError({number}, {text!r})"
    write(tmp_path, "1")
    with faulty(tmp_path, "executor.Executor._fork", "-s", "1", error=error) as server:
        (tmp_path / "fault").touch()
        os.kill(server.wait_workers(1)[0].pid, signal.SIGKILL)
        server.wait_for_log(rf' ERROR out of resources, trying again reason="\[Errno {number}\] {text}"$')
        (tmp_path / "fault").unlink()
        server.wait_for_log(" worker started worker=1.2 ")
        assert version(server.port) == "1"
        assert "Traceback" not in server.log()
        assert "bug" not in server.log()


def test_an_error_before_anything_has_served_ends_the_start_and_leaves_nothing(tmp_path: Path) -> None:
    write(tmp_path, "1")
    (tmp_path / "fault").touch()
    pidfile = ("--pidfile", str(tmp_path / "pid"))
    with faulty(tmp_path, "executor.Executor._fork", "-s", "1", *pidfile, ready=False) as server:
        assert server.wait() == 1
        assert "RuntimeError: injected" in server.log()
    assert not (tmp_path / "pid").exists()


def test_a_stopped_worker_is_told_everything_when_it_goes_on(tmp_path: Path) -> None:
    """Its channel is full by then: of reopened logs, which are said to each worker."""
    write(tmp_path, "1")
    options = ("-s", "2", "--deadman", "600", "-l", str(tmp_path / "access.log"))
    with Server(APP, *options, cwd=tmp_path) as server, Client(server.port) as client:
        assert client.get("/").text == "1"
        stopped, _ = server.wait_workers(2)
        os.kill(stopped.pid, signal.SIGSTOP)
        for _ in range(400):
            mark = server.mark()
            server.signal(signal.SIGUSR1)
            server.wait_for_log("log reopened log=access", after=mark)
        write(tmp_path, "2")
        assert server.reload()
        os.kill(stopped.pid, signal.SIGCONT)
        server.wait_for_log(rf" worker retired worker={stopped.name} ")
        until(lambda: len(server.workers()) == 2, "two workers")
