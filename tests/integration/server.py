"""Start the real command, wait for its ready line, read its log, and make sure that nothing of it is left behind.

Rules: every wait has a deadline; nothing sleeps for a fixed time; a process left behind fails the test. The processes
of a server are found by their session (each server gets its own), so orphans of a killed controller are found too.
"""

import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Self, TypeVar

import psutil

import spawning
from integration.certificates import loopback

APPS = Path(__file__).parent / "apps"
OURS = str(Path(spawning.__file__).parent)  # no frame of which belongs into the traceback of an application
DEADLINE = 30.0  # seconds; for what takes a moment on a loaded machine, never a measure of speed

RUNTIME = tempfile.TemporaryDirectory(prefix="spawning-run-")  # for control sockets; gone with the tests

T = TypeVar("T")

_READY = re.compile(
    r" ready url=(?P<url>(?:(?P<scheme>https?)://\S+:(?P<port>\d+)|unix:(?P<path>\S+)))"
    r" generation=\d+ workers=\d+ threads=\d+"
)
_WORKER_TITLE = re.compile(r"spawning: worker (?P<name>\d+\.\d+) \(")
_FORK_SERVER_TITLE = re.compile(r"spawning: fork server (?P<name>\d+) \(")


@dataclass(frozen=True, slots=True)
class Found:
    """A worker (name like ``"7.2"``) or fork server (name like ``"7"``) in the process table."""

    name: str
    pid: int

    @property
    def generation(self) -> int:
        return int(self.name.partition(".")[0])


def until(probe: Callable[[], T], what: str, timeout: float = DEADLINE) -> T:
    """Ask `probe` again and again until its answer is true, and give that answer.

    For facts that nobody announces (the process table); what is announced is waited for in the log.

    :raises AssertionError: `timeout` seconds have passed; the message says `what` did not come true.
    """
    deadline = time.monotonic() + timeout
    pause = threading.Event()
    while not (answer := probe()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout} s: {what}")
        pause.wait(0.02)
    return answer


