"""What an application may do to its process while it is imported, and what it is told."""

import os
import signal
import socket
from pathlib import Path

import pytest

from integration.client import fetch
from integration.server import Server, run, until
from integration.sites import version, write

APP = "site_app:application"
PRELOAD = pytest.mark.parametrize("preload", [[], ["--no-preload"]], ids=["preload", "no-preload"])


@PRELOAD
@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (
            "from gevent import monkey\nmonkey.patch_all()",
            "gevent has patched the standard library during the import ({file}, line 1): Spawning serves with threads"
            " of the operating system, so leave out the monkey.patch_all()",
        ),
        (
            "import os\nimport gevent.monkey; gevent.monkey.patch_thread()",
            "gevent has patched the standard library during the import ({file}, line 2): ",
        ),
        (
            "import gevent.monkey\ngevent.monkey.patch_socket()",
            "gevent has patched the standard library during the import ({file}, line 1): ",
        ),
        (
            "import warnings; warnings.simplefilter('ignore')\nimport eventlet\neventlet.monkey_patch()",
            "eventlet has patched the standard library during the import ({file}, line 2): Spawning serves with threads"
            " of the operating system, so leave out the monkey_patch()",
        ),
        (
            "import os\nos.closerange(3, 500)",
            "the application has closed descriptors that it had not opened, during its import (os.closerange?)",
        ),
        (
            "import os\nos.closerange(3, 500)\nkept = [open('/dev/null') for _ in range(30)]",
            "the application has closed descriptors that it had not opened, during its import (os.closerange?)",
        ),
        (
            "import sys\nsys.setrecursionlimit(99)",
            "the application has set the recursion limit to 99 (sys.setrecursionlimit); less than 200 leaves no room",
        ),
        ("raise GeneratorExit('no')", "cannot import site_app (wanted for site_app:application): GeneratorExit: no"),
        ("raise KeyboardInterrupt", "cannot import site_app (wanted for site_app:application): KeyboardInterrupt"),
        ("raise BaseException('no')", "cannot import site_app (wanted for site_app:application): BaseException: no"),
    ],
    ids=["gevent", "patch_thread", "patch_socket", "eventlet", "closerange", "reopened", "recursion", "generator-exit",
         "interrupt", "base-exception"],
)  # fmt: skip
def test_what_cannot_be_served_is_refused_in_one_line(
    tmp_path: Path, preload: list[str], code: str, reason: str
) -> None:
    file = write(tmp_path, "1", before=code)
    finished = run(APP, "-s", "2", *preload, cwd=tmp_path)
    assert finished.status == 3
    *details, line = finished.err.splitlines()
    assert line.startswith(f"spawn: {reason.format(file=file)}"), finished.err
    assert "/src/spawning/" not in finished.err
    assert not details or (details[0].startswith("Traceback") and "raise" in code)


def test_a_reload_to_what_cannot_be_served_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "1")
    with Server(APP, "-s", "1", cwd=tmp_path) as server:
        write(tmp_path, "2", before="import os\nos.closerange(3, 500)")
        assert not server.reload()
        server.wait_for_log(r'reload refused generation=2 reason="the application has closed descriptors')
        assert version(server.port) == "1"


HOOKS = """\
import os, threading
def note(what):
    with open({log!r}, "a") as file:
        file.write(f"{{what}} {{os.getpid()}}\\n")
def child():
    note("child")
    threading.Thread(target=note, args=("thread",)).start()
os.register_at_fork(before=lambda: note("before"), after_in_parent=lambda: note("parent"), after_in_child=child)
"""


