"""A fork server that is started before it is needed, so that a save is served sooner (``--reload dev``).

A fresh interpreter and what Spawning imports itself take a fifth of a second of a processor's time, more than many
applications. The spare has done that, waits for its ``Boot``, and has read nothing of the application.

What it has read is the installation, so it is thrown away when that has changed: the interpreter, a directory of
packages, a ``.pth`` file there.

One that dies unused is replaced, each time later than before: a reload finds out for itself what is wrong, and says so.
"""

import math
import os
import signal
import site
import sys
import sysconfig
from collections.abc import Iterator
from typing import NamedTuple

from spawning.controller import process
from spawning.controller.fleet import how
from spawning.ipc.channel import Channel
from spawning.ipc.messages import Prepare
from spawning.logs.log import Log
from spawning.logs.setup import fields

PAUSE = 0.5  # seconds behind a cutover, in which the page is loaded that somebody waits for
LONGEST_PAUSE = 60.0  # seconds, behind several that have died

log = Log("spawning.controller")


class Started(NamedTuple):
    """A fork server that waits for its first message: the near end of its channel, and its pid."""

    channel: Channel
    pid: int


class Spare:
    """See the module. For the controller's loop alone."""

    def __init__(self) -> None:
        self._started: Started | None = None
        self._installation: tuple[tuple[str, int], ...] = ()
        self._due = math.inf
        self._pause = PAUSE  # doubled for each that dies

    def look(self, *, wanted: bool, now: float) -> float:
        """Start one if there is none; return when to look again (monotonic seconds).

        :param wanted: a change may ask for a generation at any time, and nothing else is under way.
        """
        if not wanted:
            self._due = math.inf
        elif self._started is None:
            self._due = min(self._due, now + self._pause)
            if now >= self._due:
                self._due = math.inf
                self._start()
                return math.inf
        return self._due

    def take(self) -> Started:
        """Return the spare, or else a fork server that is started now.

        :raises OSError: none can be.
        """
        spare, self._started = self._started, None
        if spare is not None and self._installation == _installation() and process.is_child(spare.pid):
            process.send_signal(spare.pid, signal.SIGCONT)  # whom somebody may have stopped, unnoticed
            self._pause = PAUSE
            return spare
        if spare is not None:
            _end(spare)
        return start()

    def exited(self, pid: int, status: int) -> bool:
        """Take note of an exit; whether it was that of the spare, in whose place another one is started in time.

        :param status: of ``waitpid``.
        """
        if self._started is None or self._started.pid != pid:
            return False
        self._started.channel.close()
        self._started = None
        if self._pause == PAUSE:
            log.warning("fork server died before it was needed %s %s", fields(pid=pid), how(status))
        self._pause = min(self._pause * 2, LONGEST_PAUSE)
        return True

    def end(self) -> None:
        """Leave no spare."""
        if self._started is not None:
            _end(self._started)
            self._started = None

    def _start(self) -> None:
        self._installation = _installation()
        try:
            self._started = start()
        except OSError:  # take() raises it when one is needed
            return
        self._started.channel.send(Prepare())


def start() -> Started:
    """Start a fork server.

    :raises OSError: the interpreter is missing, or the system is out of something.
    """
    near, far = Channel.pair()
    try:
        return Started(near, process.start_fork_server(far))
    except OSError:
        near.close()
        raise
    finally:
        far.close()


def _end(spare: Started) -> None:
    spare.channel.close()
    process.kill(spare.pid)


def _installation() -> tuple[tuple[str, int], ...]:
    """Describe what an interpreter finds when it starts: paths, and when each was changed (nanoseconds)."""
    return tuple((path, _changed_at(path)) for path in _paths())


def _paths() -> Iterator[str]:
    yield sys.executable
    places = sysconfig.get_paths()
    for directory in sorted({places["purelib"], places["platlib"], site.getusersitepackages()}):
        yield directory
        try:
            names = sorted(os.listdir(directory))
        except OSError:
            continue
        yield from (os.path.join(directory, name) for name in names if name.endswith(".pth"))


def _changed_at(path: str) -> int:
    try:
        return os.stat(path).st_mtime_ns
    except OSError:
        return 0
