"""The end of a worker's process, which is the application's: its ``atexit`` functions, threads that are no daemons,
executors, processes of ``multiprocessing``.

The interpreter waits for all of that at its end, in the main thread and without a limit. So a thread of our own looks
on until the time is over that the worker was given (``--deadman_timeout``), says what is given up, ends the processes,
and ends the worker. Should the interpreter not even let that thread run, the alarm of the kernel does it.
"""

import math
import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from time import monotonic
from types import FrameType
from typing import Any, Final

from spawning.logs.log import Log
from spawning.logs.setup import fields, finish
from spawning.primitives import ServerThread, current_frames, sleep

LEAST: Final = 0.4  # seconds for the application, also when requests have taken all the time there was
POLITELY: Final = 0.3  # seconds between asking children to end and killing them
LAST: Final = 3.0  # seconds after which the kernel ends a worker that could not do it itself
_OWN_ENDS: Final = ("threading.", "multiprocessing.", "concurrent.futures.")  # what they wait for is named anyway
_PROGRAM: Final = ("__main__.", "spawning.")  # the fork server's, which a worker goes on with

log = Log("spawning.worker")


def look_after_end(worker: str, until: float) -> None:
    """Bound what is left of this process. Main thread, which ends the program next.

    :param worker: its name, for the log.
    :param until: monotonic seconds.
    """
    seconds = max(until - monotonic(), LEAST)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(math.ceil(seconds + LAST))
    with suppress(RuntimeError):  # no thread can be started: the alarm will do
        _Guard(worker, seconds).start()
    for each in threading.enumerate():
        if isinstance(each, ServerThread):
            each.become_daemon()


class _Guard(ServerThread):
    def __init__(self, worker: str, seconds: float) -> None:
        super().__init__(f"end of worker {worker}")
        self.become_daemon()
        self._worker = worker
        self._seconds = seconds

    def run(self) -> None:
        sleep(self._seconds)
        # boundary: whatever the application has made of threads and logging, the worker ends
        with suppress(BaseException):
            _give_up(self._worker)
        finish()
        os._exit(1)


def _give_up(worker: str) -> None:
    children = _children()
    given_up = {
        "threads": ", ".join(each.name for each in _threads()),
        "children": ", ".join(str(each.pid) for each in children),
        **_function_at_end(current_frames().get(threading.main_thread().ident or 0)),
    }
    named = fields(**{key: value for key, value in given_up.items() if value})
    log.error("given up what the application does at its end %s", f"{fields(worker=worker)} {named}".rstrip())
    _end(children)


def _threads() -> list[threading.Thread]:
    """List the threads that the interpreter waits for."""
    main = threading.main_thread()
    return [
        each
        for each in threading.enumerate()
        if each is not main and not each.daemon and not isinstance(each, ServerThread)
    ]


def _children() -> list[Any]:
    """List the processes of ``multiprocessing``, which nobody else has imported if the application has not."""
    found: Callable[[], list[Any]] | None = getattr(sys.modules.get("multiprocessing"), "active_children", None)
    return found() if found is not None else []


def _end(children: list[Any]) -> None:
    for child in children:
        with suppress(Exception):  # boundary: another thread of the application may be at it as well
            child.terminate()
    until = monotonic() + POLITELY
    while any(child.exitcode is None for child in children) and monotonic() < until:
        sleep(0.01)
    for child in children:
        with suppress(Exception):  # boundary: as above
            child.kill()


def _function_at_end(frame: FrameType | None) -> dict[str, str]:
    """Name the function that the main thread executes at the end, the application's first, and where in it that is:
    as ``atexit``, or as ``on_exit`` (``lifecycle``) while our own program has not returned.
    """
    frames = []
    while frame is not None:
        frames.append(frame)
        frame = frame.f_back
    begun = len(frames)
    while frames and f"{frames[-1].f_globals.get('__name__', '')}.".startswith(_PROGRAM):
        frames.pop()
    if not frames or f"{frames[-1].f_globals.get('__name__', '')}.".startswith(_OWN_ENDS):
        return {}
    found = frames[-1]
    name = f"{found.f_globals.get('__name__', '?')}.{found.f_code.co_qualname}"
    place = f"({found.f_code.co_filename}, line {found.f_lineno})"
    return {"atexit" if len(frames) == begun else "on_exit": f"{name} {place}"}
