"""What cannot start says so in one line, with the right status, and leaves nothing behind."""

import contextlib
import fcntl
import os
import re
import signal
import socket
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from integration.gate import Gate
from integration.server import Server, run
from integration.sites import version, waits_at, write

APP = "site_app:application"


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    write(tmp_path, "1")
    pidfile = tmp_path / "pid"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        finished = run(APP, "--port", str(port), "--pidfile", str(pidfile), cwd=tmp_path)
    assert finished.status == 2
    expected = rf"spawn: option --port: port {port} of 127\.0\.0\.1 is taken by .* \(pid {os.getpid()}\)"
    assert re.fullmatch(expected, finished.err), finished.err
    assert not pidfile.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--host", "192.0.2.1"], "option --host: '192.0.2.1' is not an address of this machine"),
        (["--host", "no such host"], "option --host: cannot find the address of 'no such host'"),
        (["--pidfile", "absent/pid"], "option --pidfile: cannot write "),
        (["-l", "absent/log"], "option --access-log-file: cannot write absent/log: No such file or directory"),
        (["--reload", "dev", "-w", "absent"], "option --watch: {cwd}/absent does not exist, so it cannot be watched"),
    ],
    ids=["foreign-host", "unknown-host", "pidfile", "access-log", "watch"],
)
def test_what_the_person_has_to_change(tmp_path: Path, arguments: list[str], message: str) -> None:
    write(tmp_path, "1")
    finished = run(APP, *arguments, cwd=tmp_path)
    assert finished.status == 2
    assert finished.err.startswith(f"spawn: {message.format(cwd=tmp_path)}")
    assert "\n" not in finished.err


def test_a_pidfile_of_a_living_server_is_respected_and_that_of_a_killed_one_replaced(tmp_path: Path) -> None:
    write(tmp_path, "1")
    pidfile = tmp_path / "pid"
    with Server(APP, "-s", "1", "--pidfile", str(pidfile), cwd=tmp_path) as server:
        written = pidfile.stat()
        finished = run(APP, "--pidfile", str(pidfile), cwd=tmp_path)
        assert finished.status == 2
        assert f"belongs to process {server.pid}, which is alive" in finished.err
        assert pidfile.read_text() == f"{server.pid}\n"
        assert (pidfile.stat().st_ino, pidfile.stat().st_mtime_ns) == (written.st_ino, written.st_mtime_ns)
        server.signal(signal.SIGKILL)
        server.wait_gone()
    assert pidfile.exists()
    with Server(APP, "-s", "1", "--pidfile", str(pidfile), cwd=tmp_path) as server:
        assert pidfile.read_text() == f"{server.pid}\n"
    assert list(tmp_path.glob("*pid*")) == []


def test_a_free_threaded_interpreter_is_refused(tmp_path: Path) -> None:
    """One that says so: ``sitecustomize`` stands in for it."""
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys._is_gil_enabled = lambda: False\n")
    write(tmp_path, "1")
    finished = run(APP, cwd=tmp_path, env={"PYTHONPATH": str(tmp_path)})
    assert (finished.status, finished.out) == (2, "")
    reason = "this Python is free-threaded, which Spawning does not support: use another one, or set PYTHON_GIL=1"
    assert finished.err == f"spawn: {reason}"
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys._is_gil_enabled = lambda: True\n")
    with Server(APP, "-s", "1", cwd=tmp_path, env={"PYTHONPATH": str(tmp_path)}) as server:
        assert version(server.port) == "1"


NOBODY = 65534


@contextlib.contextmanager
def locked_by(user: int, path: Path) -> Iterator[None]:
    """Have a process of another user hold a lock of a file that it may only read; for who is not root, one of ours."""
    fd, (reader, writer) = os.open(path, os.O_RDONLY), os.pipe()
    pid = os.fork()
    if not pid:
        if os.geteuid() == 0:
            os.setuid(user)
        fcntl.flock(fd, fcntl.LOCK_EX)
        os.write(writer, b".")
        signal.pause()
    os.close(fd)
    try:
        assert os.read(reader, 1)
        yield
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(reader)
        os.close(writer)


@pytest.mark.parametrize("user", [NOBODY, 0], ids=["stranger", "root"])
def test_a_stale_pidfile_that_another_user_has_locked(tmp_path: Path, user: int) -> None:
    """Anybody who can read it can lock it, but that keeps nobody from starting; a lock of root's or our own does."""
    write(tmp_path, "1")
    pidfile = tmp_path / "pid"
    pidfile.write_text("1\n")
    with locked_by(user, pidfile):
        if user and os.geteuid() == 0:
            with Server(APP, "-s", "1", "--pidfile", str(pidfile), cwd=tmp_path) as server:
                assert pidfile.read_text() == f"{server.pid}\n"
                assert pidfile.stat().st_mode & 0o777 == 0o644
                assert "which is alive" in run(APP, "--pidfile", str(pidfile), cwd=tmp_path).err
            assert not pidfile.exists()
        else:
            assert "belongs to process 1, which is alive" in run(APP, "--pidfile", str(pidfile), cwd=tmp_path).err


def a_thread() -> Iterator[int]:
    """Have a thread, and the number of it, which ``kill`` takes for a process."""
    over = threading.Event()
    thread = threading.Thread(target=over.wait)
    thread.start()
    assert thread.native_id is not None
    yield thread.native_id
    over.set()
    thread.join()


