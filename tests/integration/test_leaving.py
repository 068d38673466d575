"""What an application still does when its worker leaves: waited for, and named when it is given up."""

import os
import re
import signal
from pathlib import Path

import psutil
import pytest

from integration.client import fetch
from integration.server import APPS, Server, until

APP = "offspring.application"
KINDS = ["thread", "executor", "atexit", "process"]


def begin(server: Server, kind: str, directory: Path) -> tuple[Path, Path, str]:
    """Have a view leave something to be done behind its response, until the gate is opened."""
    gate, done = directory / "gate", directory / "done"
    os.mkfifo(gate)
    return gate, done, fetch(server.port, f"/job?kind={kind}&gate={gate}&done={done}").text


@pytest.mark.parametrize("ready", [[], ["--ready-path", "/"]], ids=["plain", "ready-path"])
def test_threads_that_a_view_starts_are_no_daemons(ready: list[str]) -> None:
    with Server(APP, "-s", "1", *ready) as server:
        assert fetch(server.port, "/daemon").text == "False False True True"


@pytest.mark.parametrize("threads", ["4", "0"])
def test_at_the_end_no_thread_of_the_server_is_one_that_others_wait_for(tmp_path: Path, threads: str) -> None:
    """Gevent waits in the place of ``threading`` then, in a way that these threads do not bear (Python 3.13)."""
    (tmp_path / "site_app.py").write_text(
        "import atexit, sys, threading\n"
        "def application(environ, start_response):\n"
        "    start_response('200 OK', [])\n"
        "    return [b'']\n"
        "def tell():\n"
        "    names = [each.name for each in threading.enumerate() if not each.daemon]\n"
        "    sys.stderr.write(f'waited for: {names}\\n')\n"
        "atexit.register(tell)\n"
    )
    with Server("site_app:application", "-s", "1", "-t", threads, cwd=tmp_path) as server:
        assert fetch(server.port, "/hello").status == 200
        assert server.reload()
        server.wait_for_log(r" worker retired worker=1\.1 ")
    told = re.findall(r"^waited for: (.*)$", server.log(), re.MULTILINE)
    assert set(told) <= {"[]", "['MainThread']"}
    assert len(told) >= 2


@pytest.mark.parametrize("end", ["reload", "stop", "recycling"])
@pytest.mark.parametrize("kind", KINDS)
def test_what_a_view_has_begun_is_finished(tmp_path: Path, kind: str, end: str) -> None:
    with Server(APP, "-s", "1") as server:
        gate, done, _ = begin(server, kind, tmp_path)
        worker = server.workers()[0].pid
        if end == "reload":
            assert server.reload()
        elif end == "stop":
            server.signal(signal.SIGTERM)
            server.wait_for_log(" stopping ")
        else:
            os.kill(worker, signal.SIGTERM)
            server.wait_for_log(" worker started worker=1.2 ")
        gate.write_text("")  # waits for who reads it
        server.wait_for_log(r" worker retired worker=1\.1 ")
        assert done.read_text() == "done"


@pytest.mark.parametrize("end", ["reload", "stop"])
@pytest.mark.parametrize("kind", KINDS)
def test_what_takes_too_long_is_named_and_ended(tmp_path: Path, kind: str, end: str) -> None:
    with Server(APP, "-s", "1", "--deadman_timeout", "0.5") as server:
        _, done, answer = begin(server, kind, tmp_path)
        worker = server.workers()[0].pid
        mark = server.mark()
        if end == "reload":
            assert server.reload()
        else:
            server.signal(signal.SIGTERM)
        named = {
            "thread": "threads=mails",
            "executor": "threads=mails_0",
            "atexit": rf'atexit="offspring._job \({re.escape(str(APPS))}/offspring.py, line \d+\)"',
            "process": f"children={answer}",
        }[kind]
        given_up = rf"\[{worker}\] ERROR given up what the application does at its end worker=1\.1 {named}$"
        server.wait_for_log(given_up, after=mark)
        # Without its children, the worker ends by itself.
        ended = "(retired|died)" if kind == "process" else "died"
        server.wait_for_log(rf" worker {ended} worker=1\.1 pid={worker}\b", after=mark)
        assert not done.exists()
        if kind == "process":
            until(lambda: not psutil.pid_exists(int(answer)), "the child ends")
