"""Begin and end the log of a process, which goes to stderr as the process has found it.

Rules: :func:`configure` before anything of the application is imported, :func:`begin` first thing in a worker that was
forked, :func:`finish` before a process ends in another way than by returning from ``main``.
"""

import atexit
import contextlib
import json
import logging
import os
import sys
from collections.abc import Sequence

from spawning.logs.log import IN_COLOURS, NAMES, Log, target
from spawning.logs.writer import Writer
from spawning.logs.zone import Zone
from spawning.settings import Settings
from spawning.settings.log_format import JSON
from spawning.settings.values import LOG_LEVELS
from spawning.standard import copy

LEVELS = dict(zip(LOG_LEVELS, (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR), strict=True))
LAST_SECONDS = 1.0  # that the end of a process waits for its log to be written

log = Log("spawning.logs")

_streams: dict[str, int] = {}  # the server's own copies of stdout and stderr
_stands_for = {1: "stdout", 2: "stderr"}  # which of them a descriptor is a copy of


def configure(settings: Settings | None, zone: Sequence[Sequence[int]] = (), *, turns: bool = True) -> None:
    """Have this process log to its stderr; called again, only change how much, and in which format.

    :param settings: None: they are not known yet.
    :param zone: the controller's (``Zone.changes``), in the processes that it starts; by default that of this process.
    :param turns: take turns with other processes (``turns.py``): not in one that may be stopped.
    """
    if settings is not None:
        target.level = logging.DEBUG if settings.verbose else LEVELS[settings.log_level]
        target.json = settings.log_format == JSON
    if target.writer is None:
        target.zone = Zone(zone) if zone else Zone.here()
        _streams.update(stdout=copy(1), stderr=copy(2))
        target.writer = Writer(_streams["stderr"], lambda count: report_lost(count, "error"), turns=turns)
        target.names = IN_COLOURS if has_colours(_streams["stderr"]) else NAMES
        atexit.register(finish)


def has_colours(descriptor: int) -> bool:
    """Whether a stream is a terminal that is to have colours (https://no-color.org)."""
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb" and os.isatty(descriptor)


def begin() -> None:
    """Log from this process, which was forked from one that does."""
    if target.writer is not None:
        target.writer.begin()


def start() -> None:
    """Start what writes the log, before a request runs that may be interrupted (``--request-timeout``) in that."""
    if target.writer is not None:
        target.writer.start()


def finish(seconds: float = LAST_SECONDS) -> None:
    """Write what waits to be written, unless that takes longer than so many seconds. Logging goes on."""
    if target.writer is not None:
        target.writer.drain(seconds)


def say(text: str) -> None:
    """Write lines to stderr that are no records: what a command answers to the person who typed it."""
    if target.writer is None:
        sys.stderr.write(text)
    else:
        target.writer.put(text)
        finish()


def stream(name: str) -> int:
    """Return the server's own copy of ``stdout`` or ``stderr`` as it was found, or where nothing is configured that
    itself.
    """
    return _streams.get(name, 1 if name == "stdout" else 2)


def lost_lines() -> int:
    """Return how many lines of this process's error log could not be written."""
    return target.writer.lost if target.writer is not None else 0


def redirect(stream: int, descriptor: int) -> None:
    """Have stdout (1) or stderr (2) of this process be another open file, as of now; the log as well.

    If the application has put something else in its place, that stays, and only the server's own lines go elsewhere.

    :param descriptor: of the file; it is the caller's to close.
    """
    name = "stdout" if stream == 1 else "stderr"
    own = _streams.get(name)
    if own is None:
        return
    for each in (each for each, stands_for in _stands_for.items() if stands_for == name):
        with contextlib.suppress(OSError):  # closed
            if os.path.samestat(os.fstat(each), os.fstat(own)):
                os.dup2(descriptor, each)
    os.dup2(descriptor, own, inheritable=False)


def join_streams() -> None:
    """Have the descriptor 1 be what 2 is, now and when that is redirected."""
    os.dup2(_streams.get("stderr", 2), 1)
    _stands_for[1] = "stderr"


def zone() -> Zone:
    """Return the time zone of the log."""
    return target.zone


def report_lost(count: int, name: str) -> None:
    """Log that lines were lost.

    :param name: of the log that they were of: ``access`` or ``error``.
    """
    log.warning("log lines lost %s", fields(count=count, log=name))


def fields(**values: object) -> str:
    """Format ``key=value`` pairs for the end of a log line; text that is not one plain word is quoted as in JSON.

    >>> fields(worker="1.2", reason="it does not import")
    'worker=1.2 reason="it does not import"'
    """
    return " ".join(f"{key}={_value(value)}" for key, value in values.items())


def _value(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.3f}"
    text = str(value)
    plain = text.isprintable() and text and not any(mark in text for mark in ' "=')
    return text if plain else json.dumps(text, ensure_ascii=False)
