"""Starts that hang: of a replacement, of its fork. They are noticed and replaced, and a stop always ends."""

import os
import signal
from pathlib import Path

import pytest

from integration.server import Server, until
from integration.sites import version, write

APP = "site_app:application"

# While the file is there, a fork hangs: before it, in the child of each fork, or in the one of the second only.
_HOOK = """
import os, threading, time
FORK_SERVER = os.getpid()

def hang():
    while os.path.exists({flag!r}):
        time.sleep(0.02)

def hang_in_the_worker():
    if os.getppid() != FORK_SERVER:
        hang()

os.register_at_fork({when}={function})
"""
HOOKS = {
    "before the fork": ("before", "hang"),
    "in every child": ("after_in_child", "hang"),
    "in the worker": ("after_in_child", "hang_in_the_worker"),
}


def serve(directory: Path, where: str, *options: str) -> Server:
    when, function = HOOKS[where]
    write(directory, "1", before=_HOOK.format(flag=str(directory / "hang"), when=when, function=function))
    return Server(APP, "-s", "2", "-l", "/dev/null", "--boot-timeout", "5", *options, cwd=directory)


def kill_workers(server: Server) -> None:
    for worker in server.wait_workers(2):
        os.kill(worker.pid, signal.SIGKILL)


@pytest.mark.parametrize("where", HOOKS)
def test_a_fork_server_whose_forks_hang_is_replaced(tmp_path: Path, where: str) -> None:
    with serve(tmp_path, where) as server:
        (before,) = server.fork_servers()
        (tmp_path / "hang").touch()
        kill_workers(server)
        server.wait_for_log(' fork server killed generation=1 pid=.* reason="does not answer an order to fork"$')
        (tmp_path / "hang").unlink()
        server.wait_for_log(r" reload finished generation=\d+ ")
        assert version(server.port) == "1"
        until(lambda: len(server.processes()) == 4, "controller, fork server, two workers")
        assert before not in server.fork_servers()


def test_a_stopped_fork_server_is_replaced(tmp_path: Path) -> None:
    write(tmp_path, "1")
    with Server(APP, "-s", "2", "--boot-timeout", "5", cwd=tmp_path) as server:
        os.kill(server.fork_servers()[0].pid, signal.SIGSTOP)
        kill_workers(server)
        server.wait_for_log(' fork server killed generation=1 pid=.* reason="does not answer an order to fork"$')
        server.wait_for_log(r" reload finished generation=2 ")
        assert version(server.port) == "1"


def test_an_import_that_hangs_in_a_replacement_is_given_up_and_tried_again(tmp_path: Path) -> None:
    flag = tmp_path / "hang"
    write(tmp_path, "1", before=f"import os, time\nwhile os.path.exists({str(flag)!r}):\n    time.sleep(0.02)")
    with Server(APP, "-s", "1", "--no-preload", "--boot-timeout", "5", cwd=tmp_path) as server:
        flag.touch()
        os.kill(server.wait_workers(1)[0].pid, signal.SIGKILL)
        server.wait_for_log(r' worker killed worker=1\.2 .* reason="was not ready within 5 s \(--boot-timeout\)"$')
        flag.unlink()
        server.wait_for_log(r" worker started worker=1\.\d+ ", after=server.mark() - 1)
        assert version(server.port) == "1"


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGQUIT])
@pytest.mark.parametrize("where", HOOKS)
def test_a_stop_ends_whatever_hangs(tmp_path: Path, where: str, sig: signal.Signals) -> None:
    with serve(tmp_path, where, "--boot-timeout", "600") as server:
        (tmp_path / "hang").touch()
        kill_workers(server)
        server.wait_for_log(" worker died worker=1.2 ")
        assert server.stop(sig) == 0


@pytest.mark.parametrize("where", HOOKS)
def test_a_reload_leaves_nothing_of_a_fork_that_hangs(tmp_path: Path, where: str) -> None:
    with serve(tmp_path, where, "--keep-previous", "0") as server:
        (tmp_path / "hang").touch()
        kill_workers(server)
        server.wait_for_log(" worker died worker=1.2 ")
        write(tmp_path, "2")
        assert server.reload()
        assert version(server.port) == "2"
        until(lambda: len(server.processes()) == 4, "controller, fork server, two workers")
        assert {each.generation for each in server.fork_servers()} == {2}


def test_children_of_a_worker_that_was_killed_end_with_the_service(tmp_path: Path) -> None:
    write(tmp_path, "1", before="import subprocess\nopened = []\n")
    path = tmp_path / "site_app.py"
    path.write_text(
        path.read_text().replace("    body", "    opened.append(subprocess.Popen(['sleep', '600']))\n    body", 1)
    )
    with Server(APP, "-s", "1", cwd=tmp_path) as server:
        assert version(server.port) == "1"
        os.kill(server.wait_workers(1)[0].pid, signal.SIGKILL)
        server.wait_for_log(" worker started worker=1.2 ")
        assert "sleep" in {process.name() for process in server.processes()}
        assert server.stop() == 0
