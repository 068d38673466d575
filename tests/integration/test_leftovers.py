"""What an application starts at its import: it runs once, and ends with its generation."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from integration.client import Client, fetch
from integration.control import spawnctl
from integration.gate import Gate
from integration.server import DEADLINE, Server, until
from integration.sites import version, write
from spawning.controller import descent, process
from spawning.controller.records import Process

APP = "site_app:application"

_MANAGER = """
import multiprocessing
manager = multiprocessing.get_context("fork").Manager()
shared = manager.dict(version="shared")
"""
_DAEMON = """
import multiprocessing, time
helper = multiprocessing.get_context("fork").Process(target=time.sleep, args=(600,), daemon=True)
helper.start()
"""
_POPEN = """
import subprocess
helper = subprocess.Popen(["sleep", "600"])
"""
_SHELL = """
import subprocess
helper = subprocess.Popen("sleep 600 & sleep 601", shell=True)
"""
_POLITE = """
import atexit, subprocess, sys
helper = subprocess.Popen(["sleep", "600"])
pid = __import__("os").getpid()

def farewell():
    if __import__("os").getpid() == pid:
        helper.terminate()
        helper.wait()
        sys.stderr.write("farewell of the helper\\n")

atexit.register(farewell)
"""
_DEAF = """
import atexit, os, signal, threading
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])
atexit.register(lambda pid=os.getpid(): os.getpid() == pid and threading.Event().wait())
"""
_THREAD = """
import threading
threading.Thread(target=threading.Event().wait).start()
"""
_TICKER = """
import itertools, os, threading, time

def tick():
    for number in itertools.count():
        with open({path!r}, "a") as file:
            file.write(f"{version} {{number}}\\n")
        time.sleep(0.01)

threading.Thread(target=tick, daemon=True).start()
"""


@pytest.mark.parametrize(
    "code",
    [_MANAGER, _DAEMON, _POPEN, _SHELL, _POLITE, _THREAD],
    ids=["manager", "daemon", "popen", "shell", "polite", "thread"],
)
@pytest.mark.parametrize("keep", ["0", "300"])
def test_five_reloads_leave_no_process_more(tmp_path: Path, code: str, keep: str) -> None:
    write(tmp_path, "1", before=code)
    with Server(APP, "-s", "1", "-l", "/dev/null", "--keep-previous", keep, cwd=tmp_path) as server:
        first = len(server.processes())
        each = first - 1 if keep == "0" else 2 * (first - 1) - 1  # the kept generation has no worker
        for number in range(2, 7):
            write(tmp_path, str(number), before=code)
            assert server.reload()
            until(lambda each=each: len(server.processes()) == each + 1, f"{each + 1} processes")  # type: ignore[misc]
            assert version(server.port) == str(number)
        assert server.stop() == 0
        if code is _POLITE:
            assert server.err.since().count("farewell of the helper") == 6
        assert "Traceback" not in server.log()


def test_what_workers_use_lives_as_long_as_they_do(tmp_path: Path) -> None:
    """A request that was begun by the old code is finished by it, the process that it talks to included."""
    (tmp_path / "site_app.py").write_text(
        _MANAGER
        + f"""
import os

def application(environ, start_response):
    if environ["PATH_INFO"] == "/hold":
        os.write(os.open({str(tmp_path / "entered")!r}, os.O_WRONLY), b".")
        os.read(os.open({str(tmp_path / "leave")!r}, os.O_RDONLY), 1)
    body = shared["version"].encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
