"""``spawnctl`` and the control socket: the real command beside a real server."""

import contextlib
import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from integration.control import spawnctl
from integration.gate import Gate
from integration.server import DEADLINE, Server, run, until
from integration.sites import held, version, waits_at, write
from spawning import ctl

APP = "site_app:application"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ctl.sock"


def serve(path: Path, *options: str, app: str = APP) -> Server:
    return Server(app, "-s", "2", "-l", "/dev/null", "--control-socket", str(path), *options, cwd=path.parent)


def status(path: Path) -> Any:
    answer = spawnctl("-S", path, "status", "--json")
    assert answer.status == 0, answer.err
    return json.loads(answer.out)


# Status, scale, stop -------------------------------------------------------------------------------------------------


def test_status_scale_and_stop(path: Path) -> None:
    write(path.parent, "1")
    with serve(path, "-v") as server:
        server.wait_for_log(rf" DEBUG control socket path={re.escape(str(path))}$")
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert version(server.port) == "1"
        found = status(path)
        assert (found["pid"], found["address"], found["service"], found["serving"]) == (
            server.pid,
            server.url,
            "run",
            1,
        )
        (generation,) = found["generations"]
        assert (generation["number"], generation["state"], generation["trigger"]) == (1, "serving", "start")
        workers = {(worker["name"], worker["pid"], worker["state"]) for worker in generation["workers"]}
        assert workers == {(worker.name, worker.pid, "serving") for worker in server.workers()}
        until(
            lambda: sum(each["requests"] or 0 for each in status(path)["generations"][0]["workers"]) == 1, "a request"
        )
        assert f"pid {server.pid}, {server.url}, up " in spawnctl("-S", path, "status").out
        assert spawnctl("-S", path, "scale", "3").out == "3 workers wanted\n"
        server.wait_workers(3)
        assert spawnctl("-S", path, "scale", "0").err == "spawnctl: scale: 0 is not a whole number from 1 to 1024\n"
        stopped = spawnctl("-S", path, "stop", "--wait")
        assert (stopped.status, stopped.out) == (0, "stopped\n")
        server.wait_for_log(r" stopping trigger=spawnctl$")
        assert server.wait() == 0
        assert not path.exists()


def test_servers_are_found_by_their_address(tmp_path: Path) -> None:
    write(tmp_path, "1")
    env = {"SPAWNING_CONTROL_DIRECTORY": str(tmp_path / "spawning")}
    with Server(APP, "-s", "1", cwd=tmp_path, env=env) as one:
        found = spawnctl("status", "--json", env=env)
        assert json.loads(found.out)["pid"] == one.pid
        assert stat.S_IMODE((tmp_path / "spawning").stat().st_mode) == 0o700
        with Server(APP, "-s", "1", cwd=tmp_path, env=env) as two:
            lost = spawnctl("status", env=env)
            assert lost.status == 2
            assert re.fullmatch(r"spawnctl: several servers are running \(.*\): say which with .*\n", lost.err)
            found = spawnctl("-a", f"127.0.0.1:{two.port}", "status", "--json", env=env)
            assert json.loads(found.out)["pid"] == two.pid
            assert spawnctl("-a", "127.0.0.1:1", "status", env=env).status == 2
        assert spawnctl("stop", env=env).out == "stopping\n"
        assert one.wait() == 0
    assert list((tmp_path / "spawning").iterdir()) == []


def test_each_way_to_say_which_server_is_meant(path: Path) -> None:
    write(path.parent, "1")
    with serve(path) as server:
        for option in ("--socket", "-S"):
            found = spawnctl(option, path, "status", "--json")
            assert json.loads(found.out)["pid"] == server.pid
        missed = spawnctl("--socket", path.with_name("other.sock"), "status")
        assert missed.status == 2
        assert re.fullmatch(r"spawnctl: .*other\.sock.*\n", missed.err)


# Reload --------------------------------------------------------------------------------------------------------------


def test_reload_waits_for_the_end_and_says_how_it_went(path: Path) -> None:
    write(path.parent, "1")
    with serve(path) as server:
        write(path.parent, "2")
        done = spawnctl("-S", path, "reload", "--wait")
        assert done.status == 0
        assert re.fullmatch(r"generation 2 serves, after \d+\.\d{3} s\n", done.out)
        assert "generation 2: loading\n" in done.err
        assert "generation 2: serves, and is watched for 10 s\n" in done.err
        assert version(server.port) == "2"
        (path.parent / "site_app.py").write_text("import nothing_of_that_name\n")
        refused = spawnctl("-S", path, "reload", "--wait")
        assert refused.status == 1
        assert "ModuleNotFoundError: No module named 'nothing_of_that_name'\n" in refused.err
        assert refused.err.splitlines()[-1].startswith("spawnctl: generation 3 was refused: ")
        assert status(path)["last_refusal"]["generation"] == 3
        assert "ModuleNotFoundError: No module named 'nothing_of_that_name'\n" in spawnctl("-S", path, "status").out
        assert version(server.port) == "2"
        write(path.parent, "4")
        assert spawnctl("-S", path, "reload").out == "generation 4 was asked for\n"
        server.wait_for_log(r" reload finished generation=4 ")


