"""What one part of the server does beside another: the status service, the spare fork server and the page of a refusal
while something hangs, stops, dies or is rolled back.
"""

import contextlib
import os
import signal
from pathlib import Path

import pytest

from integration.client import Client, Closed
from integration.gate import Gate
from integration.server import Server, until
from integration.sites import held, version, write
from integration.status import STATUS, status_pid, status_port
from integration.test_developing import page, spare
from integration.test_hanging import HOOKS, kill_workers, serve

APP = "site_app:application"
ENDING = [signal.SIGTERM, signal.SIGQUIT]


# The status service --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sig", ENDING)
@pytest.mark.parametrize("where", HOOKS)
def test_a_stop_ends_a_hanging_start_and_the_status_service(tmp_path: Path, where: str, sig: signal.Signals) -> None:
    with serve(tmp_path, where, "--boot-timeout", "600", "--status", "127.0.0.1:0") as server:
        status_port(server)
        (tmp_path / "hang").touch()
        kill_workers(server)
        server.wait_for_log(" worker died worker=1.2 ")
        assert server.stop(sig) == 0


@pytest.mark.parametrize("sig", ENDING)
def test_a_stop_ends_a_status_service_that_is_stopped(sig: signal.Signals) -> None:
    with Server("basics:application", "-s", "1", *STATUS) as server:
        os.kill(status_pid(server), signal.SIGSTOP)
        assert server.stop(sig) == 0


def test_a_status_service_that_dies_while_the_service_drains_comes_back_until_the_end(gate: Gate) -> None:
    with Server("basics:application", "-s", "1", *STATUS) as server:
        port = status_port(server)
        with held(gate, server.port):
            server.signal(signal.SIGTERM)
            server.wait_for_log(" stopping ")
            mark = server.mark()
            os.kill(status_pid(server), signal.SIGKILL)
            status_pid(server, after=mark)
            until(lambda: _status_of(port, "/readyz") == 503, "readyz says no")
            server.signal(signal.SIGQUIT)
        assert server.wait() == 0


def _status_of(port: int, path: str) -> int:
    with contextlib.suppress(OSError, Closed), Client(port) as client:
        return client.get(path, "Connection: close").status
    return 0


def test_an_upgrade_beside_a_stopped_status_service(tmp_path: Path) -> None:
    write(tmp_path, "1")
    with Server(APP, "-s", "1", *STATUS, cwd=tmp_path) as server:
        os.kill(status_pid(server), signal.SIGSTOP)
        mark = server.mark()
        server.signal(signal.SIGUSR2)
        status_pid(server, after=mark)
        until(lambda: _status_of(status_port(server), "/readyz") == 200, "ready again")
        assert version(server.port) == "1"


# The spare fork server -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sig", [*ENDING, signal.SIGKILL])
@pytest.mark.parametrize("stopped", [False, True])
def test_nothing_is_left_of_a_spare(tmp_path: Path, sig: signal.Signals, stopped: bool) -> None:
    write(tmp_path, "1")
    with Server(APP, "-s", "1", "--reload", "dev", cwd=tmp_path) as server:
        (waiting,) = until(lambda: spare(server), "a spare")
        if stopped:
            os.kill(waiting, signal.SIGSTOP)
        server.signal(sig)
        server.wait_gone()


@pytest.mark.parametrize("sig", [signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGTTIN, signal.SIGTTOU])
def test_signals_to_the_group_are_none_of_a_spare_s_business(tmp_path: Path, sig: signal.Signals) -> None:
    write(tmp_path, "1")
    said = {signal.SIGHUP: " reload finished ", signal.SIGUSR1: " reopened ", signal.SIGUSR2: " reload finished "}
    with Server(APP, "-s", "1", "--reload", "dev", cwd=tmp_path) as server:
        until(lambda: spare(server), "a spare")
        mark = server.mark()
        os.killpg(server.pid, sig)
        server.wait_for_log(said.get(sig, " workers wanted "), after=mark)
        until(lambda: spare(server), "a spare")
        write(tmp_path, "2")
        server.wait_for_log(" files changed ", after=mark)
        until(lambda: version(server.port) == "2", "the change serves")
        assert " died " not in server.log()
        assert "Traceback" not in server.log()


def test_an_upgrade_leaves_no_spare_of_the_earlier_program(tmp_path: Path) -> None:
    write(tmp_path, "1")
    with Server(APP, "-s", "1", "--reload", "dev", cwd=tmp_path) as server:
        before = until(lambda: spare(server), "a spare")
        mark = server.mark()
        server.signal(signal.SIGUSR2)
        server.wait_for_log(" reload finished ", after=mark)
        until(lambda: spare(server) and spare(server) != before, "another spare")
        assert len(spare(server)) == 1


def test_a_spare_that_was_stopped_goes_on_when_it_is_needed(tmp_path: Path) -> None:
    write(tmp_path, "1")
    with Server(APP, "-s", "1", "--reload", "dev", cwd=tmp_path) as server:
        (waiting,) = until(lambda: spare(server), "a spare")
        os.kill(waiting, signal.SIGSTOP)
        write(tmp_path, "2")
        until(lambda: version(server.port) == "2", "the change serves")


# The page of a refusal -----------------------------------------------------------------------------------------------


def break_it(server: Server, directory: Path) -> None:
    mark = server.mark()
    write(directory, "2", before="raise RuntimeError('broken')")
    server.wait_for_log(" traceback served ", after=mark)


def test_a_page_whose_processes_die_comes_back(tmp_path: Path) -> None:
    write(tmp_path, "1")
    with Server(APP, "-s", "1", "--reload", "dev", cwd=tmp_path) as server:
        break_it(server, tmp_path)
        (pid,) = [each.pid for each in server.fork_servers() if each.generation == 3]
        os.kill(pid, signal.SIGKILL)
        server.wait_for_log(" fork server died generation=3 ")
        for worker in server.workers():
            os.kill(worker.pid, signal.SIGKILL)
        until(lambda: "RuntimeError: broken" in _text(server), "the page")
        mark = server.mark()
        write(tmp_path, "3")
        server.wait_for_log(" reload finished ", after=mark)
        assert version(server.port) == "3"


def _text(server: Server) -> str:
    """Get the page, or nothing while nobody answers."""
    with contextlib.suppress(OSError, Closed):
        return page(server)
    return ""


def test_a_page_survives_the_death_of_its_worker(tmp_path: Path) -> None:
    write(tmp_path, "1")
    with Server(APP, "-s", "1", "--reload", "dev", cwd=tmp_path) as server:
        break_it(server, tmp_path)
        for worker in server.workers():
            os.kill(worker.pid, signal.SIGKILL)
        until(lambda: "RuntimeError: broken" in _text(server), "the page")
        (pid,) = [each.pid for each in server.fork_servers() if each.generation == 3]
        os.kill(pid, signal.SIGKILL)
        server.wait_for_log(" fork server died generation=3 ")
        assert "RuntimeError: broken" in page(server)
        assert server.stop() == 0