def test_hooks_of_a_fork_run_once_a_worker(tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    write(tmp_path, "1", before=HOOKS.format(log=str(notes)))
    with Server(APP, "-s", "2", cwd=tmp_path) as server:
        pids = {str(found.pid) for found in server.workers()}
        (fork_server,) = (str(found.pid) for found in server.fork_servers())
        found: dict[str, list[str]] = {}
        for line in notes.read_text().splitlines():
            what, pid = line.split()
            found.setdefault(what, []).append(pid)
        assert found["before"] == found["parent"] == [fork_server] * 2
        assert sorted(found["child"]) == sorted(found["thread"]) == sorted(pids)


def test_hooks_run_for_every_fork_of_the_application(tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    code = HOOKS.format(log=str(notes)) + "if not os.fork():\n    os._exit(0)\nos.wait()\n"
    write(tmp_path, "1", before=code)
    with Server(APP, "-s", "1", cwd=tmp_path):
        whats = [line.split()[0] for line in notes.read_text().splitlines()]
        assert [whats.count(each) for each in ("before", "parent", "child")] == [2, 2, 2]


FORKS = {
    "os.fork": "import os\npid = os.fork()\nif not pid:\n    import time\n    time.sleep(600)\n",
    "multiprocessing": "import multiprocessing, time\n"
    "child = multiprocessing.get_context('fork').Process(target=time.sleep, args=(600,), daemon=True)\n"
    "child.start()\npid = child.pid\n",
    "a thread": "import os, threading, time\npids = []\n"
    "def fork():\n    pids.append(os.fork())\n    if not pids[0]: time.sleep(600)\n"
    "thread = threading.Thread(target=fork)\nthread.start()\nthread.join()\npid = pids[0]\n",
    "Popen": "import subprocess\npid = subprocess.Popen(['sleep', '600'], close_fds=False).pid\n",
}


@pytest.mark.parametrize("kind", FORKS)
def test_a_process_of_the_import_holds_nothing_of_the_servers(tmp_path: Path, kind: str) -> None:
    """And a signal that ends programs ends it, as ``Process.terminate`` sends it."""
    write(tmp_path, "1", before=f"{FORKS[kind]}open('pid', 'w').write(str(pid))")
    with Server(APP, "-s", "1", cwd=tmp_path) as server:
        pid = int((tmp_path / "pid").read_text())
        sockets = [os.readlink(each) for each in Path(f"/proc/{pid}/fd").iterdir()]
        assert [each for each in sockets if each.startswith("socket:")] == []
        assert version(server.port) == "1"
        os.kill(pid, signal.SIGTERM)
        until(lambda: not alive(pid), "the child ends")
        assert server.reload()


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except FileNotFoundError:
        return False


def test_threads_of_the_import_are_told_of_once(tmp_path: Path) -> None:
    thread = "import threading\nthreading.Thread(target=threading.Event().wait, name={name!r}, daemon=True).start()"
    write(tmp_path, "1", before=thread.format(name="scheduler"))
    told = "threads that the application has started during its import run in the fork server, and in no worker"
    with Server(APP, "-s", "1", cwd=tmp_path) as server:
        server.wait_for_log(rf"WARNING {told} \(--no-preload\) generation=1 threads=scheduler$")
        assert server.reload()
        assert server.log().count(told) == 1
        write(tmp_path, "2", before=thread.format(name="another"))
        assert server.reload()
        server.wait_for_log(rf"{told} \(--no-preload\) generation=3 threads=another$")


def test_connections_of_the_import_are_told_of_once(tmp_path: Path) -> None:
    told = "connections that the application has opened during its import are shared by all workers"
    unix = str(tmp_path / "database")
    with socket.create_server(("127.0.0.1", 0)) as database, socket.socket(socket.AF_UNIX) as other:
        other.bind(unix)
        other.listen()
        port = database.getsockname()[1]
        code = (
            "import socket\n"
            f"kept = [socket.create_connection(('127.0.0.1', {port})), socket.socket(socket.AF_UNIX)]\n"
            f"kept[1].connect({unix!r})\n"
            "closed = socket.create_connection(kept[0].getpeername())\nclosed.close()\n"
            "kept += [*socket.socketpair(), socket.socket(type=socket.SOCK_DGRAM), socket.socket()]\n"
            "kept[-2].connect(kept[0].getpeername())\n"
        )
        write(tmp_path, "1", before=code)
        with Server(APP, "-s", "1", cwd=tmp_path) as server:
            server.wait_for_log(rf'WARNING {told}, .* generation=1 connections="{unix}, 127\.0\.0\.1:{port}"$')
            assert server.reload()
            assert server.log().count(told) == 1
        with Server(APP, "-s", "1", "--no-preload", cwd=tmp_path) as server:
            assert told not in server.log()


CHANGES = """\
import os, signal, socket, sys, locale, warnings
locale.setlocale(locale.LC_ALL, "C.UTF-8")
os.umask(0)
os.mkdir("elsewhere")
os.chdir("elsewhere")
for name in ("TERM", "INT", "QUIT", "HUP", "USR1", "USR2", "PIPE", "TTIN", "TTOU"):
    signal.signal(getattr(signal, f"SIG{name}"), signal.SIG_DFL)
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
sys.excepthook = sys.unraisablehook = print
"""


@PRELOAD
def test_what_the_application_changes_for_its_process_does_not_change_the_server(
    tmp_path: Path, preload: list[str]
) -> None:
    write(tmp_path, "1", before=CHANGES)
    with Server(APP, "-s", "1", *preload, cwd=tmp_path) as server:
        for found in [*server.workers(), *server.fork_servers()]:
            for signum in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGTTIN, signal.SIGPIPE):
                os.kill(found.pid, signum)
        with socket.create_connection(("127.0.0.1", server.port)) as gone:
            gone.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 100)
            gone.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        assert version(server.port) == "1"
        (tmp_path / "elsewhere").rmdir()
        write(tmp_path, "2")
        assert server.reload()
        assert version(server.port) == "2"
        (worker,) = server.wait_workers(1)
        os.kill(worker.pid, signal.SIGTERM)
        server.wait_for_log(r" worker (retired worker=2\.1 pid=\d+|died worker=2\.1 pid=\d+ status=0)$")
        assert fetch(server.port).text == "2"
        assert "signal=SIG" not in server.log()


def test_a_worker_can_be_ended_politely_whatever_the_application_does_with_signals(tmp_path: Path) -> None:
    write(tmp_path, "1", before=CHANGES)
    with Server(APP, "-s", "1", cwd=tmp_path) as server:
        os.kill(server.workers()[0].pid, signal.SIGTERM)
        server.wait_for_log(r" worker (retired worker=1\.1 pid=\d+|died worker=1\.1 pid=\d+ status=0)$")
        assert version(server.port) == "1"
