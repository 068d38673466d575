"""A running server: start its command, wait until it answers and has come to rest, end it with all its processes."""

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench import tree
from bench.asking import Where, connection
from bench.workloads import Workload

START_SECONDS = 30.0
STOP_SECONDS = 3.0
REST_SECONDS = 0.15


class ServerError(Exception):
    """The server did not do what is asked of every server; the message says what."""


@dataclass(frozen=True, slots=True)
class Running:
    """A server that answers.

    :param pid: the first process, leader of its own session.
    :param port: what it listens on, or what is in front of it; 0: a Unix socket, and nothing is.
    :param start_seconds: from the start of the command to the first right answer.
    :param command: how it was started.
    """

    pid: int
    port: int
    start_seconds: float
    command: list[str]


def free_port() -> int:
    """Let the kernel choose a port that nobody uses."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@contextlib.contextmanager
def running(
    command: list[str],
    workload: Workload,
    where: Where,
    directory: Path,
    environment: dict[str, str],
    log: Path,
    patience: float = START_SECONDS,
) -> Iterator[Running]:
    """Run `command` for the time of the block.

    :param where: it listens.
    :param directory: its working directory.
    :param environment: what is added to the environment.
    :param log: where its output goes.
    :param patience: seconds until the first right answer.
    :raises ServerError: it ends, or gives no right answer within `patience`.
    """
    with log.open("wb") as output:
        begin = time.monotonic()
        process = subprocess.Popen(
            command,
            cwd=directory,
            env=os.environ | environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        try:
            _wait_for_answer(process, workload, where, begin + patience, log)
            port = where if isinstance(where, int) else 0
            server = Running(process.pid, port, time.monotonic() - begin, command)
            wait_for_rest(process.pid)
            yield server
        finally:
            stop(process)


def last_line(output: str) -> str:
    """Return the last line of a server's output that is not blank."""
    return next((line.strip() for line in reversed(output.splitlines()) if len(line.strip()) > 1), "(no output)")


def _wait_for_answer(
    process: subprocess.Popen[bytes], workload: Workload, where: Where, deadline: float, log: Path
) -> None:
    while True:
        try:
            return check_answer(workload, where)
        except (OSError, http.client.HTTPException) as error:
            if process.poll() is not None:
                raise ServerError(
                    f"ended with status {process.returncode} at start: {last_line(log.read_text())}"
                ) from None
            if time.monotonic() > deadline:
                raise ServerError(f"no answer in time: {error}") from None
            time.sleep(0.01)


def check_answer(workload: Workload, where: Where) -> None:
    """Make one request and see that the answer is the application's."""
    asking = connection(where, timeout=10, secure=workload.over == "tls")
    with contextlib.closing(asking):
        method, body = ("POST", bytes(workload.upload)) if workload.upload else ("GET", None)
        asking.request(method, workload.path, body, {"Connection": "close"})
        response = asking.getresponse()
        size = len(response.read())
    if response.status in (502, 503, 504):  # of nginx, while nobody is behind it
        raise http.client.HTTPException(f"answered {response.status}")
    if response.status != 200:
        raise ServerError(f"answered {response.status}")
    if workload.size not in (None, size):
        raise ServerError(f"sent a body of {size} bytes, not {workload.size}")


def wait_for_rest(pid: int) -> None:
    """Wait until a server has done what it has to: its tree uses less than a tenth of a processor."""
    deadline, before = time.monotonic() + START_SECONDS, tree.cpu_seconds(pid)
    while time.monotonic() < deadline:
        time.sleep(REST_SECONDS)
        now = tree.cpu_seconds(pid)
        if now - before < REST_SECONDS / 10:
            return
        before = now


def stop(process: subprocess.Popen[bytes]) -> None:
    """End the tree: ask the first process, then end whatever is left."""
    known = [stat.pid for stat in tree.members(process.pid)]
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(STOP_SECONDS)
    left = {stat.pid for stat in tree.members(process.pid)} | {pid for pid in known if _in_session(pid, process.pid)}
    for pid in left:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.wait()


def _in_session(pid: int, session: int) -> bool:
    """Whether `pid` still is the process that it was, and not another one with its number."""
    try:
        return os.getsid(pid) == session
    except ProcessLookupError:
        return False
