"""Whoever is killed with -9, at whatever step of a reload: at most what was in the killed process is lost, and the next
reload finds everything in order.
"""

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from integration.client import Client
from integration.load import Load, steps_back
from integration.server import Server, until
from integration.sites import version, write

APP = "site_app:application"
HANGS = "import sys, threading\nprint('hangs', file=sys.stderr)\nthreading.Event().wait()"
HANGS_WHEN_CHECKED = """
import sys, threading


def application(environ, start_response):
    print('hangs', file=sys.stderr)
    threading.Event().wait()
"""

Step = Callable[[Server, Path, str], contextlib.AbstractContextManager[int]]


@contextlib.contextmanager
def loading(server: Server, site: Path, number: str) -> Iterator[int]:
    """Have the next generation import; give a worker that serves."""
    write(site, number, before=HANGS)
    with _hanging(server) as worker:
        yield worker


@contextlib.contextmanager
def checking(server: Server, site: Path, number: str) -> Iterator[int]:
    """Have a worker of the next generation check whether it is ready; give a worker that serves."""
    (site / "site_app.py").write_text(HANGS_WHEN_CHECKED)
    with _hanging(server) as worker:
        yield worker


@contextlib.contextmanager
def cutting_over(server: Server, site: Path, number: str) -> Iterator[int]:
    """Have the next generation wait for a worker of the one before to freeze; give that worker."""
    silent, other, *_ = server.workers()
    write(site, number)
    mark = server.mark()
    os.kill(silent.pid, signal.SIGSTOP)
    server.signal(signal.SIGHUP)
    server.wait_for_log(rf" worker retired worker={other.name} ", after=mark)
    try:
        yield silent.pid
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(silent.pid, signal.SIGCONT)


@contextlib.contextmanager
def _hanging(server: Server) -> Iterator[int]:
    mark = server.mark()
    server.signal(signal.SIGHUP)
    server.wait_for_log("^hangs$", after=mark)
    yield server.workers()[0].pid


def serve(site: Path) -> Server:
    write(site, "1")
    options = ("-s", "2", "-l", "/dev/null", "--ready-path", "/", "--keep-previous", "0")
    return Server(APP, *options, cwd=site, env={"PYTHONDONTWRITEBYTECODE": "1"})


def _fork_servers(server: Server) -> tuple[int, int]:
    """Return the fork server that serves, and that of the next generation; a fork of either has its name at first."""
    first: dict[int, int] = {}
    for each in server.fork_servers():
        first[each.generation] = min(each.pid, first.get(each.generation, each.pid))
    return first[min(first)], first[max(first)]


@pytest.mark.parametrize("step", [loading, checking, cutting_over])
def test_a_worker_or_a_fork_server_that_is_killed_during_a_reload(tmp_path: Path, step: Step) -> None:
    with serve(tmp_path) as server, Load(server.port, fresh=2, kept=0) as load:
        for number, who in enumerate(("worker", "fork server before", "new fork server"), 2):
            failed = len(load.failures)
            with step(server, tmp_path, str(number)) as worker:
                before, new = _fork_servers(server)
                os.kill({"worker": worker, "fork server before": before, "new fork server": new}[who], signal.SIGKILL)
            write(tmp_path, str(number))
            server.signal(signal.SIGHUP)
            until(lambda number=number: version(server.port) == str(number), f"version {number}")  # type: ignore[misc]
            until(lambda: len(server.fork_servers()) == 1 and len(server.workers()) == 2, "only what serves")
            lost = len(load.failures) - failed
            assert lost <= (2 if who == "worker" else 0), load.failures
        assert steps_back(load.answers) == []


@pytest.mark.parametrize("step", [loading, checking, cutting_over])
def test_a_controller_that_is_killed_during_a_reload(tmp_path: Path, step: Step) -> None:
    with serve(tmp_path) as server, contextlib.ExitStack() as stack:
        clients = [stack.enter_context(Client(server.port)) for _ in range(8)]
        assert {client.get("/").text for client in clients} == {"1"}
        with step(server, tmp_path, "2"):
            server.signal(signal.SIGKILL)
        assert {client.get("/").text for client in clients} <= {"1", "2"}
        server.wait_gone()
