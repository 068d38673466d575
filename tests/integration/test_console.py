"""``spawnctl console`` (``--backdoor``): Python in a worker, for who may use the control socket."""

import contextlib
import json
import os
import pty
import re
import select
import signal
import socket
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Self

import pytest

from integration.client import fetch
from integration.control import spawnctl
from integration.server import DEADLINE, Finished, Server, _inherited_environment, until
from integration.sites import write

SITE = ("site_app:application", "-s", "1", "-l", "/dev/null")


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("site")
    write(directory, "1")
    return directory


@pytest.fixture(scope="module")
def control(directory: Path) -> Path:
    return directory / "ctl.sock"


@pytest.fixture(scope="module")
def server(directory: Path, control: Path) -> Iterator[Server]:
    with Server(*SITE, "--backdoor", "--control-socket", str(control), cwd=directory) as server:
        yield server


@pytest.fixture
def worker(server: Server) -> str:
    """Name the worker that serves."""
    (found,) = server.wait_workers(1)
    return found.name


class Talk:
    """The conversation without ``spawnctl``, as ``ipc/control.py`` has it."""

    def __init__(self, control: Path, worker: str) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(DEADLINE)
        self.sock.connect(str(control))
        self.said: IO[bytes] = self.sock.makefile("rb")
        self.send(command="console", worker=worker)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.said.close()
        self.sock.close()

    def send(self, **values: Any) -> None:
        self.sock.sendall(json.dumps(values).encode() + b"\n")

    def hear(self) -> Any:
        """Return what is said next; None: it has ended, perhaps without having read all."""
        line = b""
        with contextlib.suppress(ConnectionResetError):
            line = self.said.readline()
        return json.loads(line) if line else None

    def run(self, line: str) -> str:
        """Have a line executed at the prompt; return what is written."""
        self.send(line=line)
        return self.output()

    def output(self) -> str:
        """Return what is written up to the next prompt."""
        text = ""
        while "output" in (said := self.hear()):
            text += said["output"]
        assert "more" in said
        return text


@contextlib.contextmanager
def talk(control: Path, worker: str) -> Iterator[Talk]:
    """Converse, when the console before has ended."""

    def free() -> Talk | None:
        talking = Talk(control, worker)
        said = talking.hear()
        if "ok" in said:
            assert talking.hear() == {"more": False}
            return talking
        assert "has a console already" in said["error"]
        talking.__exit__()
        return None

    talking = until(free, "the end of the console before")
    assert talking is not None
    with talking:
        yield talking


def asked(control: Path, worker: str, code: str) -> Finished:
    """Run ``spawnctl console``, when the console before has ended."""

    def free() -> Finished | None:
        done = spawnctl("-S", control, "console", worker, stdin=code)
        return None if "has a console already" in done.err else done

    done = until(free, "the end of the console before")
    assert done is not None
    return done


# What is typed and what is written; None: whatever it is, the console goes on.
CODE = [
    ("1 + 1", "2\n"),
    ("x = 20\nx + 1\n_ * 2", "21\n42\n"),
    ("None", ""),
    ("for each in 'ab':\n    print(each)\n\nprint('c', end='')", "a\nb\nc"),
    ("if True:\n    7\n", "7\n"),
    ("application.__module__", "'site_app'\n"),
    ("settings.num_processes", "1\n"),
    ("type(worker).__name__", "'Worker'\n"),
    ("import sys; print('x', file=sys.stderr)", "x\n"),
    ("import sys; sys.stdout.writelines(['a', 'b'])", "ab"),
    ("import sys; sys.stdout.write(7)", None),
    ("import sys; sys.stdout.fileno()", "1\n"),
    ("import builtins; hasattr(builtins, '_')", "False\n"),
    ("import logging; logging.warning('hello')", "WARNING:root:hello\n"),
    ("1 +", None),
    ("1 1", None),
    ("def f(:\n1", None),
    ("\0", None),
    ("'\\ud800'", "'\\ud800'\n"),
    ("print('\\ud800')", "\ud800\n"),
    ("1/0", 'Traceback (most recent call last):\n  File "<console>", line 1, in <module>\nZeroDivisionError: '
     "division by zero\n"),
    ("class E(Exception):\n    def __str__(self):\n        raise self\n\nraise E", None),
    ("class R:\n    def __repr__(self):\n        raise KeyError\n\nR()", None),
    ("def f(): f()\n\nf()", None),
    ("raise BaseException", None),
    ("raise KeyboardInterrupt", None),
    ("print('x' * 100_000)", "x" * 100_000 + "\n"),
    ("quit", None),
]  # fmt: skip