def test_who_waits_for_a_reload_waits_for_the_newer_one_that_replaces_it(path: Path) -> None:
    write(path.parent, "1")
    with serve(path) as server:
        write(
            path.parent, "2", before="import sys, threading\nprint('hangs', file=sys.stderr)\nthreading.Event().wait()"
        )
        command = [sys.executable, "-m", "spawning.ctl", "-S", str(path), "reload", "--wait"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as waiting:
            server.wait_for_log("^hangs$")
            write(path.parent, "3")
            server.signal(signal.SIGHUP)
            out, err = waiting.communicate(timeout=DEADLINE)
        assert waiting.returncode == 0
        assert out.startswith("generation 3 serves")
        assert "generation 2: replaced by generation 3\n" in err


# Requests and stacks -------------------------------------------------------------------------------------------------


def test_requests_and_stacks_of_a_worker(gate: Gate, tmp_path: Path) -> None:
    path = tmp_path / "ctl.sock"
    with Server("basics.application", "-s", "1", "-t", "2", "--control-socket", str(path)) as server:
        assert spawnctl("-S", path, "requests").out == "no request is executing\n"
        with held(gate, server.port) as client, held(gate, server.port) as other:
            found = json.loads(spawnctl("-S", path, "requests", "--json").out)
            ((name, requests),) = ((worker["name"], worker["requests"]) for worker in found["workers"])
            assert name == "1.1"
            assert [(each["method"], each["path"], each["address"]) for each in requests] == [
                ("GET", "/hold", "127.0.0.1")
            ] * 2
            shown = spawnctl("-S", path, "stacks", "1.1")
            assert shown.out.count("in hold\n") == 2
            assert "MainThread (" in shown.out
            gate.open(2)
            assert [each.read().status for each in (client, other)] == [200, 200]


def test_a_worker_that_does_not_answer_is_named(path: Path) -> None:
    write(path.parent, "1")
    with serve(path) as server:
        stuck = server.workers()[0]
        os.kill(stuck.pid, signal.SIGSTOP)
        try:
            assert f"worker {stuck.name} has not answered\n" in spawnctl("-S", path, "requests").out
        finally:
            os.kill(stuck.pid, signal.SIGCONT)


# What goes wrong -----------------------------------------------------------------------------------------------------


def one_line(*args: str | Path) -> str:
    """Run what must fail, and give its one line."""
    done = spawnctl(*args)
    assert done.status != 0
    assert done.out == ""
    assert done.err.startswith("spawnctl: ")
    assert done.err.count("\n") == 1
    return done.err.removeprefix("spawnctl: ").rstrip()


def test_without_a_server(path: Path) -> None:
    assert one_line("-S", path, "status") == f"no server is running: {path} does not exist"
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))
    assert one_line("-S", path, "status") == f"no server is running: nobody listens on {path} any more"
    assert one_line("-a", "nonsense", "status") == "option --address: 'nonsense' is not HOST:PORT or unix:/path"
    assert one_line("nonsense").startswith(
        "there is no command nonsense: there are config, console, log, logs, reload, "
    )
    assert one_line("scale", "many").startswith("Invalid value for 'WORKERS'")


def test_unknown_worker(path: Path) -> None:
    write(path.parent, "1")
    with serve(path):
        assert one_line("-S", path, "stacks", "9.9") == "no worker 9.9: there are 1.1, 1.2"
        assert one_line("-S", path, "stacks", "x") == "no worker x: there are 1.1, 1.2"


@contextlib.contextmanager
def another_user(path: Path) -> Iterator[None]:
    """Be somebody else, which only root can; otherwise the file is made as inaccessible as it would be."""
    if os.geteuid() != 0:
        path.chmod(0)
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_another_user(capsys: pytest.CaptureFixture[str]) -> None:
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "ctl.sock"
        write(path.parent, "1")
        path.parent.chmod(0o755)
        with serve(path):
            with another_user(path):
                assert ctl.main(["-S", str(path), "status"]) == 2
            assert capsys.readouterr().err == f"spawnctl: {path} belongs to another user; be that user, or root\n"
            path.chmod(0o666)  # somebody has opened it by mistake
            with another_user(path):
                ctl.main(["-S", str(path), "status"])
            assert "belongs to another user" in capsys.readouterr().err


