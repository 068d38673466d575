"""The access log's files: the controller opens them and hands the descriptors on, so that no worker has to.

A worker that cannot open its log would not start, and a log that was openable when the service began may not be when a
worker is replaced: another user's after the rotation, its directory removed, out of reach without the privileges that
the controller had. So a worker gets a descriptor over its channel (``ReopenLog``), or goes without until there is one.

Rules: a path is that of the directory in which the service was started, whatever links and the application do later. A
file that cannot be opened costs no worker and no reload: the one that was open stays in use, it is tried again, and the
log says both once.
"""

import errno
import os
import stat
from collections.abc import Callable, Collection, Mapping
from typing import Final

from spawning.errors import ConfigError
from spawning.logs.log import Log
from spawning.logs.setup import fields
from spawning.logs.streams import open_file
from spawning.logs.syslog import connected
from spawning.settings.destination import STREAMS, Syslog, is_file, syslog

TRY_AGAIN: Final = 1.0  # seconds

log = Log("spawning.controller")


class LogFiles:
    """Descriptors by path. For the controller's loop alone.

    :param directory: where the service was started: relative paths begin there.
    :param opened: what the program before this one has left, by absolute path.
    :param hand_out: gives workers that log to a path a new descriptor, which stays open here.
    """

    def __init__(self, directory: str, opened: Mapping[str, int], hand_out: Callable[[str, int], None]) -> None:
        self.directory = directory
        self.opened = dict(opened)
        self._hand_out = hand_out
        self._wanted: set[str] = set(self.opened)
        self._failed: dict[str, str] = {}  # why, as the log has it
        self._next_try = 0.0  # monotonic seconds

    def path(self, name: str) -> str | None:
        """Return the absolute path that a setting means; None if it means no file."""
        return os.path.join(self.directory, name) if is_file(name) else None

    def open_first(self, name: str, origin: str) -> None:
        """Open a log before anything is served.

        :param origin: where the name came from, for messages.
        :raises ConfigError: it cannot be opened, for another reason than that nobody reads a FIFO yet.
        """
        if (to := syslog(name)) is not None:
            check_syslog(to, origin)
        path = self.path(name)
        if path is None or path in self.opened:
            return
        try:
            self.opened[path] = open_file(path)
        except OSError as error:
            if not _is_fifo_without_reader(path, error):
                raise ConfigError(f"{origin}: cannot write {name}: {error.strerror}") from None
            self._fail(path, error)
        self._wanted.add(path)

    def want(self, name: str) -> None:
        """Open a log that a generation wants, unless it is open; if that fails, go on trying."""
        path = self.path(name)
        if path is not None and path not in self._wanted:
            self._wanted.add(path)
            self._open(path)

    def descriptor(self, name: str) -> int | None:
        """Return the open descriptor that a setting means; None if there is none."""
        path = self.path(name)
        return None if path is None else self.opened.get(path)

    def reopen(self, cause: str, names: set[str], files: Collection[str] = ()) -> None:
        """Open all logs anew, since they were rotated, and log for each what has become of it.

        :param cause: for the log.
        :param names: what the settings of all generations say; files that are in none of them are closed.
        :param files: those of ``stdout`` and ``stderr`` that are files of ours, and reopened elsewhere.
        """
        paths = {path for path in map(self.path, names) if path is not None}
        for path in self._wanted - paths:
            self._close(path)
        for path in sorted(paths):
            self._wanted.add(path)
            if self._open(path):
                log.info("log reopened %s", fields(log="access", file=path, signal=cause))
        for name in sorted(names - {os.devnull}):
            if is_file(name):
                continue
            stream = STREAMS.get(name, "syslog")
            if stream not in files:
                log.info("log not reopened %s", fields(log="access", reason=f"it is {stream}", signal=cause))
        if "stderr" not in files:
            log.info("log not reopened %s", fields(log="error", reason="it is stderr", signal=cause))

    def look(self, now: float) -> float:
        """Try again what has failed, when it is time; return when to look next (monotonic seconds; infinity: never)."""
        if not self._failed:
            return float("inf")
        if now >= self._next_try:
            self._next_try = now + TRY_AGAIN
            for path in list(self._failed):
                if self._open(path):
                    log.info("log opened %s", fields(log="access", file=path))
        return self._next_try if self._failed else float("inf")

    def close(self) -> None:
        """Close them all: the service has ended."""
        for path in list(self._wanted):
            self._close(path)

    def _open(self, path: str) -> bool:
        try:
            descriptor = open_file(path)
        except OSError as error:
            self._fail(path, error)
            return False
        self._failed.pop(path, None)
        before = self.opened.get(path)
        self.opened[path] = descriptor
        self._hand_out(path, descriptor)
        if before is not None:
            os.close(before)
        return True

    def _fail(self, path: str, error: OSError) -> None:
        reason = why_not(path, error)
        if self._failed.get(path) != reason:
            self._failed[path] = reason
            meanwhile = "the file before" if path in self.opened else "nothing"
            log.error("log cannot be opened %s", fields(log="access", file=path, reason=reason, meanwhile=meanwhile))

    def _close(self, path: str) -> None:
        self._wanted.discard(path)
        self._failed.pop(path, None)
        descriptor = self.opened.pop(path, None)
        if descriptor is not None:
            os.close(descriptor)


def check_syslog(to: Syslog, origin: str) -> None:
    """See that a syslog daemon is there, as far as that can be known: by UDP it cannot.

    :param origin: where its address came from, for messages.
    :raises ConfigError: it is not, or its name is unknown.
    """
    try:
        connected(to).close()
    except OSError as error:
        where = to.path or to.host
        raise ConfigError(f"{origin}: no syslog daemon at {where}: {error.strerror or error}") from None


def why_not(path: str, error: OSError) -> str:
    """Return in a few words why a file cannot be opened."""
    return "it is a FIFO that nobody reads" if _is_fifo_without_reader(path, error) else str(error.strerror)


def _is_fifo_without_reader(path: str, error: OSError) -> bool:
    if error.errno != errno.ENXIO:
        return False
    try:
        return stat.S_ISFIFO(os.stat(path).st_mode)
    except OSError:
        return False