def test_what_is_typed_is_executed(control: Path, worker: str) -> None:
    with talk(control, worker) as console:
        for code, shown in CODE:
            written = "".join(map(console.run, code.split("\n")))
            assert written == shown or shown is None, code
            assert console.run("") + console.run("7") == "7\n", code


@pytest.mark.parametrize("code", ["exit()", "exit(3)", "raise SystemExit", "import sys; sys.exit('x')"])
def test_the_code_ends_the_console_alone(server: Server, control: Path, worker: str, code: str) -> None:
    with talk(control, worker) as console:
        console.send(line=code)
        assert console.hear() == {"ended": ""}
        assert console.hear() is None
    assert fetch(server.port, "/").status == 200


@pytest.mark.parametrize(
    ("code", "shown"),
    [
        ("import os; os.getpid()\nif True:\n    print('\\x1b[2J', 'é')", "{pid}\n\\x1b[2J é\n"),
        ("1/0\nexit()\n7", 'Traceback (most recent call last):\n  File "<console>", line 1, in <module>\n'
         "ZeroDivisionError: division by zero\n"),
        ("", ""),
    ],
)  # fmt: skip
def test_the_command_without_a_terminal(server: Server, control: Path, worker: str, code: str, shown: str) -> None:
    (found,) = server.workers()
    assert asked(control, worker, code) == Finished(0, shown.format(pid=found.pid), "")
    server.wait_for_log(rf" WARNING console asked for worker={worker} pid={found.pid} user={os.geteuid()}$")
    server.wait_for_log(rf" WARNING console closed worker={worker} pid={found.pid}$")


def test_others_print_where_they_did(server: Server, control: Path, worker: str) -> None:
    with talk(control, worker) as console:
        code = "import threading, sys; t = threading.Thread(target=print, args=('to the log',)); t.start(); t.join()"
        assert console.run(code) == ""
        until(lambda: "to the log" in "\n".join(server.out.since()), "what another thread prints")
        assert console.run("kept = sys.stdout") == ""
        assert console.run("kept is sys.stdout") == "False\n"
        assert console.run("_ = kept.write('later')") == ""


def test_one_person_at_a_time(control: Path, worker: str) -> None:
    with talk(control, worker):
        done = spawnctl("-S", control, "console", worker, stdin="1")
        assert done.status == 1
        assert done.err.startswith(f"spawnctl: worker {worker} has a console already")


def test_who_leaves_interrupts_what_runs(server: Server, control: Path, worker: str) -> None:
    with talk(control, worker) as console:
        console.send(line="while True: pass")
    with talk(control, worker) as console:
        console.send(line="import itertools; [print('x' * 1000) for _ in itertools.count()]")  # and nobody reads
    assert fetch(server.port, "/").status == 200


def test_an_interrupt(control: Path, worker: str) -> None:
    with talk(control, worker) as console:
        console.send(interrupt=True)  # of nothing
        assert console.run("7") == "7\n"
        for code in ("while True: pass", "while True: print(end='.')"):
            console.send(line=f"print('!'); exec({code!r})")
            assert "!" in console.hear()["output"]
            console.send(interrupt=True)
            assert console.output().endswith("KeyboardInterrupt\n")
        console.run("def stubborn():")
        for line in (" try:", "  print('!')", "  while True: pass", " except KeyboardInterrupt: print('caught')"):
            assert console.run(line) == ""
        assert console.run("") == ""
        console.send(line="stubborn()")
        assert console.hear() == {"output": "!"}
        console.send(interrupt=True)
        assert console.output().endswith("caught\n")
        for _ in range(200):  # just when it ends
            console.send(line="1")
            console.send(interrupt=True)
            assert console.output().endswith(("1\n", "KeyboardInterrupt\n"))
        assert console.run("7") == "7\n"