QUESTIONS = [
    (b"nonsense\n", "the question is not a line of JSON"),
    (b"[]\n", "the question is not a line of JSON"),
    (b"\xff\n", "the question is not a line of JSON"),
    (b"[" * 60_000 + b"\n", "the question is not a line of JSON"),
    (b'{"a":' * 10_000 + b"\n", "the question is not a line of JSON"),
    (b'{"command": ' + b"[" * 60_000 + b"}\n", "the question is not a line of JSON"),
    (b"{}\n", "unknown command '': there are status, "),
    (b'{"command": ["fly"]}\n', "the command is not a text"),
    (b'{"command": "fly"}\n', "unknown command 'fly': there are status, "),
    (b'{"command": "\\ud800"}\n', "unknown command '\\ud800': there are status, "),
    (b'{"command": "scale", "workers": []}\n', "scale: [] is not a whole number"),
    (b'{"command": "scale", "workers": true}\n', "scale: 'True' is not a whole number"),
    (b'{"command": "scale", "workers": 1e400}\n', "scale: inf is not a whole number"),
    (b'{"command": "wait", "generation": true}\n', "generation is not a number"),
    (b'{"command": "wait", "generation": "1"}\n', "generation is not a number"),
    (b'{"command": "wait", "generation": null}\n', "generation is not a number"),
    (b'{"command": "stacks", "worker": {"1": 1}}\n', "no worker {'1': 1}: there are "),
    # at each depth around the interpreter's limit either the line cannot be read or the error cannot be written
    *(
        (b'{"command": "%s": %s}\n' % (name, b"[" * depth + b"]" * depth), "")
        for name in (b'scale", "workers', b'stacks", "worker', b'wait", "generation')
        for depth in range(100, 1000, 7)
    ),
]


def asked(path: Path, question: bytes) -> Any:
    """Send bytes to a control socket, half-close, and return the last line of the answer."""
    with socket.socket(socket.AF_UNIX) as sock, sock.makefile("rb") as reader:
        sock.settimeout(DEADLINE)
        sock.connect(str(path))
        sock.sendall(question)
        sock.shutdown(socket.SHUT_WR)  # who half-closes is answered
        return json.loads(reader.read().splitlines()[-1])


def test_whatever_is_asked_is_answered_and_the_server_goes_on(basics_socket: Path) -> None:
    for question, error in QUESTIONS:
        assert asked(basics_socket, question)["error"].startswith(error), question[:200]
    assert spawnctl("-S", basics_socket, "status").status == 0


