"""Spawning, signalling and reaping: every such system call of the controller is here.

The controller is the parent of all: fork servers are its children, workers become so because their parent by fork exits
at once and the controller adopts orphans (``PR_SET_CHILD_SUBREAPER``). Nobody else waits for them, so a pid that has
not been reaped yet cannot mean another process.

What is started has the controller's signals blocked (``ipc/signals.py``).
"""

import contextlib
import os
import signal
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from spawning import interpreter
from spawning.controller.descent import descendants, started
from spawning.controller.records import Process
from spawning.ipc.channel import Channel
from spawning.ipc.signals import FOR_THE_CONTROLLER

LAST_SECONDS = 5.0  # seconds that the last of all may take to die
_BETWEEN_LOOKS = 0.005  # seconds


@dataclass(frozen=True, slots=True)
class Exit:
    """A child has exited with `status`: as ``subprocess`` says it, negative is the number of the signal."""

    pid: int
    status: int


def start_fork_server(far: Channel) -> int:
    """Start a fork server in a fresh interpreter with one end of its channel; return its pid.

    It is an interpreter like this one, with the same options and path (``interpreter.py``).

    :raises OSError: no process can be started.
    """
    fd = far.fileno()
    return _start(interpreter.fork_server(str(fd), *interpreter.path_for_application()), fd)


def start_status(far: Channel) -> int:
    """Start the status service in a fresh interpreter with one end of its channel; return its pid.

    :raises OSError: no process can be started.
    """
    return _start(interpreter.status(str(far.fileno())), far.fileno())


def _start(command: list[str], fd: int) -> int:
    os.set_inheritable(fd, True)  # the controller starts processes from one thread only
    try:
        return os.posix_spawn(command[0], command, os.environ, setsigmask=FOR_THE_CONTROLLER)
    finally:
        os.set_inheritable(fd, False)


def start_program(command: Sequence[str], environ: Mapping[str, str], fds: Sequence[int], output: int) -> int:
    """Start a program that inherits some descriptors and writes both its streams to another one; return its pid.

    :raises OSError: no process can be started.
    """
    for fd in fds:
        os.set_inheritable(fd, True)
    try:
        streams = [(os.POSIX_SPAWN_DUP2, output, 1), (os.POSIX_SPAWN_DUP2, output, 2)]
        return os.posix_spawn(
            command[0], list(command), dict(environ), file_actions=streams, setsigmask=FOR_THE_CONTROLLER
        )
    finally:
        for fd in fds:
            os.set_inheritable(fd, False)


def reap() -> list[Exit]:
    """Collect the children that have exited, without waiting."""
    exits = []
    with contextlib.suppress(ChildProcessError):  # there is no child at all
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                break
            exits.append(Exit(pid, os.waitstatus_to_exitcode(status)))
    return exits


def is_child(pid: int) -> bool:
    """Whether a pid is that of a child that has not been reaped, so that it cannot mean another process."""
    try:
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except OSError:
        return False
    return True


def send_signal(pid: int, signum: signal.Signals) -> None:
    """Send a signal to a child. A pid that is none of a child's has come from a message, or its child is reaped."""
    if is_child(pid):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signum)


def kill(pid: int) -> None:
    """End a child at once (SIGKILL)."""
    send_signal(pid, signal.SIGKILL)


def end(process: Process) -> None:
    """End a process at once, which need not be a child, and no other that may have got its pid."""
    try:
        fd = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return
    except OSError:  # no descriptor is left, or the kernel is older than Linux 5.3: nearly as good
        if started(process.pid) == process.started:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(process.pid, signal.SIGKILL)
        return
    try:
        if started(process.pid) == process.started:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                signal.pidfd_send_signal(fd, signal.SIGKILL)
    finally:
        os.close(fd)


def end_all(but: Collection[Process], seconds: float = LAST_SECONDS) -> None:
    """End all that descends from this process, and wait for it.

    :param but: these stay, and what descends from them.
    :param seconds: the longest wait; a process that waits for a broken disk does not even die of SIGKILL.
    """
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        reap()
        spared = {*but, *descendants(*(each.pid for each in but))}
        left = [each for each in descendants(os.getpid()) if each not in spared]
        if not left:
            return
        for each in left:
            end(each)
        time.sleep(_BETWEEN_LOOKS)


def wait_for(pid: int, seconds: float = LAST_SECONDS) -> None:
    """Wait for a child that has been killed, but not for ever."""
    until = time.monotonic() + seconds
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(pid, os.WNOHANG) == (0, 0) and time.monotonic() < until:
            time.sleep(_BETWEEN_LOOKS)
