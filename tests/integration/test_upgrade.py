"""SIGUSR2: another controller in the same process, and nobody who is served notices."""

import contextlib
import math
import os
import re
import shutil
import signal
import sys
import threading
from pathlib import Path

import pytest

import spawning
from integration.client import Client
from integration.gate import Gate
from integration.load import Load, steps_back
from integration.server import Server, run, until
from integration.sites import held, version, write
from spawning.controller.fleet import Fleet
from spawning.controller.plan import Wanted
from spawning.controller.process import Exit
from spawning.controller.state import State
from spawning.controller.upgrade import CHECK_SECONDS, Attempt, Upgrade
from spawning.settings import Settings

APP = "site_app:application"
PACKAGE = Path(spawning.__file__).parent


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A copy of the package, to break and to mend."""
    copy = tmp_path / "installed" / "spawning"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    return copy


def upgrade(server: Server) -> int:
    """Upgrade in place, and wait until a generation of the new program serves; give its number."""
    mark = server.mark()
    server.signal(signal.SIGUSR2)
    server.wait_for_log(r" upgraded version=\S+ python=\S+ workers=\d+$", after=mark)
    server.wait_for_log(r" reload started generation=\d+ trigger=upgrade$", after=mark)
    return int(server.wait_for_log(r" reload finished generation=(\d+) ", after=mark)[1])


def descriptors(server: Server) -> list[str]:
    """List what the controller has open, without the numbers that the kernel gives."""
    directory = Path(f"/proc/{server.pid}/fd")
    return sorted(re.sub(r"\d+", "N", os.readlink(path)) for path in directory.iterdir())


def wait_answered(load: Load, version: int) -> None:
    until(lambda: version in {answer.version for answer in load.answers}, f"an answer of version {version}")


def test_nobody_notices_an_upgrade_under_load(tmp_path: Path) -> None:
    write(tmp_path, "1")
    pidfile = tmp_path / "pid"
    arguments = (APP, "-s", "2", "-l", "/dev/null", "--pidfile", str(pidfile))
    with Server(*arguments, cwd=tmp_path) as server, contextlib.ExitStack() as stack:
        written = pidfile.stat()
        idle = [stack.enter_context(Client(server.port)) for _ in range(20)]
        assert {client.get("/").text for client in idle} == {"1"}
        with Load(server.port, fresh=2, kept=4) as load:
            for number in (2, 3):
                write(tmp_path, str(number))
                assert upgrade(server) == number
                wait_answered(load, number)
        assert load.failures == []
        assert steps_back(load.answers) == []
        assert {answer.version for answer in load.answers} == {1, 2, 3}
        assert [client.get("/").text for client in idle] == ["3"] * len(idle)
        assert pidfile.read_text() == f"{server.pid}\n"
        assert pidfile.stat().st_ino == written.st_ino
        finished = run(APP, "--port", "0", "--pidfile", str(pidfile), cwd=tmp_path)
        assert (
            finished.err
            == f"spawn: option --pidfile: {pidfile} belongs to process {server.pid}, which is alive; stop it first"
        )
        until(lambda: {worker.generation for worker in server.workers()} == {3}, "only new workers")
        assert server.stop() == 0
        assert not pidfile.exists()


def test_what_is_under_way_is_finished_by_the_worker_of_before(gate: Gate) -> None:
    with Server("basics.application", "-s", "1", "-t", "4") as server, held(gate, server.port) as client:
        assert upgrade(server) == 2
        assert [worker.name for worker in server.wait_workers(2)] == ["1.1", "2.1"]
        gate.open()
        assert client.read().status == 200
        server.wait_for_log(r" worker retired worker=1\.1 ")


def test_nothing_is_left_open_by_many_upgrades(tmp_path: Path) -> None:
    write(tmp_path, "1")
    with Server(APP, "-s", "1", "--keep-previous", "0.1", cwd=tmp_path) as server:
        found = []
        for _ in range(4):
            upgrade(server)
            until(lambda: len(server.workers()) == len(server.fork_servers()) == 1, "only one generation left")
            found.append(descriptors(server))
        assert found[1:] == [found[0]] * 3


def test_an_upgrade_that_does_not_work_is_refused_and_the_next_one_works(tmp_path: Path, installed: Path) -> None:
    write(tmp_path, "1")
    with Server(APP, "-s", "1", cwd=tmp_path, env={"PYTHONPATH": str(installed.parent)}) as server:
        broken = installed / "controller" / "plan.py"
        source = broken.read_text()
        for damage, reason in (
            ("import nothing_of_that_name\n", "ModuleNotFoundError: No module named 'nothing_of_that_name'"),
            ("raise SystemExit(0)\n", "it ended with status 0 without an answer"),
        ):
            broken.write_text(damage)
            mark = server.mark()
            server.signal(signal.SIGUSR2)
            server.wait_for_log(rf' ERROR upgrade refused reason="{reason}"$', after=mark)
            assert version(server.port) == "1"
        write(tmp_path, "2")
        assert server.reload()
        assert version(server.port) == "2"
        broken.write_text(source)
        (installed / "__init__.py").write_text('__version__ = "9.9"\n')
        mark = server.mark()
        assert upgrade(server) == 3
        server.wait_for_log(r" upgrade approved version=9\.9 python=", after=mark)


def test_a_state_of_another_version_is_refused(tmp_path: Path, installed: Path) -> None:
    write(tmp_path, "1")
    with Server(APP, "-s", "1", cwd=tmp_path, env={"PYTHONPATH": str(installed.parent)}) as server:
        path = installed / "controller" / "state.py"
        path.write_text(path.read_text().replace("VERSION = 1\n", "VERSION = 2\n"))
        server.signal(signal.SIGUSR2)
        server.wait_for_log(r' upgrade refused reason=".*leaves a state of version 1, not 2"$')
        assert version(server.port) == "1"


def test_an_application_that_does_not_load_is_refused_by_the_new_controller_too(tmp_path: Path) -> None:
    write(tmp_path, "1")
    with Server(APP, "-s", "1", cwd=tmp_path) as server:
        (tmp_path / "site_app.py").write_text("import nothing_of_that_name\n")
        server.signal(signal.SIGUSR2)
        server.wait_for_log(r" upgraded ")
        server.wait_for_log(r" reload refused generation=2 ")
        assert version(server.port) == "1"
        os.kill(server.wait_workers(1)[0].pid, signal.SIGKILL)
        server.wait_for_log(r" worker started worker=1\.2 ")
        assert version(server.port) == "1"


def test_signals_around_the_exec_are_not_lost(tmp_path: Path) -> None:
    """Without handlers each of them would end the process."""
    write(tmp_path, "1")
    with Server(APP, "-s", "1", "--reload", "dev", cwd=tmp_path) as server:
        over = threading.Event()

        def storm() -> None:
            while not over.wait(0.002):
                for signum in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGTTIN, signal.SIGTTOU):
                    server.signal(signum)

        thread = threading.Thread(target=storm)
        thread.start()
        server.signal(signal.SIGUSR2)
        server.wait_for_log(r" upgraded ")
        write(tmp_path, "2")
        server.wait_for_log(r" upgraded ", after=server.mark())
        over.set()
        thread.join()
        until(lambda: version(server.port) == "2", "the newest code")


def test_a_stop_during_the_exec_is_obeyed(tmp_path: Path) -> None:
    write(tmp_path, "1")
    with Server(APP, "-s", "1", cwd=tmp_path) as server:
        server.signal(signal.SIGUSR2)
        server.wait_for_log(r" upgrade approved ")
        assert server.stop() == 0
        server.wait_for_log(r" stopped$")


def test_a_worker_that_dies_during_the_exec_is_replaced(tmp_path: Path) -> None:
    write(tmp_path, "1")
    with Server(APP, "-s", "1", cwd=tmp_path) as server:
        (worker,) = server.wait_workers(1)
        mark = server.mark()
        server.signal(signal.SIGUSR2)
        server.wait_for_log(r" upgrade approved ", after=mark)
        os.kill(worker.pid, signal.SIGKILL)
        server.wait_for_log(rf" worker died worker=1\.1 pid={worker.pid} signal=SIGKILL$", after=mark)
        server.wait_for_log(r" reload finished ", after=mark)
        assert version(server.port) == "1"


def test_the_new_program_starts_where_the_link_leads_now(tmp_path: Path) -> None:
    current = tmp_path / "current"
    for number in ("1", "2"):
        (tmp_path / number).mkdir()
        write(tmp_path / number, number)
    current.symlink_to("1")
    with Server(APP, "-s", "1", cwd=current, env={"PWD": str(current)}) as server:
        assert version(server.port) == "1"
        current.unlink()
        server.signal(signal.SIGUSR2)
        server.wait_for_log(rf' upgrade refused reason="{current}: No such file or directory"$')
        current.symlink_to("2")
        shutil.rmtree(tmp_path / "1")
        assert upgrade(server) == 2
        assert version(server.port) == "2"


def test_an_upgrade_during_the_first_import_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "1", before="import sys, threading\nprint('importing', file=sys.stderr)\nthreading.Event().wait()")
    with Server(APP, cwd=tmp_path, ready=False) as server:
        server.wait_for_log("^importing$")
        server.signal(signal.SIGUSR2)
        server.wait_for_log(r" upgrade refused ")


def test_a_check_that_hangs_is_ended() -> None:
    upgrade = Upgrade([sys.executable, "-c", "import threading; threading.Event().wait()"])
    state = State(Wanted(), Fleet(), channels={}, handoff=(0, 1), listeners=[], activated=False, bound=Settings())
    upgrade.begin(state, os.getcwd(), 10.0)
    assert upgrade.pid is not None
    assert upgrade.look(11.0) == 10.0 + CHECK_SECONDS
    assert upgrade.look(10.0 + CHECK_SECONDS) == math.inf
    _, status = os.waitpid(upgrade.pid, 0)
    assert upgrade.exited(Exit(upgrade.pid, os.waitstatus_to_exitcode(status)))
    assert upgrade.attempt is Attempt.NONE


def test_sockets_of_the_service_manager_are_kept(tmp_path: Path) -> None:
    write(tmp_path, "1")
    activate = Path(__file__).parent / "activate.py"
    command = [sys.executable, str(activate), "tcp", sys.executable, "-m", "spawning", "-s", "1", APP]
    with Server(command=command, cwd=tmp_path) as server:
        write(tmp_path, "2")
        assert upgrade(server) == 2
        assert version(server.port) == "2"
        assert "WARNING" not in server.log()