class Lines:
    """The lines of a stream, read by a thread of their own so that the writer never blocks."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._lines: list[str] = []
        self._grown = threading.Condition()
        self._ended = False
        self._thread = threading.Thread(target=self._drain, args=(stream,), daemon=True)
        self._thread.start()

    def __len__(self) -> int:
        with self._grown:
            return len(self._lines)

    def since(self, mark: int = 0) -> list[str]:
        """List the lines from number `mark` on."""
        with self._grown:
            return self._lines[mark:]

    def find(self, pattern: str, timeout: float, after: int = 0) -> re.Match[str]:
        """Wait until a line from number `after` on matches `pattern` (searched, not anchored).

        :raises AssertionError: it does not within `timeout` seconds, or the stream ends without it.
        """
        search = re.compile(pattern).search
        deadline = time.monotonic() + timeout
        with self._grown:
            while True:
                for line in self._lines[after:]:
                    if match := search(line):
                        return match
                after = max(after, len(self._lines))
                if self._ended or not self._grown.wait(deadline - time.monotonic()):
                    raise AssertionError(f"no line matches {pattern!r}:\n" + "\n".join(self._lines[-60:]))

    def join(self) -> None:
        """Wait for the end of the stream (every writer has exited)."""
        self._thread.join(DEADLINE)

    def _drain(self, stream: IO[bytes]) -> None:
        with stream:
            for raw in stream:
                with self._grown:
                    self._lines.append(raw.decode("utf-8", "replace").rstrip("\n"))
                    self._grown.notify_all()
        with self._grown:
            self._ended = True
            self._grown.notify_all()


class Server:
    """One run of the real command, from start to the last of its processes.

    :param args: arguments of ``spawn``; without ``--port`` among them, ``--port 0`` is put in front of them.
    :param cwd: working directory of the command; by default ``tests/integration/apps``.
    :param env: variables added to the environment.
    :param bind: where to listen, in place of ``--port 0``; with ``?tls`` it gets a certificate.
    :param command: a whole command line instead of ``python -m spawning --port 0 ARGS`` (``pserve``, ``make serve``).
    :param ready: wait for the ready line on entry; without it ``url``, ``port`` and ``where`` are known after
        :meth:`wait_ready`.
    :param check_leftovers: fail on exit if a process was left behind (they are killed in any case).

    ``where`` is what a :class:`~integration.client.Client` connects to: a port, a port where TLS is spoken, or the path
    of a Unix socket. ``err``
    and ``out`` are the lines of stderr and stdout; log lines are in ``err``.
    """

    def __init__(
        self,
        *args: str,
        cwd: Path | str = APPS,
        env: Mapping[str, str] | None = None,
        bind: str | None = None,
        command: Sequence[str] | None = None,
        ready: bool = True,
        check_leftovers: bool = True,
    ) -> None:
        listen = (
            ["--bind", bind, *_certificate(bind)] if bind else [] if {"--port", "-p"} & set(args) else ["--port", "0"]
        )
        self.command = list(command) if command else [sys.executable, "-m", "spawning", *listen, *args]
        self.cwd = Path(cwd)
        self.env = {**_inherited_environment(), **(env or {})}
        self.url = ""
        self.port = 0
        self.where: int | str = 0
        self._wait_for_ready = ready
        self._check_leftovers = check_leftovers

    # Life ------------------------------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            self.command,
            cwd=self.cwd,
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self.out, self.err = Lines(self._process.stdout), Lines(self._process.stderr)
        if self._wait_for_ready:
            try:
                self.wait_ready()
            except BaseException:
                self._kill_all()
                raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self._process.poll() is None:
                self._process.terminate()
                self._process.wait(DEADLINE)
            left = [] if kind else self._left_behind()
        except subprocess.TimeoutExpired:
            left = self.processes()
        finally:
            killed = self._kill_all()
        if kind is None and self._check_leftovers and (left or killed):
            raise AssertionError(f"left behind: {left or killed}\n{self.log()}")
        if error is not None:
            error.add_note(f"log of {self.command}:\n{self.log()}")

    def wait_ready(self, timeout: float = DEADLINE) -> None:
        """Wait for the ready line and learn ``url``, ``port`` and ``where`` from it."""
        match = self.err.find(_READY.pattern, timeout)
        self.url, self.port = match["url"], int(match["port"] or 0)
        self.where = match["path"] or (f"tls:{self.port}" if match["scheme"] == "https" else self.port)

    def wait(self, timeout: float = DEADLINE) -> int:
        """Wait for the command to end by itself and give its exit status (negative: the signal that ended it)."""
        status = self._process.wait(timeout)
        assert not self._left_behind(), self.log()
        self.out.join()
        self.err.join()
        return status

    def stop(self, sig: signal.Signals = signal.SIGTERM, timeout: float = DEADLINE) -> int:
        """Send `sig` to the controller, wait for the command's end, and give its exit status."""
        self.signal(sig)
        return self.wait(timeout)

    # Signals and logs ------------------------------------------------------------------------------------------------

    @property
    def pid(self) -> int:
        """The controller's process id."""
        return self._process.pid

    @property
    def secure(self) -> bool:
        """Whether it speaks TLS: then a connection that was idle at a reload ends behind its next response."""
        return isinstance(self.where, str) and self.where.startswith("tls:")

    def signal(self, sig: signal.Signals) -> None:
        self._process.send_signal(sig)

    def mark(self) -> int:
        """Return the number of log lines so far, for the `after` of :meth:`wait_for_log`."""
        return len(self.err)

    def wait_for_log(self, pattern: str, timeout: float = DEADLINE, after: int = 0) -> re.Match[str]:
        """Wait for a log line, from number `after` on, in which `pattern` is found."""
        return self.err.find(pattern, timeout, after)

    def reload(self, timeout: float = DEADLINE) -> bool:
        """Send SIGHUP and wait for the reload's end; say whether the new generation serves."""
        mark = self.mark()
        self.signal(signal.SIGHUP)
        return self.wait_for_log(r" reload (finished|refused) ", timeout, mark)[1] == "finished"

    def log(self) -> str:
        """Return everything that the command wrote to stderr so far."""
        return "\n".join(self.err.since())

    # The process table -----------------------------------------------------------------------------------------------

    def processes(self) -> list[psutil.Process]:
        """List every living process of this run, whoever its parent is now."""
        return [process for process in psutil.process_iter() if _belongs(process, self.pid)]

    def workers(self) -> list[Found]:
        """List the workers by name."""
        return self._titled(_WORKER_TITLE)

    def fork_servers(self) -> list[Found]:
        """List the fork servers by generation."""
        return self._titled(_FORK_SERVER_TITLE)

    def wait_workers(self, count: int, timeout: float = DEADLINE) -> list[Found]:
        """Wait until there are `count` workers, and list them."""
        return until(lambda: found if len(found := self.workers()) == count else [], f"{count} workers", timeout)

    def wait_gone(self, timeout: float = DEADLINE) -> None:
        """Wait until no process of this run lives."""
        until(lambda: not self.processes(), f"no process left, found {self.processes()}", timeout)

    def _titled(self, title: re.Pattern[str]) -> list[Found]:
        found = []
        for process in self.processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                if match := title.match(" ".join(process.cmdline())):
                    found.append(Found(match["name"], process.pid))
        return sorted(found, key=lambda item: [int(part) for part in item.name.split(".")])

    def _left_behind(self) -> list[psutil.Process]:
        _, left = psutil.wait_procs(self.processes(), timeout=2)  # who closes its last descriptor may need a moment
        return [process for process in left if _belongs(process, self.pid)]

    def _kill_all(self) -> list[psutil.Process]:
        """Kill what lives; the controller first, since it would replace the others."""
        killed = sorted(self.processes(), key=lambda process: process.pid != self.pid)
        for process in killed:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self._process.wait(DEADLINE)
        psutil.wait_procs(killed, timeout=DEADLINE)
        return killed


