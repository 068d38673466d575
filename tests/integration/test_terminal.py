"""What a person at a terminal sees, and what the end of the terminal means."""

import contextlib
import os
import platform
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Self

import psutil
import pytest

from integration.client import Client, request
from integration.gate import Gate
from integration.server import DEADLINE, RUNTIME, Server, until
from integration.sites import held, version, write
from spawning import __version__

APP = "site_app:application"


class Terminal:
    """A terminal with a shell's place in it: a program that becomes the leader of its session.

    :param command: what runs there.
    """

    def __init__(self, command: Sequence[str], cwd: Path, environ: Mapping[str, str]) -> None:
        self._screen = b""
        self._fd, other = pty.openpty()
        environ = {**os.environ, "SPAWNING_CONTROL_DIRECTORY": RUNTIME.name, **environ}
        self._process = subprocess.Popen(
            ["setsid", "--ctty", *command], cwd=cwd, env=environ, stdin=other, stdout=other, stderr=other
        )
        self.pid = self._process.pid
        os.close(other)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        session = [each for each in psutil.process_iter() if self._is_ours(each)]
        for process in session:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self._process.wait()
        self.close()

    def _is_ours(self, process: psutil.Process) -> bool:
        with contextlib.suppress(ProcessLookupError):
            return os.getsid(process.pid) == self.pid
        return False

    def wait_for(self, pattern: str) -> re.Match[str]:
        """Wait until the screen shows something."""
        deadline = time.monotonic() + DEADLINE
        while True:
            if match := re.search(pattern, self._screen.decode("utf-8", "replace"), re.MULTILINE):
                return match
            assert time.monotonic() < deadline, self._screen.decode()
            try:
                if select.select([self._fd], [], [], 0.1)[0]:
                    self._screen += os.read(self._fd, 65536)
            except OSError:  # nobody is there any more
                raise AssertionError(f"no {pattern!r} in:\n{self._screen.decode()}") from None

    @property
    def screen(self) -> str:
        return self._screen.decode()

    def type(self, keys: bytes) -> None:
        os.write(self._fd, keys)

    def close(self) -> None:
        """Close the window."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "spawning", "--port", "0", "-s", "1", APP, *arguments]


def shell(script: str, *arguments: str) -> list[str]:
    """Have a shell that stays run a server, which ``script`` calls "$@"."""
    return ["sh", "-c", script, "sh", *command(*arguments)]


@pytest.fixture
def site(tmp_path: Path) -> Path:
    write(tmp_path, "1")
    return tmp_path


def served(terminal: Terminal) -> tuple[int, int]:
    """Wait until it serves; return the controller's pid and the port."""
    ready = terminal.wait_for(r"\[(\d+)\] INFO ready url=http://127\.0\.0\.1:(\d+) ")
    return int(ready[1]), int(ready[2])


def is_alive(pid: int) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False


@contextlib.contextmanager
def ended(pid: int) -> Iterator[None]:
    """End a server that has outlived its terminal."""
    try:
        yield
    finally:
        os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("script", ['exec "$@"', '"$@"; true', 'trap "" INT; "$@" & wait'])
def test_closing_the_terminal_stops_a_server_in_it(site: Path, script: str) -> None:
    with Terminal(shell(script, "-l", "/dev/null"), site, {}) as terminal:
        pid, _ = served(terminal)
        terminal.close()
        if script.startswith("trap"):  # sh sends nothing to what runs in the background; an interactive shell does
            os.kill(pid, signal.SIGHUP)
        until(lambda: not is_alive(pid), "the server has ended")


@pytest.mark.parametrize("script", ['nohup "$@" 2>log >/dev/null; true', 'setsid -f "$@" 2>log >/dev/null; cat'])
def test_under_nohup_and_as_a_daemon_it_goes_on(site: Path, script: str) -> None:
    with Terminal(shell(script), site, {}) as terminal:
        ready = until(
            lambda: (
                re.search(r"\[(\d+)\] INFO ready \S+:(\d+) ", (site / "log").read_text())
                if (site / "log").exists()
                else None
            ),
            "it serves",
        )
        assert ready is not None
        terminal.close()
        with ended(int(ready[1])):
            write(site, "2")
            os.kill(int(ready[1]), signal.SIGHUP)  # and this is a reload
            until(lambda: version(int(ready[2])) == "2", "the new code serves")