def test_a_statement_that_is_given_up(control: Path, worker: str) -> None:
    with talk(control, worker) as console:
        console.send(line="if True:")
        assert console.hear() == {"more": True}
        console.send(cancel=True)
        assert console.hear() == {"more": False}
        assert console.run("7") == "7\n"


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (b"{}" * 40_000 + b"\n", "a line of more than 65536 bytes"),
        (b"no json\n", "Expecting value"),
        (b"7\n", "not a JSON object"),
        (b"[" * 60_000 + b"\n", "nested too deeply"),
    ],
)
def test_what_is_no_line_ends_the_console(control: Path, worker: str, sent: bytes, reason: str) -> None:
    with talk(control, worker) as console:
        console.sock.sendall(sent)
        ended = console.hear()["ended"]
        assert reason in ended
        assert console.hear() is None


def test_a_statement_that_is_too_long(control: Path, worker: str) -> None:
    with talk(control, worker) as console:
        console.send(line="x = [")
        assert console.hear() == {"more": True}
        said: Any = {}
        for _ in range(20):
            console.send(line=f"'{'1' * 60_000}',")
            if "output" in (said := console.hear()):
                break
        assert said["output"] == "a statement of more than 1048576 characters is too much\n"
        assert console.hear() == {"more": False}
        assert console.run("7") == "7\n"


def test_a_process_that_the_code_forks_is_no_console(control: Path, worker: str) -> None:
    with talk(control, worker) as console:
        console.run("import os")
        assert console.run("pid = os.fork()") == ""
        assert console.run("os.waitpid(pid, 0)[1]") == "0\n"
        assert console.run("7") == "7\n"


@pytest.mark.parametrize(
    ("named", "line"),
    [("9.9", r"no worker 9\.9: there are \d+\.1"), ("status", "no worker status: there are "), ("1.1.1", "no worker ")],
)
def test_a_worker_that_is_not_there(server: Server, control: Path, named: str, line: str) -> None:
    done = spawnctl("-S", control, "console", named, stdin="1")
    assert done.status == 1
    assert done.err.startswith("spawnctl: ")
    assert re.search(line, done.err)


def test_it_ends_with_the_worker(server: Server, control: Path, worker: str) -> None:
    (found,) = server.workers()
    command = [sys.executable, "-m", "spawning.ctl", "-S", str(control), "console", worker]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=_inherited_environment()
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdin.write(b"7\n")
        process.stdin.flush()
        assert process.stdout.readline() == b"7\n"
        os.kill(found.pid, signal.SIGKILL)
        process.stdin.write(b"8\n")
        process.stdin.flush()
        assert process.wait(DEADLINE) == 1
        assert process.stderr.read().decode() == f"spawnctl: worker {worker} has ended\n"
    server.wait_workers(1)


def test_a_reload_does_not_wait_for_it(server: Server, control: Path) -> None:
    (found,) = server.wait_workers(1)
    with talk(control, found.name) as console:
        assert server.reload()
        assert console.hear() is None


def test_without_the_option_there_is_none_as_the_configuration_says(tmp_path: Path) -> None:
    write(tmp_path, "1")
    control = tmp_path / "ctl.sock"
    options = ["--control-socket", str(control), "--status", "127.0.0.1:0", "--status-token", "very-secret"]
    with Server(*SITE, *options, cwd=tmp_path) as server:
        shown = spawnctl("-S", control, "config")
        assert shown.status == 0
        settings = tomllib.loads(shown.out)
        assert (settings["app"], settings["processes"], settings["backdoor"]) == (SITE[0], 1, False)
        assert "\nprocesses = 1  # option --processes\n" in shown.out
        assert "\n# status-token is hidden  # option --status-token\n" in shown.out
        assert "very-secret" not in shown.out
        found = json.loads(spawnctl("-S", control, "config", "--json").out)
        assert (found["num_processes"], found["status_token"]) == (1, "(hidden)")
        done = spawnctl("-S", control, "console", server.workers()[0].name, stdin="1")
        assert done.status == 1
        assert done.err == "spawnctl: there are no consoles here: the server was started without --backdoor\n"
        assert done.out == ""


