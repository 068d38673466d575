"""A small application on the disk, a server that runs it, and all that can be done to both, for ``bench/reload.py``.

Everything stays on the loopback address; every wait is bounded; what was started is ended, by its session.
"""

import contextlib
import math
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

from bench import tree
from bench.reload_clients import LAST_REQUEST, Connection, Trouble
from bench.reload_servers import Server

WAIT = 8.0  # seconds for the new version to answer; then the case goes on without it
_START_SECONDS = 20.0

_APPLICATION = """\
import time
time.sleep({seconds})


def application(environ, start_response):
    {wait}start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "{length}")])
    return [b"{version}"]
"""

# What a service manager does: the process itself gets the listening socket as descriptor 3.
_ACTIVATE = """\
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()))
os.execvp(sys.argv[2], sys.argv[2:])
"""


class StartError(Exception):
    """The server does not answer after its start; the message has its last words."""


class Site:
    """The running server and its application.

    :param directory: for all files; the server runs in ``current`` below it, a link to the newest release.
    :param binaries: the directory with the servers' commands.
    :param wait: seconds that each request sleeps.

    ``killed`` is what each killed process held when it was killed: (when, port of the client) for each connection.
    After ``patient_until`` (monotonic seconds) nothing is waited for any more.
    """

    def __init__(self, server: Server, directory: Path, binaries: Path, port: int, wait: float = 0.0) -> None:
        self.server = server
        self.directory = directory
        self.port = port
        self.version = 0
        self.idle: list[Connection] = []
        self.killed: list[tuple[float, int]] = []
        self.patient_until = math.inf
        self._binaries = binaries
        self._wait = f"time.sleep({wait})\n    " if wait else ""
        self._sessions: list[int] = []
        self._process: subprocess.Popen[bytes] | None = None
        self._listener: socket.socket | None = None
        self.release()

    # The application -------------------------------------------------------------------------------------------------

    @property
    def current(self) -> Path:
        return self.directory / "current"

    def release(self) -> None:
        """Make a new version in a directory of its own and point the link there."""
        self.version += 1
        target = self.directory / f"release-{self.version}"
        target.mkdir()
        link = self.directory / "new"
        link.symlink_to(target.name)
        self._write(target, 0.0)
        link.rename(self.current)

    def edit(self, seconds: float = 0.0) -> None:
        """Make a new version in place, whose import takes so long."""
        self.version += 1
        self._write(self.current, seconds)

    def break_it(self) -> None:
        self._replace(self.current, "this does not compile\n")

    def _write(self, directory: Path, seconds: float) -> None:
        version = str(self.version)
        self._replace(
            directory, _APPLICATION.format(seconds=seconds, wait=self._wait, version=version, length=len(version))
        )

    def _replace(self, directory: Path, text: str) -> None:
        beside = directory / "site_app.new"
        beside.write_text(text)
        stamp = time.time() + self.version  # a compiled file of the same second would be taken for the new one's
        os.utime(beside, (stamp, stamp))
        beside.rename(directory / "site_app.py")

    # Start and stop --------------------------------------------------------------------------------------------------

    def start(self, more: str = "", *, activated: bool = False) -> None:
        """Start the server and wait for its first answer.

        :param more: options to append.
        :param activated: hand it a listening socket that stays here, as a service manager does.
        :raises StartError: it gives none.
        """
        known = {"bin": str(self._binaries), "port": str(self.port), "pidfile": str(self._pidfile)}
        known["socket"] = str(self._socket)
        server = self.server
        if server.on_tls:
            known |= self._certificate()
        listen = server.unix if server.on_unix else server.tls if server.on_tls else server.tcp
        if activated and server.inherited:
            listen = server.inherited
            if server.on_tls:
                listen += f" {server.inherited_tls}"
        listen = listen.format_map(known)
        command = f"{server.command} {more}".replace("{listen}", listen)
        words = [word.format_map(known) for word in shlex.split(command)]
        # The server runs in the application's directory, where a relative path to its command leads nowhere.
        words[0] = os.path.abspath(words[0]) if os.sep in words[0] else words[0]
        descriptors = []
        if activated:
            if self._listener is None:
                self._listener = self._listening()
            descriptors = [self._listener.fileno()]
            words = [sys.executable, "-c", _ACTIVATE, str(descriptors[0]), *words]
        path = os.pathsep.join((str(self._binaries), os.environ["PATH"]))
        added = {"PWD": str(self.current), "PATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
        environ = {**os.environ, **added, "PYTHONPATH": "."}  # not every server looks for the application there
        until = time.monotonic() + _START_SECONDS
        while time.monotonic() < until:  # as a service manager: again and again, while somebody has the port yet
            with self.log.open("ab") as log:
                self._process = subprocess.Popen(
                    words, cwd=self.current, env=environ, stdout=log, stderr=log, start_new_session=True,
                    pass_fds=descriptors, stdin=subprocess.DEVNULL,
                )  # fmt: skip
            self._sessions.append(self._process.pid)
            while self._process.poll() is None and time.monotonic() < until:
                if self.serves() == self.version:
                    return
                time.sleep(0.02)
            time.sleep(0.1)
        raise StartError(f"does not answer: {self.log.read_text()[-500:]}")

    def _listening(self) -> socket.socket:
        """Make a listening socket as a service manager does."""
        if not self.server.on_unix:
            return socket.create_server(("127.0.0.1", self.port), backlog=128)
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(self._socket))
        listener.listen(128)
        return listener

    @property
    def where(self) -> int | str:
        """What a client connects to: a port, ``tls:`` and a port, or a path."""
        return str(self._socket) if self.server.on_unix else f"tls:{self.port}" if self.server.on_tls else self.port

    def _certificate(self) -> dict[str, str]:
        """Make a certificate that is signed by itself, once; give the names of its files."""
        files = {"certificate": str(self.directory / "own.pem"), "key": str(self.directory / "own.key")}
        if not (self.directory / "own.pem").exists():
            subprocess.run(
                [
                    "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                    "-days", "2", "-subj", "/CN=localhost", "-keyout", files["key"], "-out", files["certificate"],
                ],
                capture_output=True,
                check=True,
            )  # fmt: skip
        return files

    @property
    def _socket(self) -> Path:
        return self.directory / "socket"

    @property
    def log(self) -> Path:
        return self.directory / "log"

    @property
    def _pidfile(self) -> Path:
        return self.directory / "pid"

    @property
    def main(self) -> int:
        """Return the pid of the process that gets the signals: the first, unless an upgrade has put another there."""
        assert self._process is not None
        return self._written_pid() or self._process.pid

    def _written_pid(self) -> int:
        with contextlib.suppress(OSError, ValueError):
            return int(self._pidfile.read_text())
        return 0

    def stop(self) -> None:
        """End what was started: every process of the server's sessions."""
        self.signal("TERM")
        until = time.monotonic() + 5
        while self.processes() and time.monotonic() < until:
            self._reap()
            time.sleep(0.05)
        for pid in self.processes():
            _send(pid, signal.SIGKILL)
        if self._process is not None:
            self._process.wait()
        if self._listener is not None:
            self._listener.close()

    def processes(self) -> list[int]:
        """List the living processes of the server."""
        return [stat.pid for session in self._sessions for stat in tree.members(session) if not _is_zombie(stat.pid)]

    def _reap(self) -> None:
        if self._process is not None:
            self._process.poll()

    # What can be done to it ------------------------------------------------------------------------------------------

    def signal(self, name: str) -> None:
        _send(self.main, signal.Signals[f"SIG{name}"])

    def ask_for_reload(self) -> None:
        self.signal(self.server.reload)

    def reload(self) -> bool:
        """Ask for a reload and wait for the newest version; whether it came."""
        self.ask_for_reload()
        return self.answers()

    def upgrade(self) -> bool:
        """Have the server replaced by what is installed, as its manual says; whether the newest version came."""
        before = self.main
        self.signal(self.server.upgrade)
        came = self.answers()
        if self.server.second_master:
            _send(before, signal.SIGTERM)
            until = time.monotonic() + WAIT
            while self._written_pid() in (0, before) and time.monotonic() < until:
                self._reap()
                time.sleep(0.02)
        return came

    def answers(self, seconds: float = WAIT) -> bool:
        """Wait until the newest version answers; whether it does. A server that is gone is not waited for."""
        until = min(time.monotonic() + seconds, self.patient_until)
        while time.monotonic() < until and self.processes():
            if self.serves() == self.version:
                return True
            time.sleep(0.02)
        return False

    def serves(self) -> int:
        """Ask once which version answers; 0 when none does."""
        with contextlib.suppress(Trouble, ValueError):
            connection = Connection(self.where, WAIT)
            with contextlib.closing(connection.sock):
                connection.send(LAST_REQUEST)
                return connection.read()
        return 0

    def terminate_workers(self) -> None:
        """Ask every worker to end."""
        for pid in self._titled(self.server.worker) or self._children():
            _send(pid, signal.SIGTERM)

    def kill_workers(self) -> None:
        """Kill -9 every worker, in its first steps or in its last ones."""
        self._kill(self._titled(self.server.worker) or self._children())

    def kill_fork_servers(self) -> None:
        self._kill(self._titled(self.server.fork_server))

    def kill_main(self) -> None:
        assert self._process is not None
        self._kill([self.main])
        self._process.wait()
        self._pidfile.unlink(missing_ok=True)

    def _kill(self, pids: Iterable[int]) -> None:
        """Kill -9. Each process is stopped first, so that what it holds when it dies is known."""
        for pid in pids:
            _send(pid, signal.SIGSTOP)
            _wait_for_stop(pid)
            ports = _unix_clients(pid) if self.server.on_unix else _client_ports(pid, self.port)
            _send(pid, signal.SIGKILL)
            self.killed += [(time.monotonic(), port) for port in ports]

    def _titled(self, words: str) -> list[int]:
        return [pid for pid in self.processes() if words in _title(pid)] if words else []

    def _children(self) -> list[int]:
        main = self.main
        found = [stat.pid for stat in tree.members(main) if stat.parent == main]
        return [pid for pid in found if "resource_tracker" not in _title(pid)]


