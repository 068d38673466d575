"""``--daemonize``, ``--stdout`` and ``--stderr``: in the background, with files for streams, and with an answer."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from integration.client import Client
from integration.gate import Gate
from integration.server import DEADLINE, Finished, Server, _inherited_environment, run, until
from integration.sites import version, waits_at, write

APP = "site_app:application"
PRINTS = """\
import sys


def application(environ, start_response):
    word = environ["PATH_INFO"].strip("/")
    print("printed", word)
    print("complained", word, file=sys.stderr, flush=True)
    start_response("200 OK", [("Content-Length", "0")])
    return []
"""


@dataclass(frozen=True, slots=True)
class Daemon:
    """A server in the background: what its command has answered, and the process."""

    answer: Finished
    process: psutil.Process
    directory: Path

    @property
    def port(self) -> int:
        return int(self.log.partition(" ready url=http://127.0.0.1:")[2].partition(" ")[0])

    @property
    def log(self) -> str:
        return (self.directory / "err").read_text()

    def wait_for(self, text: str, name: str = "err") -> None:
        until(lambda: text in (self.directory / name).read_text(), f"{text!r} in {name}")


def command(directory: Path, *arguments: str, env: Mapping[str, str] | None = None) -> Finished:
    """Run ``spawn -d`` to its answer."""
    port = [] if "--port" in arguments else ["--port", "0"]
    line = [sys.executable, "-m", "spawning", *port, "-s", "1", *arguments]
    environ = {**_inherited_environment(), **(env or {})}
    done = subprocess.run(
        line, cwd=directory, env=environ, capture_output=True, text=True, timeout=DEADLINE, check=False
    )
    return Finished(done.returncode, done.stdout, done.stderr)


@contextlib.contextmanager
def daemon(directory: Path, *arguments: str) -> Iterator[Daemon]:
    """Have a server in the background, and see that nothing of it is left."""
    pidfile = directory / "pid"
    options = ["-d", "--pidfile", "pid", "--stdout", "out", "--stderr", "err"]
    answer = command(directory, APP, *options, *arguments)
    assert answer.status == 0, answer
    process = psutil.Process(int(pidfile.read_text()))
    family = [process, *process.children(recursive=True)]
    try:
        yield Daemon(answer, process, directory)
        family = [process, *process.children(recursive=True)]
        process.terminate()
        _, alive = psutil.wait_procs(family, timeout=DEADLINE)
        assert not alive
        assert not pidfile.exists()
    finally:
        for each in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                each.kill()


def test_the_command_answers_when_the_service_is_ready(tmp_path: Path) -> None:
    write(tmp_path, "1")
    with daemon(tmp_path) as server:
        assert server.answer == Finished(0, "", "")
        assert version(server.port) == "1"  # at once: nothing was waited for
        pid = server.process.pid
        assert os.getsid(pid) not in (pid, os.getsid(0))  # it can get no terminal by opening one
        assert server.process.terminal() is None
        assert server.process.ppid() != os.getpid()
        assert os.readlink(f"/proc/{pid}/fd/0") == os.devnull


def test_a_daemon_reloads_and_upgrades_and_stays_one(tmp_path: Path) -> None:
    write(tmp_path, "1")
    with daemon(tmp_path) as server:
        pid = server.process.pid
        write(tmp_path, "2")
        server.process.send_signal(signal.SIGHUP)
        server.wait_for("reload finished generation=2")
        server.process.send_signal(signal.SIGUSR2)
        server.wait_for("finished generation=3")
        assert version(server.port) == "2"
        assert (server.directory / "pid").read_text() == f"{pid}\n"


def title(process: psutil.Process) -> str:
    """Return what a process is called; nothing when it has exited."""
    with contextlib.suppress(psutil.Error):
        return " ".join(process.cmdline())
    return ""


def test_streams_are_files_that_are_appended_to_and_reopened_in_all_processes(tmp_path: Path) -> None:
    (tmp_path / "site_app.py").write_text(PRINTS)
    (tmp_path / "out").write_text("from before\n")
    with daemon(tmp_path, "--processes", "2") as server:
        port = server.port
        _ask(port, "/first")
        server.wait_for("printed first", "out")
        server.wait_for("complained first")
        server.wait_for('"GET /first HTTP/1.1" 200', "out")
        assert (tmp_path / "out").read_text().startswith("from before\n")
        for name in ("out", "err"):
            (tmp_path / name).rename(tmp_path / f"{name}.1")
        server.process.send_signal(signal.SIGUSR1)
        until(lambda: (tmp_path / "err").exists() and "log reopened log=stderr" in server.log, "reopened")
        assert "log reopened log=stdout" in (tmp_path / "err.1").read_text() + server.log  # that went first
        assert "not reopened" not in server.log
        server.process.send_signal(signal.SIGHUP)  # the fork server of the next generation, and this one's, too
        server.wait_for("reload finished generation=2")
        (worker,) = [each for each in server.process.children() if "worker 2.1 " in title(each)]
        worker.kill()
        server.wait_for("worker started worker=2.3")  # forked from the fork server
        _ask(port, "/second")
        server.wait_for("printed second", "out")
        server.wait_for("complained second")
        server.wait_for('"GET /second HTTP/1.1" 200', "out")
        assert "second" not in (tmp_path / "out.1").read_text() + (tmp_path / "err.1").read_text()


def test_a_worker_that_serves_writes_to_the_reopened_files(tmp_path: Path) -> None:
    (tmp_path / "site_app.py").write_text(PRINTS)
    with daemon(tmp_path) as server:
        port = server.port
        for name in ("out", "err"):
            (tmp_path / name).rename(tmp_path / f"{name}.1")
        server.process.send_signal(signal.SIGUSR1)
        until(lambda: (tmp_path / "err").exists() and "log reopened log=stderr" in server.log, "reopened")

        def arrives() -> bool:  # the worker learns of it by a message
            _ask(port, "/second")
            return "complained second" in server.log and '"GET /second' in (tmp_path / "out").read_text()

        until(arrives, "lines in the new files")
        server.wait_for("printed second", "out")


def test_what_cannot_be_reopened_stays_and_the_log_says_so(tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    logs.mkdir()
    write(tmp_path, "1")
    with Server(APP, "-s", "1", "--stderr", "logs/err", "--pidfile", "pid", cwd=tmp_path, ready=False) as server:
        log = logs / "err"
        until(lambda: log.exists() and " ready url=" in log.read_text(), "ready")
        logs.rename(tmp_path / "elsewhere")
        server.signal(signal.SIGUSR1)
        moved = tmp_path / "elsewhere" / "err"
        said = (
            f'log cannot be opened log=stderr file={log} reason="No such file or directory" meanwhile="the file before"'
        )
        until(lambda: said in moved.read_text(), "the line in the file before")
        assert server.err.since() == []


# Refusals ------------------------------------------------------------------------------------------------------------


def test_broken_code_is_answered_with_its_traceback_and_status(tmp_path: Path) -> None:
    write(tmp_path, "1", "raise LookupError('no such table')")
    answer = command(tmp_path, APP, "-d", "--pidfile", "pid", "--stderr", "err")
    assert answer.status == 3
    assert "LookupError: no such table" in answer.err
    assert answer.err.splitlines()[-1].startswith("spawn: ")
    assert answer.err.splitlines()[-1] in (tmp_path / "err").read_text()
    assert not (tmp_path / "pid").exists()


@pytest.mark.parametrize("mode", ["dev", "git"])
def test_no_daemon_waits_for_code_to_be_mended(tmp_path: Path, mode: str) -> None:
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    write(tmp_path, "1", "raise LookupError('no such table')")
    answer = command(tmp_path, APP, "-d", "--reload", mode, "--pidfile", "pid")
    assert answer.status == 3
    assert not (tmp_path / "pid").exists()


def test_a_daemon_that_is_killed_before_it_is_ready_is_noticed(tmp_path: Path) -> None:
    with Gate(tmp_path) as gate:
        write(tmp_path, "1", waits_at(gate))
        line = [sys.executable, "-m", "spawning", "--port", "0", APP, "-d", "--pidfile", "pid"]
        with subprocess.Popen(
            line, cwd=tmp_path, env=_inherited_environment(), stderr=subprocess.PIPE, text=True
        ) as typed:
            gate.wait_entered()
            pid = int(until(lambda: _text(tmp_path / "pid"), "a pidfile"))
            os.kill(pid, signal.SIGKILL)
            assert typed.wait(DEADLINE) == 70
            assert typed.stderr is not None
            assert typed.stderr.read() == "spawn: the daemon has ended before it was ready, without saying why\n"


def test_an_interrupted_command_ends_the_daemon(tmp_path: Path) -> None:
    with Gate(tmp_path) as gate:
        write(tmp_path, "1", waits_at(gate))
        line = [sys.executable, "-m", "spawning", "--port", "0", APP, "-d", "--pidfile", "pid"]
        with subprocess.Popen(line, cwd=tmp_path, env=_inherited_environment()) as typed:
            gate.wait_entered()
            pid = int(until(lambda: _text(tmp_path / "pid"), "a pidfile"))
            typed.send_signal(signal.SIGINT)
            assert typed.wait(DEADLINE) == 130
            until(lambda: not psutil.pid_exists(pid), "the daemon has ended")


BAD = [
    (["--stderr", "absent/err"], {}, "option --stderr: cannot write absent/err: No such file or directory"),
    (["--stdout", "."], {}, "option --stdout: cannot write .: Is a directory"),
    (["--stdout", "new", "--stderr", "absent/err"], {}, "option --stderr: cannot write absent/err: No such file"),
    (["--stderr", "fifo"], {}, "option --stderr: cannot write fifo: it is a FIFO that nobody reads"),
    (["--host", "192.0.2.1"], {}, "option --host: '192.0.2.1' is not an address of this machine"),
    (["--user", "no-such-user"], {}, "option --chuid: there is no user 'no-such-user'; name one of this machine"),
    (
        [],
        {"NOTIFY_SOCKET": "/run/x"},
        "option --daemonize: a service manager runs this already, and would lose it; leave the option out",
    ),
    ([], {"LISTEN_FDS": "1"}, "option --daemonize: a service manager runs this already"),
    ([], {"SPAWNING_DAEMONIZE": "maybe"}, "environment variable SPAWNING_DAEMONIZE: 'maybe' is not true or false"),
]


@pytest.mark.parametrize(("arguments", "env", "message"), BAD, ids=[row[2][:44] for row in BAD])
def test_what_the_person_has_to_change(tmp_path: Path, arguments: list[str], env: dict[str, str], message: str) -> None:
    write(tmp_path, "1")
    os.mkfifo(tmp_path / "fifo")
    daemonizes = [] if "SPAWNING_DAEMONIZE" in env else ["-d"]
    answer = command(tmp_path, APP, *daemonizes, "--pidfile", "pid", *arguments, env=env)
    assert answer.err.startswith(f"spawn: {message}"), answer
    assert answer.err.count("\n") == 1
    assert answer.status == 2
    assert {each.name for each in tmp_path.iterdir()} - {"__pycache__"} == {"site_app.py", "fifo"}


def test_a_taken_port_is_answered(tmp_path: Path) -> None:
    write(tmp_path, "1")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        answer = command(tmp_path, APP, "-d", "--port", str(port), "--pidfile", "pid")
    assert answer.err.startswith(f"spawn: option --port: port {port} of 127.0.0.1 is taken by ")
    assert answer == Finished(2, "", answer.err)
    assert not (tmp_path / "pid").exists()


def test_the_first_process_of_a_container_is_no_daemon(tmp_path: Path) -> None:
    write(tmp_path, "1")
    line = ["unshare", "--user", "--map-root-user", "--pid", "--fork", sys.executable, "-m", "spawning", APP, "-d"]
    done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, timeout=DEADLINE, check=False)
    assert done.stderr.startswith("spawn: option --daemonize: a container ends with its first process, which this is")
    assert done.returncode == 2


def test_check_config_looks_at_the_files(tmp_path: Path) -> None:
    write(tmp_path, "1")
    finished = run(APP, "--check-config", "-d", "--stderr", "absent/err", cwd=tmp_path)
    assert finished.status == 2
    assert finished.err.startswith("spawn: option --stderr: cannot write absent/err: absent does not exist")


def _text(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def _ask(port: int, path: str) -> None:
    with Client(port) as client:
        assert client.get(path, "Connection: close").status == 200
