"""Where the application's words go: Python's ``logging`` by ``--log-config``, what it prints by ``--capture-output``.

Both are done in the fork server before anything of the application is imported, and its workers have them from there.
"""

import atexit
import contextlib
import importlib
import os
import re
import sys
from functools import partial
from typing import Any, BinaryIO, Final, TextIO, cast

from spawning.logs.log import write
from spawning.logs.setup import join_streams
from spawning.settings.log_config import LogConfig
from spawning.wsgi.errors import ErrorStream

_PLACE: Final = re.compile(r"Unable to configure (formatter|filter|handler|logger|root)(?: '(.*)')?")


def configure_logging(path: str, shown: str, origin: str) -> None:
    """Configure ``logging`` from a file. The server's own lines do not pass through it (``logs/log.py``).

    :param shown: what the file is called in messages.
    :param origin: where it was named.
    :raises ConfigError: the file is wrong, or what it names fails.
    """
    config = LogConfig(path, shown, origin)
    stderr = sys.stderr
    if not isinstance(stderr, Captured):  # handlers that write there are to wait for no reader either
        sys.stderr = cast("TextIO", Captured(2, "stderr"))
    try:
        importlib.import_module("logging.config").dictConfig(config.values)
    # boundary: handlers and formatters may be the application's classes
    except (Exception, SystemExit) as error:
        place = _PLACE.match(str(error))
        key = () if place is None else ("root",) if place[1] == "root" else (f"{place[1]}s", place[2] or "?")
        config.refuse(_reason(error), *key)
    finally:
        sys.stderr = stderr


def _reason(error: BaseException) -> str:
    """Return what was raised first: ``logging`` wraps it, and says no more than where."""
    while (cause := error.__cause__) is not None and str(cause):
        error = cause
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def capture() -> None:
    """Have what is printed go to the error log, from Python by its writer, which waits for no reader.

    What does not pass through ``sys``, of extensions and programs that are started, goes there directly.
    """
    if isinstance(sys.stdout, Captured):
        return
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(ValueError, AttributeError):  # closed, or something else
            stream.flush()
    join_streams()
    out, err = Captured(1, "stdout"), Captured(2, "stderr")
    sys.stdout, sys.stderr = cast("TextIO", out), cast("TextIO", err)
    for stream in (out, err):
        atexit.register(stream.close)  # what has not ended its line


def end_lines() -> None:
    """Write what was printed without the end of its line, which each worker would have from here otherwise."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, Captured):
            stream.close()


class Captured(ErrorStream):
    """``sys.stdout`` or ``sys.stderr``, whose lines go to the error log.

    :param descriptor: the one that programs expect behind it.
    :param name: ``stdout`` or ``stderr``, for lines in JSON.
    """

    refusal = "a text stream takes str, not %s"

    def __init__(self, descriptor: int, name: str) -> None:
        super().__init__(partial(write, stream=name))
        self.name = f"<{name}>"
        self.mode = "w"
        self._descriptor = descriptor

    @property
    def buffer(self) -> BinaryIO:
        """The stream for bytes."""
        return cast("BinaryIO", _Bytes(self))

    @property
    def line_buffering(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return os.isatty(self._descriptor)

    def reconfigure(self, **_: Any) -> None:
        """Change nothing: lines are UTF-8, and go at their ends."""


class _Bytes:
    """What ``sys.stdout.buffer`` is."""

    def __init__(self, stream: Captured) -> None:
        self._stream = stream
        self.raw = self
        self.flush = stream.flush
        self.fileno = stream.fileno
        self.isatty = stream.isatty

    def write(self, data: Any, /) -> int:
        self._stream.write(bytes(data).decode("utf-8", "backslashreplace"))
        return len(data)

    def writable(self) -> bool:
        return True