def _send(pid: int, signum: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signum)


def _wait_for_stop(pid: int) -> None:
    """Wait until every thread has stopped: one that runs on for a moment could accept another connection."""
    until = time.monotonic() + 1.0
    while time.monotonic() < until and not all(_state(path) in "TtZX" for path in Path(f"/proc/{pid}/task").glob("*")):
        time.sleep(0.001)


def _state(process: Path) -> str:
    """Return the letter of a process's or thread's state."""
    try:
        return (process / "stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "X"


def _title(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def _is_zombie(pid: int) -> bool:
    return _state(Path(f"/proc/{pid}")) in "ZX"


def _sockets(pid: int) -> set[str]:
    """List what a process has open: ``socket:[4711]`` and the like."""
    opened = set()
    with contextlib.suppress(OSError):
        for path in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                opened.add(os.readlink(path))
    return opened


def _unix_clients(pid: int) -> list[int]:
    """List the inodes of the other ends of the Unix sockets that a process has open, as ``ss`` knows them."""
    inodes = _sockets(pid)
    done = subprocess.run(["ss", "-xHna"], capture_output=True, text=True, check=True)
    rows = [line.split() for line in done.stdout.splitlines()]  # … local address, inode, peer address, its inode
    return [int(row[7]) for row in rows if len(row) == 8 and f"socket:[{row[5]}]" in inodes and row[7].isdigit()]


def _client_ports(pid: int, port: int) -> list[int]:
    """List the other ends of the connections to `port` that a process has open."""
    inodes = _sockets(pid)
    found = []
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        words = line.split()  # proc_net_tcp: sl local_address rem_address st … inode
        here, there = (int(word.partition(":")[2], 16) for word in words[1:3])
        if here == port and there and f"socket:[{words[9]}]" in inodes:
            found.append(there)
    return found
