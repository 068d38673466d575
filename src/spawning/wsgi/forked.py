"""The end of a process that an application has forked in a worker and that comes back out of the application.

Such a process is no worker: it must neither answer the request, which the worker answers, nor go on serving. Where the
application returns or raises, it ends, without ``atexit`` functions, which are those of the worker.
"""

import sys
from contextlib import suppress
from os import _exit, getpid
from typing import NoReturn

from spawning.logs.log import Log

log = Log("spawning.app")

child = False
"""This process was forked by an application. Looked at once for each request: one look into a dictionary."""


def leave(error: BaseException | None = None) -> NoReturn:
    """End this process: with status 0, with that of ``sys.exit``, or with 1 and the traceback in the log.

    :param error: what the application has raised.
    """
    status = _status(error)
    # boundary: whatever the log and the streams of a forked process do, it ends
    with suppress(BaseException):
        if error is not None and not isinstance(error, SystemExit):
            log.exception("a process that the application has forked fails pid=%d", getpid())
    for stream in (sys.stdout, sys.stderr):
        with suppress(BaseException):  # boundary: as above
            stream.flush()
    _exit(status)


def _status(error: BaseException | None) -> int:
    if error is None:
        return 0
    if not isinstance(error, SystemExit):
        return 1
    if error.code is None:
        return 0
    if isinstance(error.code, int):
        return error.code & 0xFF
    with suppress(BaseException):  # boundary: as above
        sys.stderr.write(f"{error.code}\n")
    return 1
