"""The server's log lines: what they look like, and that nothing silences them.

    2026-11-23 19:30:49.123 +0100 [4711] INFO worker died worker=1.2 pid=123 signal=SIGKILL

Rules: a line is a short sentence and then ``key=value`` with stable keys; people grep them and tests assert them. What
a line says may come from clients, so whatever is not printable is escaped, and every further line of a record, of a
traceback above all, begins with two spaces: no text in a record of ours can forge another. All processes write the same
time zone. What an application writes to ``wsgi.errors`` is no record: it goes through :func:`write` as it is, like what
it prints.

This is not ``logging``, which belongs to the application: its configuration disables loggers, sets levels, replaces
classes and the factory of records, in the middle of a request if it likes. Outside of a server (``spawnctl``, tests)
nothing is configured, and lines go to the logger of the same name.
"""

import logging
import os
import re
import sys
import time
import traceback
from typing import Final

from spawning.logs import objects
from spawning.logs.writer import Writer
from spawning.logs.zone import Zone

NAMES: Final = {
    logging.DEBUG: "DEBUG",
    logging.INFO: "INFO",
    logging.WARNING: "WARNING",
    logging.ERROR: "ERROR",
    logging.CRITICAL: "CRITICAL",  # of applications
}
IN_COLOURS: Final = {
    **NAMES,
    logging.WARNING: "\x1b[33mWARNING\x1b[0m",
    logging.ERROR: "\x1b[31mERROR\x1b[0m",
    logging.CRITICAL: "\x1b[31mCRITICAL\x1b[0m",
}
_COLOUR: Final = re.compile(r"(\x1b\[[0-9;]*m)")  # ECMA-48, SGR: changes colours, nothing else


class Log:
    """Lines of one part of the server. Any method from any thread; none of them waits or raises.

    :param name: of the logger to use outside of a server.
    """

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        self._name = name

    def debug(self, message: str, *values: object) -> None:
        """Log a detail. `message` is a format for `values`, as in ``logging``."""
        self._log(logging.DEBUG, message, values)

    def info(self, message: str, *values: object) -> None:
        """Log what has happened as it should."""
        self._log(logging.INFO, message, values)

    def warning(self, message: str, *values: object) -> None:
        """Log what somebody should know of, though it harms nobody yet."""
        self._log(logging.WARNING, message, values)

    def error(self, message: str, *values: object) -> None:
        """Log what has gone wrong."""
        self._log(logging.ERROR, message, values)

    def exception(self, message: str, *values: object) -> None:
        """Log what has gone wrong, with the traceback of the exception that is being handled."""
        self._log(logging.ERROR, message, values, sys.exc_info()[1])

    def coloured(self, message: str, *values: object) -> None:
        """Log an error whose text has colours that are ours (``readable.py``): those are kept."""
        if target.writer is None:
            self.error(message, *values)
        else:
            parts = _COLOUR.split(_formatted(message, values))
            if target.json:
                parts[1::2] = [""] * len(parts[1::2])
            target.writer.put(_record(logging.ERROR, parts))

    def _log(self, level: int, message: str, values: tuple[object, ...], error: BaseException | None = None) -> None:
        if target.writer is None:
            logging.getLogger(self._name).log(level, message, *values, exc_info=error)
            return
        if level >= target.level:
            target.writer.put(_record(level, [_formatted(message, values)], error))


class Target:
    """Where the lines of this process go. Set by ``setup.py``.

    :ivar writer: None outside of a server.
    :ivar level: what is below it is not logged.
    :ivar json: records are objects (``objects.py``).
    :ivar names: level to how it is written.
    """

    def __init__(self) -> None:
        self.writer: Writer | None = None
        self.level = logging.INFO
        self.json = False
        self.names = NAMES
        self.zone = Zone([])
        self._second = ((-1, False), "", "")  # and its two parts, in one of the two notations

    def stamp(self) -> str:
        """Return the time of day: ``2026-11-23 19:30:49.123 +0100``, or as RFC 3339 has it in JSON."""
        now = time.time()
        known, begin, offset = self._second
        if known != (int(now), self.json):
            local, offset = self.zone.local(int(now))
            begin = time.strftime("%Y-%m-%dT%H:%M:%S" if self.json else "%Y-%m-%d %H:%M:%S", local)
            offset = f"{offset[:3]}:{offset[3:]}" if self.json else f" {offset}"
            self._second = (int(now), self.json), begin, offset
        return f"{begin}.{int(now % 1 * 1000):03}{offset}"


target: Final = Target()


def write(text: str, stream: str = "wsgi.errors") -> None:
    """Write whole lines that are no records, as they are, or each as an object. Any thread; does not wait.

    :param stream: what an application has written them to.
    """
    if target.writer is None:
        sys.stderr.write(text)
    elif target.json:
        target.writer.put(objects.lines(target.stamp(), os.getpid(), text, stream))
    else:
        target.writer.put(text)


def put(level: int, text: str, error: BaseException | None = None) -> bool:
    """Write a record of an application's, whatever the level of the server's own. Any thread; does not wait.

    :param level: one of ``logging``, or between two of them.
    :param text: as a record of ours, with pairs at its end.
    :param error: whose traceback is to follow.
    :returns: whether there is a log of a server; else nothing is done.
    """
    if target.writer is None:
        return False
    known = max((each for each in NAMES if each <= level), default=logging.DEBUG)
    target.writer.put(_record(known, [text], error))
    return True


def settle() -> None:
    """Wait a moment for what was written to be out of this process, unless nobody reads it. Any thread."""
    if target.writer is None:
        sys.stderr.flush()
    else:
        target.writer.settle()


def escaped(text: str) -> str:
    """Escape whatever is not printable as Python does (``\\x1b``), but for the ends of lines.

    >>> escaped("a\\x1b[31m")
    'a\\\\x1b[31m'
    """
    if text.isprintable():
        return text
    return "".join([c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text])


def _record(level: int, parts: list[str], error: BaseException | None = None) -> str:
    """Make a record. Every second part is a colour, which is kept."""
    trace = _traceback(error) if error is not None else ""
    if target.json:
        return objects.record(target.stamp(), os.getpid(), NAMES[level], "".join(parts), error, trace)
    if trace:
        parts = [*parts[:-1], f"{parts[-1]}\n{trace}"]
    parts[::2] = map(escaped, parts[::2])
    text = "".join(parts).rstrip("\n").replace("\n", "\n  ")
    return f"{target.stamp()} [{os.getpid()}] {target.names[level]} {text}\n"


def _formatted(message: str, values: tuple[object, ...]) -> str:
    try:
        return message % values if values else message
    # boundary: how an object of the application is shown is the application's code
    except Exception as error:
        return f"{message} (the values cannot be shown: {type(error).__name__})"


def _traceback(error: BaseException) -> str:
    try:
        return "".join(traceback.format_exception(error))
    # boundary: the exception is the application's, and so is how it is shown
    except Exception as other:
        return f"{type(error).__name__} (its traceback cannot be shown: {type(other).__name__})"