"""
    )
    options = ("-s", "1", "-l", "/dev/null", "--keep-previous", "0")
    with Gate(tmp_path) as gate, Server(APP, *options, cwd=tmp_path) as server, Client(server.port) as client:
        client.send(b"GET /hold HTTP/1.1\r\nHost: localhost\r\n\r\n")
        gate.wait_entered()
        assert server.reload()
        assert fetch(server.port).text == "shared"
        gate.open()
        assert client.read().text == "shared"
        until(lambda: [each.name for each in server.fork_servers() if each.generation == 1] == [], "generation 2 only")


@pytest.mark.parametrize("code", [_MANAGER, _DAEMON], ids=["manager", "daemon"])
def test_a_worker_that_leaves_takes_nothing_along_that_others_use(tmp_path: Path, code: str) -> None:
    write(tmp_path, "1", before=code)
    with Server(APP, "-s", "1", "-l", "/dev/null", cwd=tmp_path) as server:
        before = {process.pid for process in server.processes()}
        (worker,) = server.wait_workers(1)
        os.kill(worker.pid, signal.SIGTERM)
        server.wait_for_log(" worker started worker=1.2 ")
        assert before - {worker.pid} <= {process.pid for process in server.processes()}
        assert "Traceback" not in server.log()


def test_a_fork_server_that_does_not_end_is_killed(tmp_path: Path) -> None:
    write(tmp_path, "1", before=_DEAF)
    with Server(APP, "-s", "1", "--keep-previous", "0", cwd=tmp_path) as server:
        write(tmp_path, "2")
        assert server.reload()
        server.wait_for_log(' fork server killed generation=1 pid=.* reason="did not end within 5 s"$')
        until(lambda: [each.name for each in server.fork_servers()] == ["2"], "one fork server")


def _status(server: Server, generation: int) -> str:
    pids = [each.pid for each in server.fork_servers() if each.generation == generation]
    return psutil.Process(pids[0]).status() if pids else ""


def test_threads_of_a_kept_fork_server_do_not_run_beside_newer_ones(tmp_path: Path) -> None:
    ticks, control = tmp_path / "ticks", tmp_path / "ctl"

    def write_ticker(number: str) -> None:
        write(tmp_path, number, before=_TICKER.format(path=str(ticks), version=number))

    def latest() -> str:
        return ticks.read_text().splitlines()[-1].partition(" ")[0]

    def ticking(wanted: str) -> None:
        """Wait for ten ticks in a row of one version only."""
        until(lambda: {line.split()[0] for line in ticks.read_text().splitlines()[-10:]} == {wanted}, f"only {wanted}")

    write_ticker("1")
    with Server(APP, "-s", "1", "-l", "/dev/null", "--control-socket", str(control), cwd=tmp_path) as server:
        ticking("1")
        write_ticker("2")
        assert server.reload()
        until(lambda: _status(server, 1) == psutil.STATUS_STOPPED, "generation 1 is stopped")
        mark = len(ticks.read_text())
        ticking("2")
        assert "1 " not in {line[:2] for line in ticks.read_text()[mark:].splitlines()[2:]}
        assert spawnctl("-S", control, "rollback", "--wait").status == 0
        until(lambda: _status(server, 2) == psutil.STATUS_STOPPED, "generation 2 is stopped")
        ticking("1")
        assert version(server.port) == "1"
        assert latest() == "1"
        assert server.stop() == 0


@pytest.mark.parametrize("upgraded", [False, True])
def test_a_stopped_fork_server_dies_with_the_controller(tmp_path: Path, upgraded: bool) -> None:
    write(tmp_path, "1")
    with Server(APP, "-s", "1", cwd=tmp_path) as server:
        assert server.reload()
        until(lambda: _status(server, 1) == psutil.STATUS_STOPPED, "generation 1 is stopped")
        if upgraded:
            server.signal(signal.SIGUSR2)
            server.wait_for_log(r" reload finished generation=3 ")
            until(lambda: _status(server, 2) == psutil.STATUS_STOPPED, "generation 2 is stopped")
        os.kill(server.pid, signal.SIGKILL)
        server.wait_gone()


def test_the_end_of_a_shell_asks_for_no_reload(tmp_path: Path) -> None:
    """The kernel sends SIGHUP to a group of which a member is stopped, as a kept fork server is, when the last process
    that holds it to the session ends.
    """
    write(tmp_path, "1")
    leave = tmp_path / "leave"
    command = [sys.executable, "-m", "spawning", "--port", "0", "-s", "1", "-l", "/dev/null", APP]
    shell = f"""
