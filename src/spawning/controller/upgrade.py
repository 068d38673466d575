"""Replace the controller by the Spawning and the Python that are installed now (SIGUSR2), through exec.

What stays: the process (so the workers stay its children), the listening sockets, the handoff socket, the channels, the
pidfile. What changes is the program, which then begins a generation of its own, with the ordinary cutover.

There is no way back from an exec, so nothing is tried there for the first time: ``upgrade_check.py`` runs before, as a
child, with the real command line and the real state. Only when it answers does the exec happen; otherwise the upgrade
is refused, and the next one tries again.

No signal is lost. A signal would end the new program as long as it has no handlers, so they are blocked from before the
exec until it has them: the kernel keeps both the mask and what is pending. The threads of the old program, which could
be given a signal otherwise, have them blocked all their lives (``watch.py``).
"""

import contextlib
import math
import os
import sys
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import NoReturn

from spawning import interpreter
from spawning.controller import process
from spawning.controller.state import State, dumps
from spawning.ipc.succession import CHECK, SUCCEED, TYPED_IN, answered, contents, memory_file
from spawning.logs.log import Log
from spawning.logs.setup import fields

CHECK_SECONDS = 20.0  # what the new program may take to import itself

log = Log("spawning.controller")


class Attempt(Enum):
    NONE = "none"
    CHECKED = "checked"  # the new program is asked whether it can succeed this one
    APPROVED = "approved"  # it can: to be done as soon as it suits


def command_now() -> list[str]:
    """Return the command that starts the Spawning that is installed now, with the arguments of this process."""
    return interpreter.spawning(*sys.argv[1:])


class Upgrade:
    """One attempt at a time. For the controller's loop alone.

    :param command: starts the new program.
    :param typed_in: where the command was typed, which the new program cannot know otherwise.
    """

    def __init__(self, command: Sequence[str], typed_in: str = "") -> None:
        self.attempt = Attempt.NONE
        self.refusal = ("", "")
        """Why the last attempt was given up, in one line; and what the new program has said, if that is more."""
        self._command = list(command)
        self._typed_in = typed_in
        self.pid: int | None = None  # of the check
        self._output = -1  # a memory file
        self._until = math.inf
        self._overdue = False

    def begin(self, state: State, directory: str, now: float) -> None:
        """Have it checked whether the new program can succeed this one; during an attempt there is nothing to begin.

        :param directory: where the program is to be, by its name, which may mean another place now.
        """
        if self.attempt is not Attempt.NONE:
            return
        log.info("upgrade started %s", fields(python=self._command[0]))
        data, self._output = memory_file(dumps(state)), memory_file(b"")
        try:
            environ = {**self._entered(directory), CHECK: str(data)}
            self.pid = process.start_program(self._command, environ, [data], self._output)
        except OSError as error:
            os.close(self._output)
            self.refuse(why(error))
        else:
            self.attempt = Attempt.CHECKED
            self._until, self._overdue = now + CHECK_SECONDS, False
        finally:
            os.close(data)

    def look(self, now: float) -> float:
        """End a check that takes too long; return the time at which to look again (infinity: never)."""
        if now >= self._until and self.pid is not None:
            process.kill(self.pid)
            self._until, self._overdue = math.inf, True
        return self._until

    def exited(self, entry: process.Exit) -> bool:
        """Take note of the check's end; whether it was the check that exited."""
        if entry.pid != self.pid:
            return False
        self.pid, self._until = None, math.inf
        output = contents(self._output).decode("utf-8", "replace").strip()
        approved = answered(output)
        if approved is not None and entry.status == 0:
            self.attempt = Attempt.APPROVED
            log.info("upgrade approved %s", approved)
            return True
        details = output if "\n" in output else ""
        if details:
            log.error("the new Spawning does not start\n%s", details)
        last = output.rpartition("\n")[2] or f"it ended with status {entry.status} without an answer"
        self.refuse(f"no answer within {CHECK_SECONDS:g} s" if self._overdue else last, details)
        return True

    def refuse(self, reason: str, details: str = "") -> None:
        """Return up the attempt; the next one is on its own."""
        self.attempt = Attempt.NONE
        self.refusal = " ".join(reason.split()), details
        log.error("upgrade refused %s", fields(reason=self.refusal[0]))

    def close(self) -> None:
        """Leave no process of an attempt."""
        if self.pid is not None:
            process.kill(self.pid)
            process.wait_for(self.pid)
            os.close(self._output)
            self.pid = None

    def replace(self, state: State, directory: str, variables: Mapping[str, str]) -> NoReturn:
        """Become the new program. The signals must be blocked.

        :param directory: as in :meth:`begin`.
        :param variables: to be added to the environment.
        :raises OSError: the exec has failed; everything is as before.
        """
        environ = self._entered(directory)
        data = memory_file(dumps(state))
        descriptors = [data, *state.descriptors]
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError, AttributeError):
                stream.flush()
        try:
            for fd in descriptors:
                os.set_inheritable(fd, True)
            os.execve(self._command[0], self._command, {**environ, **variables, SUCCEED: str(data)})
        finally:  # only reached when it has failed
            for fd in descriptors:
                os.set_inheritable(fd, False)
            os.close(data)

    def _entered(self, directory: str) -> dict[str, str]:
        """Enter a directory by its name and give the environment that says so.

        :raises OSError: it is not there.
        """
        os.chdir(directory)
        return {**os.environ, "PWD": directory, TYPED_IN: self._typed_in or directory}


def why(error: OSError) -> str:
    """Return in one line why a program cannot be started."""
    return f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror)