def test_at_a_terminal(server: Server, control: Path) -> None:
    (found,) = server.wait_workers(1)
    command = [sys.executable, "-m", "spawning.ctl", "-S", str(control), "console", found.name]
    master, slave = pty.openpty()
    seen = ""

    def wait_for(text: str) -> None:
        nonlocal seen
        end = time.monotonic() + DEADLINE
        while text not in seen:
            assert select.select([master], [], [], max(0.0, end - time.monotonic()))[0], seen
            seen += os.read(master, 65536).decode("utf-8", "replace")
        seen = seen.partition(text)[2]

    def interrupt() -> None:
        """Press Ctrl-C until it is seen: readline does not notice one that comes right before it waits."""
        nonlocal seen
        end = time.monotonic() + DEADLINE
        while "KeyboardInterrupt\r\n>>> " not in seen:
            assert time.monotonic() < end, seen
            os.write(master, b"\x03")
            while select.select([master], [], [], 1.0)[0]:
                seen += os.read(master, 65536).decode("utf-8", "replace")
        seen = ""

    with subprocess.Popen(
        ["setsid", "--ctty", *command], stdin=slave, stdout=slave, stderr=slave, env=_inherited_environment()
    ) as process:
        try:
            wait_for(f"in worker {found.name}, pid {found.pid}; there are application, settings, worker.")
            wait_for(">>> ")
            os.write(master, b"print('a' 'b')\n")
            wait_for("\nab\r\n>>> ")
            os.write(master, b"if True:\n")
            wait_for("... ")
            interrupt()
            os.write(master, b"exec('print(1 + 1)\\nwhile True: pass')\n")
            wait_for("\n2\r\n")
            os.write(master, b"\x03")
            wait_for("KeyboardInterrupt\r\n>>> ")
            os.write(master, b"\x04")
            assert process.wait(DEADLINE) == 0
        finally:
            process.kill()
            os.close(master)
            os.close(slave)


GREENLETS = [
    ("1 + 1", "2\n"),
    ("def f():\n    raise KeyError('x')\n\nf()", None),
    ("import time; time.sleep(0.01); 'slept'", "'slept'\n"),
    ("import threading; t = threading.Thread(target=print, args=('here',)); t.start(); t.join()", "here\n"),
    ("import gevent; gevent.spawn(lambda: 6 * 7).get()", "42\n"),
    ("import socket; a, b = socket.socketpair(); a.send(b'x'); b.recv(1)", "1\nb'x'\n"),
    ("import queue; q = queue.Queue(); q.put(3); q.get()", "3\n"),
    (
        "import subprocess, sys; subprocess.run([sys.executable, '-c', ''])",
        None,
    ),  # gevent's children are the main thread's
]


def test_with_greenlets(directory: Path, tmp_path: Path) -> None:
    """The console has threads of its own: code that waits there, in patched calls too, waits beside the requests."""
    control = tmp_path / "ctl.sock"
    options = ("-t", "0", "--backdoor", "--control-socket", str(control))
    with Server(*SITE, *options, cwd=directory) as server:
        (found,) = server.wait_workers(1)
        with talk(control, found.name) as console:
            for code, shown in GREENLETS:
                written = "".join(map(console.run, code.split("\n")))
                assert written == shown or shown is None, code
                assert fetch(server.port, "/").status == 200
            for code in ("while True: pass", "import time\nwhile True: time.sleep(0.01)"):
                console.send(line=f"print('!'); exec({code!r})")
                assert "!" in console.hear()["output"]
                assert fetch(server.port, "/").status == 200
                console.send(interrupt=True)
                assert console.output().endswith("KeyboardInterrupt\n")
        assert asked(control, found.name, "settings.threadpool_workers") == Finished(0, "0\n", "")
        assert server.reload()
        with talk(control, "2.1") as console:
            assert console.run("1 + 1") == "2\n"
