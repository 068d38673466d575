"""What each signal to the controller does, also while the application is still loading."""

import ctypes
import os
import signal
from pathlib import Path

import psutil
import pytest

from integration.client import Client
from integration.gate import Gate
from integration.ports import free_port
from integration.server import Server, until
from integration.sites import held, version, write

APP = "site_app:application"
HANGS = "import sys, threading\nprint('importing', file=sys.stderr)\nthreading.Event().wait()"


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT], ids=lambda signum: signum.name)
def test_a_graceful_stop_finishes_what_is_under_way(gate: Gate, tmp_path: Path, signum: signal.Signals) -> None:
    pidfile = tmp_path / "pid"
    arguments = ("basics.application", "-s", "1", "-t", "4", "--pidfile", str(pidfile))
    with Server(*arguments) as server:
        assert pidfile.read_text() == f"{server.pid}\n"
        with held(gate, server.port) as client:
            server.signal(signum)
            server.wait_for_log(rf" stopping signal={signum.name}$")
            gate.open()
            assert client.read().status == 200
        assert server.wait() == 0
        server.wait_for_log(r" stopped$")
        assert not pidfile.exists()


def test_while_a_stop_waits_for_an_old_request_nobody_is_kept_waiting_for_nothing(gate: Gate) -> None:
    """The worker of the generation before has the request; it must not keep the listening socket."""
    port = free_port()
    with Server("basics.application", "-s", "1", "-t", "4", "--port", str(port)) as server, held(gate, port) as client:
        assert server.reload()
        server.signal(signal.SIGTERM)
        server.wait_for_log(r" worker retired worker=2\.1 ")
        with pytest.raises(ConnectionRefusedError):
            Client(port)
        gate.open()
        assert client.read().status == 200
        assert server.wait() == 0


def test_a_second_interrupt_stops_at_once(gate: Gate) -> None:
    with Server("basics.application", "-s", "1", "-t", "4") as server, held(gate, server.port):
        server.signal(signal.SIGINT)
        server.wait_for_log(r" stopping signal=SIGINT$")

        def interrupted_again() -> bool:
            server.signal(signal.SIGINT)
            return "stopping at once signal=SIGINT" in server.log()

        until(interrupted_again, "an interrupt counted as the second one")
        assert server.wait() == 0


def test_an_interrupt_that_comes_twice_is_one(gate: Gate) -> None:
    """``timeout -s INT`` sends it to the process and to its group: here both are waiting when the controller looks."""
    with Server("basics.application", "-s", "1", "-t", "4") as server, held(gate, server.port) as client:
        server.signal(signal.SIGSTOP)
        until(lambda: psutil.Process(server.pid).status() == psutil.STATUS_STOPPED, "the controller stopped")
        os.kill(server.pid, signal.SIGINT)
        assert ctypes.CDLL(None).tgkill(server.pid, server.pid, signal.SIGINT) == 0  # else the kernel makes one of them
        server.signal(signal.SIGCONT)
        server.wait_for_log(r" stopping signal=SIGINT$")
        gate.open()
        assert client.read().status == 200
        assert server.wait() == 0
        assert "at once" not in server.log()


def test_quit_stops_at_once(gate: Gate) -> None:
    with Server("basics.application", "-s", "1", "-t", "4") as server, held(gate, server.port):
        assert server.stop(signal.SIGQUIT) == 0


def test_a_stop_that_takes_too_long_ends_all_the_same(gate: Gate) -> None:
    arguments = ("basics.application", "-s", "1", "-t", "4", "--deadman_timeout", "0.3")
    with Server(*arguments) as server, held(gate, server.port):
        assert server.stop(signal.SIGTERM) == 0


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT], ids=lambda signum: signum.name)
def test_a_stop_during_the_first_import_works_at_once(tmp_path: Path, signum: signal.Signals) -> None:
    write(tmp_path, "1", before=HANGS)
    with Server(APP, cwd=tmp_path, ready=False) as server:
        server.wait_for_log("^importing$")
        assert server.stop(signum) == 0


def test_a_stop_during_a_reload_works_at_once(tmp_path: Path) -> None:
    write(tmp_path, "1")
    with Server(APP, "-s", "1", cwd=tmp_path) as server:
        write(tmp_path, "2", before=HANGS)
        server.signal(signal.SIGHUP)
        server.wait_for_log("^importing$")
        assert server.stop() == 0


def test_one_worker_more_and_one_fewer(tmp_path: Path) -> None:
    write(tmp_path, "1")
    with Server(APP, "-s", "1", cwd=tmp_path) as server:
        write(tmp_path, "2")
        server.signal(signal.SIGTTIN)
        server.wait_for_log(r" worker started worker=1\.2 ")
        assert [worker.name for worker in server.workers()] == ["1.1", "1.2"]
        assert version(server.port) == "1"  # from memory, whatever lies on the disk
        mark = server.mark()
        server.signal(signal.SIGTTOU)
        server.wait_for_log(r" workers wanted workers=1$", after=mark)
        server.wait_for_log(r" worker retired worker=1\.2 ", after=mark)
        server.signal(signal.SIGTTOU)
        until(lambda: server.log().count("workers wanted workers=1") == 2, "the second signal noticed")
        assert [worker.name for worker in server.wait_workers(1)] == ["1.1"]


def test_signals_of_the_terminal_are_for_the_controller(tmp_path: Path) -> None:
    """A terminal sends them to every process of the group; workers and fork server wait for the controller's word."""
    write(tmp_path, "1")
    with Server(APP, "-s", "1", cwd=tmp_path) as server:
        for process in [*server.workers(), *server.fork_servers()]:
            for signum in (
                signal.SIGINT,
                signal.SIGHUP,
                signal.SIGQUIT,
                signal.SIGUSR1,
                signal.SIGTTIN,
                signal.SIGTTOU,
            ):
                os.kill(process.pid, signum)
        assert version(server.port) == "1"
        assert [worker.name for worker in server.workers()] == ["1.1"]
        assert "died" not in server.log()


def test_usr1_opens_the_access_log_anew(tmp_path: Path) -> None:
    write(tmp_path, "1")
    log, rotated = tmp_path / "access.log", tmp_path / "access.log.1"
    with Server(APP, "-s", "1", "-l", str(log), cwd=tmp_path) as server:
        version(server.port)
        until(lambda: log.exists() and log.read_text(), "the first line")
        log.rename(rotated)
        server.signal(signal.SIGUSR1)
        until(log.exists, "a new log")
        # A worker is given the file a moment after it is there.
        until(lambda: version(server.port) and log.read_text(), "a line in the new log")
