"""A process that dies is replaced, from memory; nothing is left when the controller goes."""

import os
import signal
import socket
import sys
from pathlib import Path

import pytest

from integration.client import Client
from integration.server import Server, until
from integration.sites import version, write

APP = "site_app:application"


def test_a_killed_worker_is_replaced(tmp_path: Path) -> None:
    write(tmp_path, "1")
    with Server(APP, "-s", "2", cwd=tmp_path) as server:
        victim = server.wait_workers(2)[0]
        os.kill(victim.pid, signal.SIGKILL)
        server.wait_for_log(rf" WARNING worker died worker=1\.1 pid={victim.pid} signal=SIGKILL$")
        server.wait_for_log(r" worker started worker=1\.3 pid=\d+$")
        assert [worker.name for worker in server.wait_workers(2)] == ["1.2", "1.3"]
        assert version(server.port) == "1"


def test_replacements_come_from_memory_not_from_the_disk(tmp_path: Path) -> None:
    write(tmp_path, "1")
    with Server(APP, "-s", "2", cwd=tmp_path) as server:
        (tmp_path / "site_app.py").write_text("this is no Python\n")
        for worker in server.wait_workers(2):
            mark = server.mark()
            os.kill(worker.pid, signal.SIGKILL)
            server.wait_for_log(r" worker started ", after=mark)
            assert version(server.port) == "1"


def test_a_worker_told_to_terminate_by_somebody_else_is_replaced(tmp_path: Path) -> None:
    write(tmp_path, "1")
    with Server(APP, "-s", "1", cwd=tmp_path) as server:
        os.kill(server.wait_workers(1)[0].pid, signal.SIGTERM)
        server.wait_for_log(r" worker started worker=1\.2 ")
        assert version(server.port) == "1"


def test_a_crash_loop_does_not_end_the_service(tmp_path: Path) -> None:
    """Each worker dies as it is born; when it no longer does, the service is there without anybody's help."""
    flag = tmp_path / "crash"
    write(
        tmp_path,
        "1",
        before=f"import os\nos.register_at_fork(after_in_child=lambda: os.path.exists({str(flag)!r}) and os.abort())\n",
    )
    with Server(APP, "-s", "1", cwd=tmp_path) as server:
        flag.touch()
        os.kill(server.wait_workers(1)[0].pid, signal.SIGKILL)
        for number in (2, 3, 4):
            server.wait_for_log(rf" worker died worker=1\.{number} ")
        flag.unlink()
        server.wait_for_log(r" worker started worker=1\.\d+ ", after=0)
        until(server.workers, "a worker")
        assert version(server.port) == "1"


def test_a_killed_fork_server_costs_nobody_a_request_and_is_repaired(tmp_path: Path) -> None:
    write(tmp_path, "1")
    with Server(APP, "-s", "1", cwd=tmp_path) as server:
        fork_server = server.fork_servers()[0]
        os.kill(fork_server.pid, signal.SIGKILL)
        server.wait_for_log(rf" fork server died generation=1 pid={fork_server.pid} signal=SIGKILL$")
        assert version(server.port) == "1"
        server.wait_for_log(r" reload started generation=2 trigger=repair$")
        server.wait_for_log(r" reload finished generation=2 ")
        assert version(server.port) == "1"


def test_everything_ends_when_the_controller_is_killed_and_the_port_is_free(tmp_path: Path) -> None:
    write(tmp_path, "1")
    with Server(APP, "-s", "2", cwd=tmp_path) as server:
        os.kill(server.pid, signal.SIGKILL)
        assert server.wait() == -signal.SIGKILL
        with socket.create_server(("127.0.0.1", server.port)):
            pass


def test_after_a_killed_controller_an_idle_client_is_told_to_go_and_another_server_may_come(tmp_path: Path) -> None:
    write(tmp_path, "1")
    with Server(APP, "-s", "2", cwd=tmp_path) as server, Client(server.port) as client, Client(server.port) as silent:
        assert client.get("/").text == silent.get("/").text == "1"
        os.kill(server.pid, signal.SIGKILL)
        for worker in ("1.1", "1.2"):
            server.wait_for_log(rf" controller died worker={worker} ")
        until(lambda: client.get("/").closes, "a response that says so")
        write(tmp_path, "2")
        command = [sys.executable, "-m", "spawning", "--port", str(server.port), "-s", "1", APP]
        with Server(command=command, cwd=tmp_path) as another:
            assert version(another.port) == "2"
        assert silent.read_eof() == b""
        server.wait_gone()


@pytest.mark.parametrize("options", [(), ("--no-preload",)], ids=["fork server", "worker"])
def test_who_is_in_the_middle_of_an_import_dies_with_the_controller(tmp_path: Path, options: tuple[str, ...]) -> None:
    write(tmp_path, "1", before="import sys, threading\nprint('importing', file=sys.stderr)\nthreading.Event().wait()")
    with Server(APP, *options, cwd=tmp_path, ready=False) as server:
        server.wait_for_log("importing")
        os.kill(server.pid, signal.SIGKILL)
        assert server.wait() == -signal.SIGKILL


def test_atexit_functions_of_the_application_run_in_each_worker_and_then_in_the_fork_server(tmp_path: Path) -> None:
    write(tmp_path, "1", before="import atexit, sys\natexit.register(sys.stderr.write, 'farewell\\n')")
    with Server(APP, "-s", "2", cwd=tmp_path) as server:
        assert server.stop() == 0
        assert server.err.since().count("farewell") == 3


def test_threads_started_during_import_are_named(tmp_path: Path) -> None:
    write(
        tmp_path,
        "1",
        before="import threading\nthreading.Thread(target=threading.Event().wait, name='ticker', daemon=True).start()",
    )
    with Server(APP, "-s", "2", cwd=tmp_path) as server:
        assert [line for line in server.err.since() if "threads=ticker" in line and " WARNING " in line]
        assert version(server.port) == "1"


def test_without_preload_each_worker_imports_the_application(tmp_path: Path) -> None:
    write(tmp_path, "1", before="import os, sys\nsys.stderr.write(f'imported in {os.getpid()}\\n')")
    with Server(APP, "-s", "2", "--no-preload", cwd=tmp_path) as server:
        workers = {worker.pid for worker in server.wait_workers(2)}
        imported = {int(line.rpartition(" ")[2]) for line in server.err.since() if line.startswith("imported in")}
        assert imported == workers
        assert version(server.port) == "1"
