"""Spawning, signalling and reaping: every such system call of the controller is here.

The controller is the parent of all: fork servers are its children, workers become so because their parent by fork exits
at once and the controller adopts orphans (``PR_SET_CHILD_SUBREAPER``). Nobody else waits for them, so a pid that has
not been reaped yet cannot mean another process.
"""

import contextlib
import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from spawning import interpreter
from spawning.ipc.channel import Channel


@dataclass(frozen=True, slots=True)
class Exit:
    """A child has exited with `status`: as ``subprocess`` says it, negative is the number of the signal."""

    pid: int
    status: int


def start_fork_server(far: Channel) -> int:
    """Start a fork server in a fresh interpreter with one end of its channel; give its pid.

    It is an interpreter like this one, with the same options and path (``interpreter.py``).

    :raises OSError: no process can be started.
    """
    fd = far.fileno()
    os.set_inheritable(fd, True)  # the controller starts processes from one thread only
    try:
        command = interpreter.fork_server(str(fd), *interpreter.path_for_application())
        return os.posix_spawn(command[0], command, os.environ, setsigmask=[])
    finally:
        os.set_inheritable(fd, False)


def start_program(command: Sequence[str], environ: Mapping[str, str], fds: Sequence[int], output: int) -> int:
    """Start a program that inherits some descriptors and writes both its streams to another one; give its pid.

    :raises OSError: no process can be started.
    """
    for fd in fds:
        os.set_inheritable(fd, True)
    try:
        streams = [(os.POSIX_SPAWN_DUP2, output, 1), (os.POSIX_SPAWN_DUP2, output, 2)]
        return os.posix_spawn(command[0], list(command), dict(environ), file_actions=streams, setsigmask=[])
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


def kill(pid: int) -> None:
    """End a child at once (SIGKILL)."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def wait_for_all(pids: set[int]) -> None:
    """Wait for children that have been killed; bounded, because nothing outlives SIGKILL."""
    for pid in pids:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, 0)
