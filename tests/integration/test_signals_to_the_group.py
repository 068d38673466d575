"""Signals to the whole process group are the controller's business alone, at every moment.

A terminal, ``timeout`` and shells send them so. Each moment is held: an interpreter that starts waits at a gate in its
``sitecustomize``, before any line of Spawning's; an import waits at one; a command waits in the import of a package.
"""

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from integration.gate import Gate
from integration.server import DEADLINE, Server
from integration.sites import version, waits_at, write

APP = "site_app:application"
LEAVING = [signal.SIGINT, signal.SIGTERM, signal.SIGQUIT]
STAYING = [signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGTTIN, signal.SIGTTOU]


def name(signum: signal.Signals) -> str:
    return signum.name


def send(server: Server, signum: signal.Signals) -> None:
    os.killpg(server.pid, signum)


def check_unharmed(server: Server) -> None:
    for wrong in ("Traceback", "KeyboardInterrupt", " died ", "reload refused"):
        assert wrong not in server.log()


def in_the_way(gate: Gate, directory: Path, module: str, condition: str, rest: str = "") -> dict[str, str]:
    """Make processes wait at the gate when they import a module of that name; gives the variables for it."""
    place = directory / "in_the_way"
    place.mkdir()
    waits = textwrap.indent(waits_at(gate), "    ")
    (place / f"{module}.py").write_text(f"import sys\nif {condition}:\n{waits}\n{rest}")
    return {"PYTHONPATH": str(place)}


@pytest.fixture
def hold(gate: Gate, tmp_path: Path) -> dict[str, str]:
    """Variables with which the interpreters of fork servers wait at the gate, before they import anything of ours."""
    return in_the_way(gate, tmp_path, "sitecustomize", "'spawning.forkserver' in ' '.join(sys.orig_argv)")


@pytest.mark.parametrize("signum", [*LEAVING, *STAYING], ids=name)
def test_while_the_first_fork_server_starts(
    hold: dict[str, str], gate: Gate, tmp_path: Path, signum: signal.Signals
) -> None:
    write(tmp_path, "1")
    with Server(APP, "-s", "1", cwd=tmp_path, env=hold, ready=False) as server:
        gate.wait_entered()
        send(server, signum)
        if signum in LEAVING:
            assert server.wait() == 0
        else:
            gate.open(10)
            server.wait_ready()
            assert version(server.port) == "1"
        check_unharmed(server)


@pytest.mark.parametrize("signum", [*STAYING, signal.SIGINT, signal.SIGTERM], ids=name)
@pytest.mark.parametrize("moment", ["interpreter", "import"])
def test_during_a_reload(hold: dict[str, str], gate: Gate, tmp_path: Path, moment: str, signum: signal.Signals) -> None:
    write(tmp_path, "1")
    gate.open()  # the first generation's
    with Server(APP, "-s", "1", cwd=tmp_path, env=hold) as server:
        gate.wait_entered()
        write(tmp_path, "2", before=waits_at(gate))
        server.signal(signal.SIGHUP)
        gate.wait_entered()
        if moment == "import":
            gate.open()
            gate.wait_entered()
        send(server, signum)
        if signum in LEAVING:
            assert server.wait() == 0
        else:
            gate.open(20)
            server.wait_for_log(r" reload finished ")
            assert version(server.port) == "2"
        check_unharmed(server)


@pytest.mark.parametrize("signum", [*LEAVING, *STAYING], ids=name)
@pytest.mark.parametrize("preload", [[], ["--no-preload"]], ids=["preload", "no-preload"])
def test_during_the_first_import(gate: Gate, tmp_path: Path, preload: list[str], signum: signal.Signals) -> None:
    """By the fork server, or by a worker."""
    write(tmp_path, "1", before=waits_at(gate))
    with Server(APP, "-s", "1", *preload, cwd=tmp_path, ready=False) as server:
        gate.wait_entered()
        send(server, signum)
        if signum in LEAVING:
            assert server.wait() == 0
        else:
            gate.open(10)
            server.wait_ready()
            assert version(server.port) == "1"
        check_unharmed(server)


@pytest.mark.parametrize("signum", [*LEAVING, *STAYING], ids=name)
def test_while_the_command_starts(gate: Gate, tmp_path: Path, signum: signal.Signals) -> None:
    """What arrives before the controller can deal with it waits; the gate is in a package that the controller needs."""
    write(tmp_path, "1")
    condition = "'spawning.forkserver' not in ' '.join(sys.orig_argv)"
    env = in_the_way(gate, tmp_path, "setproctitle", condition, "def setproctitle(title): pass\n")
    with Server(APP, "-s", "1", cwd=tmp_path, env=env, ready=False) as server:
        gate.wait_entered()
        send(server, signum)
        gate.open(10)
        if signum in LEAVING:
            assert server.wait() == 0
        else:
            server.wait_ready()
            assert version(server.port) == "1"
        check_unharmed(server)


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGHUP, signal.SIGUSR1], ids=name)
def test_while_an_upgrade_is_checked(gate: Gate, tmp_path: Path, signum: signal.Signals) -> None:
    write(tmp_path, "1")
    env = in_the_way(gate, tmp_path, "sitecustomize", "'SPAWNING_CHECK_SUCCESSION' in __import__('os').environ")
    with Server(APP, "-s", "1", cwd=tmp_path, env=env) as server:
        server.signal(signal.SIGUSR2)
        gate.wait_entered()
        send(server, signum)
        if signum in LEAVING:
            assert server.wait() == 0
        else:
            gate.open()
            server.wait_for_log(r" upgrade approved ")
            server.wait_for_log(r" upgraded ")
        check_unharmed(server)


def test_what_the_application_starts_has_nothing_blocked_or_ignored(tmp_path: Path) -> None:
    """At import, in a request, and in an atexit function of a worker's."""
    show = [sys.executable, "-c", "print(open('/proc/self/status').read())"]
    before = (
        "import atexit, subprocess\n"
        f"SHOW = {show!r}\n"
        "def shown(name):\n"
        f"    with open({str(tmp_path)!r} + '/' + name, 'w') as file: subprocess.run(SHOW, stdout=file, check=True)\n"
        "shown('import')\n"
        "atexit.register(shown, 'atexit')\n"
    )
    path = write(tmp_path, "1", before=before)
    path.write_text(path.read_text().replace("    body =", "    shown('request')\n    body ="))
    with Server(APP, "-s", "1", cwd=tmp_path) as server:
        assert version(server.port) == "1"
        assert server.stop() == 0
    blocked, ignored = masks(subprocess.run(show, capture_output=True, text=True, check=True, timeout=DEADLINE).stdout)
    for moment in ("import", "request", "atexit"):
        found = masks((tmp_path / moment).read_text())
        # What these tests were started with, by nohup for example, the server may have heard of and not handed on.
        assert (found[0], found[1] & ~ignored) == (blocked, 0), moment


def masks(status: str) -> list[int]:
    """List what a process has blocked and ignored, of the signals that programs use (above 31 are the C library's)."""
    return [int(line.split()[1], 16) & 0x7FFFFFFF for line in status.splitlines() if line.startswith(("SigB", "SigI"))]