def test_a_hangup_at_a_terminal_that_is_there_is_a_reload(site: Path) -> None:
    with Terminal(command("-l", "/dev/null"), site, {}) as terminal:
        pid, port = served(terminal)
        write(site, "2")
        os.kill(pid, signal.SIGHUP)
        terminal.wait_for(r" reload finished generation=2 ")
        assert version(port) == "2"
        terminal.type(b"\x03")
        terminal.wait_for(r" INFO stopped")


def test_what_the_terminal_says(site: Path) -> None:
    with Terminal(command("--reload", "dev"), site, {"NO_COLOR": ""}) as terminal:
        _, port = served(terminal)
        terminal.wait_for(r" INFO watching for changes files=\d+\r?$")
        terminal.wait_for(r' INFO controls stop=Ctrl-C reload="kill -HUP \d+" reload_mode=dev\r?$')
        write(site, "2", before="raise RuntimeError('broken')")
        terminal.wait_for(r" INFO files changed count=1 files=site_app\.py\r?$")
        terminal.wait_for(r" \x1b\[31mERROR\x1b\[0m reload refused")
        terminal.wait_for(r" traceback served ")
        with Client(port) as client:
            assert client.get("/").status == 503
        terminal.wait_for(r'"GET / HTTP/1\.1" \x1b\[31m503\x1b\[0m \d+ ')


def test_colours_need_no_reloader(site: Path) -> None:
    with Terminal(command(), site, {"NO_COLOR": "", "TERM": "xterm"}) as terminal:
        pid, port = served(terminal)
        write(site, "2", before="raise RuntimeError('broken')")
        os.kill(pid, signal.SIGHUP)
        terminal.wait_for(r" \x1b\[31mERROR\x1b\[0m reload refused")
        with Client(port) as client:
            client.send(b"nonsense\r\n\r\n")
        terminal.wait_for(r'"nonsense" \x1b\[33m400\x1b\[0m \d+ ')


@pytest.mark.parametrize("environ", [{"NO_COLOR": "1"}, {"TERM": "dumb"}], ids=str)
@pytest.mark.parametrize("arguments", [["--reload", "dev"], []], ids=str)
def test_no_colours_where_they_are_not_wanted(site: Path, environ: dict[str, str], arguments: list[str]) -> None:
    with Terminal(command(*arguments), site, environ) as terminal:
        pid, port = served(terminal)
        write(site, "2", before="raise RuntimeError('broken')")
        os.kill(pid, signal.SIGHUP)
        terminal.wait_for(r" ERROR reload refused generation=\d+ ")
        with Client(port) as client:
            client.get("/")
        terminal.wait_for(r'"GET / HTTP/1\.1" \d+ ')
        assert "\x1b[3" not in terminal.screen


def test_no_colours_in_a_file(site: Path) -> None:
    with Server(APP, "-s", "1", "--reload", "dev", cwd=site) as server:
        write(site, "2", before="raise RuntimeError('broken')")
        server.wait_for_log(r" ERROR reload refused ")
        assert "\x1b" not in server.log()
        assert "Ctrl-C" not in server.log()


# What is started, and where -------------------------------------------------------------------------------------------


def test_the_first_lines_say_what_runs_where_and_how_to_go_on(site: Path) -> None:
    (site / "spawning.toml").write_text('app = "site_app:application"\nprocesses = 1\nthreads = 3\n')
    with Server("--status", "127.0.0.1:0", cwd=site) as server:
        serving = server.wait_for_log(r" INFO serving version=(\S+) python=(\S+) app=(\S+) config=(\S+)$")
        assert serving.groups() == (
            __version__, platform.python_version(), "site_app:application", str(site / "spawning.toml")
        )  # fmt: skip
        server.wait_for_log(r" ready url=http://127\.0\.0\.1:\d+ generation=1 workers=1 threads=3$")
        status = server.wait_for_log(r" status service started url=(\S+) ")[1]
        how = r' INFO controls stop="kill (\d+)" reload="kill -HUP (\d+)" reload_mode=none status=(\S+)$'
        assert server.wait_for_log(how).groups() == (str(server.pid), str(server.pid), status)
        assert server.reload()
        assert len(re.findall(r" INFO (?:serving|ready|controls) ", server.log())) == 3


# Waiting -------------------------------------------------------------------------------------------------------------