@dataclass(frozen=True, slots=True)
class Way:
    """A way to serve: called like :class:`Server`.

    :param bind: where to listen.
    :param green: with greenlets, of which there may be as many as there are to be threads.
    """

    bind: str
    green: bool = False

    def __call__(self, *args: str, cwd: Path | str = APPS, env: Mapping[str, str] | None = None) -> Server:
        return Server(*(_green(args) if self.green else args), cwd=cwd, env=env, bind=self.bind)


def _green(args: tuple[str, ...]) -> tuple[str, ...]:
    if "-t" not in args:
        return (*args, "-t", "0")
    at = args.index("-t")
    return (*args[:at], "-t", "0", "--max-green", *args[at + 1 :])


def run(*args: str, cwd: Path | str = APPS, env: Mapping[str, str] | None = None) -> "Finished":
    """Run ``spawn ARGS`` where it must end by itself (usage errors, applications that do not load)."""
    with Server(*args, cwd=cwd, env=env, ready=False) as server:
        status = server.wait()
        err = [line for line in server.err.since() if " INFO still loading " not in line]  # the machine is busy
        return Finished(status, "\n".join(server.out.since()), "\n".join(err))


@dataclass(frozen=True, slots=True)
class Finished:
    """How a command ended: exit status, and all of its stdout and stderr."""

    status: int
    out: str
    err: str


def _certificate(bind: str) -> list[str]:
    return loopback(RUNTIME.name).options if bind.endswith("?tls") else []


def _inherited_environment() -> dict[str, str]:
    """Return this process's environment without what would change defaults of the server."""
    unwanted = ("PORT", "WEB_CONCURRENCY", "FORWARDED_ALLOW_IPS", "SCRIPT_NAME", "DJANGO_SETTINGS_MODULE")
    inherited = {name: value for name, value in os.environ.items() if name not in unwanted}
    return {**inherited, "SPAWNING_CONTROL_DIRECTORY": RUNTIME.name}


def _belongs(process: psutil.Process, session: int) -> bool:
    try:
        return os.getsid(process.pid) == session and process.status() != psutil.STATUS_ZOMBIE
    except (ProcessLookupError, psutil.NoSuchProcess):
        return False