def of_another_user() -> int:
    """Find a process that is not ours (root: not root's), or else that of all."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.NoSuchProcess):
            if process.uids().real != os.geteuid():
                return process.pid
    return 1


@pytest.mark.parametrize(
    "kind", ["other", "thread", "init", "user", "gone", "empty", "garbage", "nul", "0", "-1", "huge"]
)
def test_a_stale_pidfile_is_replaced_whatever_stands_in_it(tmp_path: Path, kind: str) -> None:
    write(tmp_path, "1")
    with contextlib.contextmanager(a_thread)() as thread:
        content = {
            "other": os.getpid(), "thread": thread, "init": 1, "user": of_another_user(), "empty": "",
            "gone": 4194305,  # above the largest pid there can be (PID_MAX_LIMIT)
            "garbage": "x" * 5000, "nul": "\0\0", "0": 0, "-1": -1, "huge": "9" * 5000,
        }[kind]  # fmt: skip
        pidfile = tmp_path / "pid"
        pidfile.write_text(f"{content}\n" if content != "" else "")
        with Server(APP, "-s", "1", "--pidfile", str(pidfile), cwd=tmp_path) as server:
            assert pidfile.read_text() == f"{server.pid}\n"
        assert list(tmp_path.glob("*pid*")) == []


GATED = """
from spawning.wsgi_factory import app_factory


def config_factory(config):
{wait}
    return {{**config, "app_factory": "spawning.wsgi_factory.app_factory"}}
"""


@pytest.mark.parametrize("stale", [True, False], ids=["stale", "none"])
def test_of_several_servers_that_want_a_pidfile_at_once_one_gets_it(tmp_path: Path, gate: Gate, stale: bool) -> None:
    """They are let go together, a moment before each of them looks at the file."""
    write(tmp_path, "1")
    (tmp_path / "gated.py").write_text(GATED.format(wait=textwrap.indent(waits_at(gate), "    ")))
    pidfile = tmp_path / "pid"
    if stale:
        pidfile.write_text(f"{os.getpid()}\n")
    arguments = (APP, "-s", "1", "--factory", "gated.config_factory", "--pidfile", str(pidfile))
    with contextlib.ExitStack() as stack:
        servers = [stack.enter_context(Server(*arguments, cwd=tmp_path, ready=False)) for _ in range(6)]
        gate.wait_entered(6)
        gate.open(6)
        ends = [server.wait_for_log(r" ready url=|^spawn: option --pidfile: .* belongs to ")[0] for server in servers]
        assert sum(" ready " in end for end in ends) == 1
        (one,) = (server for server, end in zip(servers, ends, strict=True) if " ready " in end)
        assert pidfile.read_text() == f"{one.pid}\n"
        assert [server.wait() for server in servers if server is not one] == [2] * 5
        assert pidfile.read_text() == f"{one.pid}\n"
        assert one.stop() == 0
        assert list(tmp_path.glob("*pid*")) == []


@pytest.mark.parametrize("preload", [[], ["--no-preload"]], ids=["preload", "no-preload"])
def test_an_application_that_does_not_import(tmp_path: Path, preload: list[str]) -> None:
    write(tmp_path, "1", before="raise RuntimeError('it will not be')")
    finished = run(APP, "-s", "2", *preload, cwd=tmp_path)
    assert finished.status == 3
    *traceback, line = finished.err.splitlines()
    assert traceback[0] == "Traceback (most recent call last):"
    assert f'  File "{tmp_path / "site_app.py"}", line 1, in <module>' in traceback
    assert traceback[-1] == "RuntimeError: it will not be"
    assert line.startswith("spawn: cannot import site_app")


def test_with_reload_a_first_start_that_fails_waits_for_the_change(tmp_path: Path) -> None:
    with Server(APP, "-s", "1", "--reload", "dev", cwd=tmp_path, ready=False) as server:
        server.wait_for_log(r" start refused, waiting for a change generation=1 reason=\"there is no module site_app")
        write(tmp_path, "1", before="raise RuntimeError('not yet')")
        server.wait_for_log(r" start refused, waiting for a change generation=\d reason=\".*not yet")
        write(tmp_path, "2")
        server.wait_ready()
        assert version(server.port) == "2"
        assert server.stop(signal.SIGTERM) == 0


def test_a_first_start_that_is_ended_is_no_reload(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "leave")
    write(tmp_path, "1", before="import sys\nprint('loading', file=sys.stderr)\nopen('leave').read()")
    with Server(APP, "-s", "1", cwd=tmp_path, ready=False) as server:
        server.wait_for_log("^loading$")
        server.signal(signal.SIGTERM)
        assert server.wait() == 0
        assert " INFO start abandoned generation=1\n" in f"{server.log()}\n"
        assert "reload" not in server.log()


def test_a_first_start_that_takes_too_long(tmp_path: Path) -> None:
    write(tmp_path, "1", before="import threading\nthreading.Event().wait()")
    finished = run(APP, "--boot-timeout", "0.3", cwd=tmp_path)
    assert finished.status == 3
    assert finished.err.endswith("spawn: the application was not ready within 0.3 s (--boot-timeout)")


def test_a_setting_of_the_factory_is_named_as_such(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(
        "def config_factory(args):\n    return {**args, 'app_factory': 'own.app', 'threadpool_workers': 'many'}\n"
    )
    finished = run(APP, "-f", "own.config_factory", cwd=tmp_path)
    assert finished.status == 2
    assert finished.err.startswith("spawn: factory own.config_factory, setting threadpool_workers: 'many' is not")