def test_a_load_that_takes_long_says_what_it_waits_for(site: Path) -> None:
    leave = site / "leave"
    os.mkfifo(leave)
    write(site, "1", before=f"open({str(leave)!r}).read()")
    with Server(APP, "-s", "1", cwd=site, ready=False) as server:
        waits = r'still loading generation=1 seconds=\S+ waits_for="the import of site_app:application" gives_up_in='
        server.wait_for_log(waits)
        server.wait_for_log(waits, after=server.mark())  # and again
        leave.open("w").close()
        server.wait_ready()


def test_on_a_terminal_that_is_a_line_that_changes(site: Path) -> None:
    leave = site / "leave"
    os.mkfifo(leave)
    write(site, "1", before=f"open({str(leave)!r}).read()")
    with Terminal(command("-l", "/dev/null"), site, {"TERM": "xterm"}) as terminal:
        for seconds in (r"\d+", r"\d+", r"[2-9]"):
            terminal.wait_for(
                rf"\x1b\[Kloading for {seconds} s: the import of site_app:application, gives up in \d+ s\r"
            )
        leave.open("w").close()
        served(terminal)
        terminal.wait_for(r"\x1b\[K\r")
        assert "still loading" not in terminal.screen


def test_so_does_a_check_of_readiness(gate: Gate) -> None:
    with Server("basics.application", "-s", "2", "--ready-path", gate.target, ready=False) as server:
        gate.wait_entered()
        server.wait_for_log(r' still loading .* waits_for="GET /hold\S* \(1 of 2 workers are ready\)" ')
        gate.open()
        server.wait_ready()


def test_a_stop_that_takes_long_names_what_is_under_way(gate: Gate) -> None:
    with Server("basics.application", "-s", "1") as server, held(gate, server.port) as client:
        server.signal(signal.SIGTERM)
        server.wait_for_log(r' still stopping requests=1 under_way="GET /hold since \d+ s" until=\d\d:\d\d:\d\d$')
        gate.open()
        assert client.read().status == 200
        server.wait()


def test_after_ctrl_c_it_says_how_to_stop_at_once(gate: Gate) -> None:
    with Server("basics.application", "-s", "1") as server, held(gate, server.port):
        server.signal(signal.SIGINT)
        server.wait_for_log(r" still stopping; Ctrl-C again ends it at once requests=1 ")
        server.signal(signal.SIGINT)
        server.wait()


def test_a_body_that_is_still_arriving_is_no_request_yet(site: Path) -> None:
    with Server(APP, "-s", "1", cwd=site) as server, Client(server.port) as client:
        client.send(request("/", "Content-Length: 5", method="POST") + b"12")
        until(lambda: _connections(server), "the body is arriving")
        server.signal(signal.SIGTERM)
        server.wait_for_log(r" still stopping requests=0 without_requests=1\.1 until=")
        client.send(b"345")
        assert client.read().status == 200
        server.wait()


def _connections(server: Server) -> bool:
    (worker,) = server.workers()
    return any(each.status == psutil.CONN_ESTABLISHED for each in psutil.Process(worker.pid).net_connections())


def test_unapplied_migrations_are_named(tmp_path: Path) -> None:
    (tmp_path / "settings.py").write_text(
        "SECRET_KEY = 'x'\nDEBUG = True\nROOT_URLCONF = 'urls'\nUSE_TZ = True\n"
        "INSTALLED_APPS = ['django.contrib.contenttypes', 'django.contrib.auth']\n"
        "DATABASES = {'default': {'ENGINE': 'django.db.backends.sqlite3', 'NAME': 'db.sqlite3'}}\n"
    )
    (tmp_path / "urls.py").write_text("urlpatterns = []\n")
    migrate = [sys.executable, "-m", "django", "migrate"]
    with Server("-f", "django", "settings", "-s", "1", "--reload", "dev", cwd=tmp_path) as server:
        server.wait_for_log(
            r" WARNING \d+ of the migrations of auth, contenttypes are not applied: python manage\.py migrate$"
        )
    environ = {**os.environ, "DJANGO_SETTINGS_MODULE": "settings", "PYTHONPATH": str(tmp_path)}
    subprocess.run(migrate, cwd=tmp_path, env=environ, check=True, capture_output=True)
    with Server("-f", "django", "settings", "-s", "1", "--reload", "dev", cwd=tmp_path) as server:
        mark = server.mark()
        (tmp_path / "urls.py").touch()
        server.wait_for_log(r" reload finished ", after=mark)
        assert "migrate" not in server.log()