def listens(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as sock:
        return sock.connect_ex(str(path)) == 0


def test_whatever_is_asked_during_the_first_import_is_answered(gate: Gate, path: Path) -> None:
    write(path.parent, "1", before=waits_at(gate))
    with Server(APP, "-s", "1", "--control-socket", str(path), cwd=path.parent, ready=False) as server:
        gate.wait_entered()
        until(lambda: listens(path), "the control socket")  # it is made while the import begins
        for question, error in QUESTIONS:
            assert asked(path, question)["error"].startswith(error), question[:200]
        gate.open()
        server.wait_ready()
        assert version(server.port) == "1"
        assert "Traceback" not in server.log()


class Waiting:
    """A client whose question has been understood, and who waits for the end."""

    def __init__(self, path: Path, question: bytes) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(DEADLINE)
        self.sock.connect(str(path))
        self.sock.sendall(question)
        self.reader = self.sock.makefile("rb")
        self.first = json.loads(self.reader.readline())

    def end(self) -> Any:
        lines = self.reader.read().splitlines()
        self.sock.close()
        return json.loads(lines[-1]) if lines else self.first


def test_eighty_who_wait_are_all_answered(gate: Gate, path: Path) -> None:
    write(path.parent, "1")
    with serve(path):
        write(path.parent, "2", before=waits_at(gate))
        waiting = [Waiting(path, b'{"command": "reload", "wait": true}\n') for _ in range(80)]
        assert all("progress" in each.first for each in waiting)
        gate.open(80)
        assert ["ok" in each.end() for each in waiting] == [True] * 80


def test_who_is_too_many_is_told_and_nobody_else_is_forgotten(gate: Gate, path: Path) -> None:
    """The bound follows from the descriptors that the controller may have."""
    write(path.parent, "1")
    limited = ["sh", "-c", 'ulimit -n 64; exec "$@"', "sh"]
    spawn = [sys.executable, "-m", "spawning", "--port", "0", "-s", "1", "-l", "/dev/null"]
    command = [*limited, *spawn, "--control-socket", str(path), APP]
    with Server(command=command, cwd=path.parent):
        write(path.parent, "2", before=waits_at(gate))
        waiting = [Waiting(path, b'{"command": "reload", "wait": true}\n') for _ in range(16)]
        error = asked(path, b'{"command": "status"}\n')["error"]
        assert error == "16 others wait for an answer, which is the most: ask again later"
        gate.open(80)
        assert ["ok" in each.end() for each in waiting] == [True] * 16
        assert status(path)["serving"] > 1


def test_clients_that_say_nothing_or_too_much(basics_socket: Path) -> None:
    with contextlib.ExitStack() as stack:
        for number in range(100):
            sock = stack.enter_context(socket.socket(socket.AF_UNIX))
            sock.settimeout(DEADLINE)
            sock.connect(str(basics_socket))
            if number % 2:
                with contextlib.suppress(OSError):
                    sock.sendall(b"x" * 100_000)
        assert spawnctl("-S", basics_socket, "status").status == 0


@pytest.fixture(scope="module")
def basics_socket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The control socket of a server that the tests of this module do not harm."""
    path = tmp_path_factory.mktemp("control") / "ctl.sock"
    with Server("basics.application", "-s", "1", "-l", "/dev/null", "--control-socket", str(path)):
        yield path


# Where the socket is -------------------------------------------------------------------------------------------------


def test_a_place_that_cannot_be_used(path: Path) -> None:
    write(path.parent, "1")
    for where, reason in (
        (path.parent / "site_app.py", "exists and is not a socket"),
        (path.parent / "none" / "x.sock", "No such file or directory"),
        (path.parent / ("x" * 120), "is too long for a socket"),
    ):
        done = run(APP, "--port", "0", "--control-socket", str(where), cwd=path.parent)
        assert done.status == 2
        assert done.err.splitlines()[-1].startswith("spawn: option --control-socket: ")
        assert reason in done.err


def test_the_socket_of_a_living_server_is_left_alone_and_that_of_a_dead_one_replaced(path: Path) -> None:
    write(path.parent, "1")
    with serve(path) as server:
        done = run(APP, "--port", "0", "--control-socket", str(path), cwd=path.parent)
        assert done.status == 2
        assert f"{path} belongs to a server that is alive" in done.err
        assert status(path)["pid"] == server.pid
        server.signal(signal.SIGKILL)
        server.wait_gone()
    assert path.exists()
    with serve(path) as server:
        assert status(path)["pid"] == server.pid


def test_over_an_upgrade_in_place_somebody_listens_all_the_time(path: Path) -> None:
    write(path.parent, "1")
    with serve(path) as server, ThreadPoolExecutor(1) as pool:
        inode, over = path.stat().st_ino, threading.Event()

        def ask() -> list[bytes]:
            """Ask again and again until it is over; who finds nobody raises, who is forgotten by the exec does not."""
            answers = []
            while not over.is_set():
                with socket.socket(socket.AF_UNIX) as sock, sock.makefile("rb") as reader:
                    sock.settimeout(DEADLINE)
                    sock.connect(str(path))
                    with contextlib.suppress(ConnectionError):
                        sock.sendall(b'{"command": "status"}\n')
                        answers.append(reader.read())
            return answers

        asking = pool.submit(ask)
        server.signal(signal.SIGUSR2)
        server.wait_for_log(r" reload finished generation=2 ")
        over.set()
        answers = asking.result()
        assert answers.count(b"") <= 1
        assert {json.loads(answer)["ok"]["serving"] for answer in answers if answer} >= {1}
        assert path.stat().st_ino == inode
        assert "WARNING" not in server.log()
        assert list(path.parent.glob(".*")) == []
        found = status(path)
        assert (found["pid"], found["serving"]) == (server.pid, 2)
        done = spawnctl("-S", path, "rollback", "--wait")
        assert (done.status, done.out.split(",")[0]) == (0, "generation 1 serves")
        assert version(server.port) == "1"


def test_a_control_socket_that_somebody_has_removed_is_there_again_after_an_upgrade(path: Path) -> None:
    write(path.parent, "1")
    with serve(path) as server:
        path.unlink()
        server.signal(signal.SIGUSR2)
        server.wait_for_log(r" reload finished generation=2 ")
        assert status(path)["pid"] == server.pid
        assert server.stop() == 0
        assert not path.exists()