import os, subprocess, time
print(subprocess.Popen({command!r}, process_group=0).pid, flush=True)
while not os.path.exists({str(leave)!r}):
    time.sleep(0.02)
"""
    with Server(command=[sys.executable, "-c", shell], cwd=tmp_path) as server:
        controller = int(server.out.find(r"^(\d+)$", DEADLINE)[1])
        os.kill(controller, signal.SIGHUP)
        server.wait_for_log(" reload finished generation=2 ")
        until(lambda: _status(server, 1) == psutil.STATUS_STOPPED, "generation 1 is stopped")
        leave.touch()
        until(lambda: server._process.poll() is not None, "the shell has ended")
        assert version(server.port) == "1"
        os.kill(controller, signal.SIGTERM)
        server.wait_gone()
        assert server.log().count("trigger=SIGHUP") == 1


# Orphans -------------------------------------------------------------------------------------------------------------

ORPHAN = """
import os

def application(environ, start_response):
    told, tells = os.pipe()
    between = os.fork()
    if not between:
        orphan = os.fork()
        if orphan:
            os.write(tells, b"%d" % orphan)
        os._exit(0)
    os.waitpid(between, 0)
    start_response("200 OK", [])
    return [os.read(told, 100)]
"""


def test_what_the_application_leaves_behind_is_reaped(tmp_path: Path) -> None:
    """The controller is the parent of all orphans, as pid 1 of a container and anywhere else."""
    (tmp_path / "site_app.py").write_text(ORPHAN)
    with Server("site_app:application", "-s", "1", cwd=tmp_path) as server:
        orphans = {int(version(server.port)) for _ in range(5)}
        until(lambda: not any(map(psutil.pid_exists, orphans)), "the orphans are gone")


# Who is signalled ----------------------------------------------------------------------------------------------------


def test_a_pid_that_is_no_childs_is_not_signalled() -> None:
    code = (
        "import subprocess, sys; child = subprocess.Popen(['sleep', '600']); print(child.pid, flush=True); child.wait()"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, start_new_session=True) as parent:
        assert parent.stdout is not None
        grandchild = psutil.Process(int(parent.stdout.readline()))
        process.kill(grandchild.pid)
        assert grandchild.status() != psutil.STATUS_ZOMBIE
        assert grandchild.is_running()
        grandchild.kill()
        parent.wait()
    process.kill(parent.pid)  # reaped: whoever has its pid now is left alone


def test_a_child_is_signalled_also_when_it_is_dead() -> None:
    with subprocess.Popen(["sleep", "600"]) as child:
        process.kill(child.pid)
        assert child.wait() == -signal.SIGKILL


def test_a_process_of_another_start_is_not_ended() -> None:
    with subprocess.Popen(["sleep", "600"]) as child:
        process.end(Process(child.pid, 1))
        assert child.poll() is None
        child.kill()


def test_the_wait_for_the_last_is_bounded() -> None:
    with subprocess.Popen(["sleep", "600"]) as child:
        process.wait_for(child.pid, seconds=0.01)
        assert child.poll() is None
        child.kill()


@pytest.mark.parametrize("children", ["/proc/thread-self/children", "/nowhere"], ids=["listed", "searched"])
def test_all_that_descends_is_found(children: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(descent, "_SELF", Path(children))
    code = "import subprocess; child = subprocess.Popen(['sleep', '600']); print(child.pid, flush=True); child.wait()"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        grandchild = int(parent.stdout.readline())
        assert {parent.pid, grandchild} <= {each.pid for each in descent.descendants(os.getpid())}
        assert [each.pid for each in descent.descendants(parent.pid)] == [grandchild]
        (found,) = descent.children_titled(os.getpid(), f"{sys.executable} -c import subprocess", ())
        assert found.pid == parent.pid
        for each in descent.families([found]):
            process.end(each)
        assert parent.wait() == -signal.SIGKILL
    assert descent.descendants(parent.pid) == []
