"""Scripted interleavings: a thread stops before a line of the code under test, and goes on when the test says so.

A :class:`Stop` names a function and a text of one of its lines. The first thread that comes to that line waits there;
the test waits until it does (:meth:`Stop.wait`), lets others run, and lets it go on (:meth:`Stop.go_on`). So a race is
not hoped for but forced. Every wait has a deadline; nothing sleeps. Only threads that are started inside of the
:func:`stopping` block stop.
"""

import contextlib
import linecache
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

DEADLINE = 30.0  # seconds, for what takes a moment


class Stop:
    """A place at which a thread stops, once.

    :param function: its qualified name, ``"Lead._pop"``.
    :param line: a text of the line before which it stops.
    """

    def __init__(self, function: str, line: str) -> None:
        self.function = function
        self.line = line
        self._lock = threading.Lock()
        self._free = True
        self._reached = threading.Event()
        self._released = threading.Event()

    def wait(self) -> None:
        """Wait until a thread has stopped here."""
        assert self._reached.wait(DEADLINE), f"nobody comes to {self.line!r} in {self.function}"

    def go_on(self) -> None:
        """Let the thread go on; one that is yet to come does not stop."""
        self._released.set()

    @property
    def reached(self) -> bool:
        return self._reached.is_set()

    def hold(self) -> None:
        """Wait here; called by the thread that stops."""
        with self._lock:
            first, self._free = self._free, False
        if first:
            self._reached.set()
            assert self._released.wait(DEADLINE), f"nobody lets go on at {self.line!r} in {self.function}"


@contextlib.contextmanager
def stopping(*stops: Stop) -> Iterator[None]:
    """Make threads that are started inside of the block stop at these places; at its end all of them go on."""
    by_function: dict[str, list[Stop]] = {}
    for stop in stops:
        by_function.setdefault(stop.function, []).append(stop)

    def on_call(frame: FrameType, _event: str, _argument: Any) -> Any:
        return on_line if frame.f_code.co_qualname in by_function else None

    def on_line(frame: FrameType, event: str, _argument: Any) -> Any:
        if event == "line":
            code = frame.f_code
            text = linecache.getline(code.co_filename, frame.f_lineno)
            for stop in by_function[code.co_qualname]:
                if stop.line in text:
                    stop.hold()
        return on_line

    before = threading.gettrace()
    threading.settrace(on_call)
    try:
        yield
    finally:
        threading.settrace(before)
        for stop in stops:
            stop.go_on()


class Running:
    """A function that runs in a thread of its own, so that a lock which nobody releases is a failure and no hang."""

    def __init__(self, function: Callable[..., Any], *arguments: object) -> None:
        self._outcome: list[Any] = []
        self._error: list[BaseException] = []
        self._thread = threading.Thread(target=self._run, args=(function, arguments), daemon=True)
        self._thread.start()

    def _run(self, function: Callable[..., Any], arguments: tuple[object, ...]) -> None:
        try:
            self._outcome.append(function(*arguments))
        except BaseException as error:
            self._error.append(error)
        finally:
            sys.settrace(None)

    def result(self) -> Any:
        """Wait for the end; return what the function has returned, or raise what it has raised."""
        self._thread.join(DEADLINE)
        assert not self._thread.is_alive(), "it does not end"
        if self._error:
            raise self._error[0]
        return self._outcome[0]

    @property
    def ended(self) -> bool:
        return not self._thread.is_alive()


def eventually(probe: Callable[[], object], what: str) -> None:
    """Wait for what no one announces, looking again and again.

    :raises AssertionError: it does not come true.
    """
    pause = threading.Event()
    for _ in range(round(DEADLINE / 0.002)):
        if probe():
            return
        pause.wait(0.002)
    raise AssertionError(f"never: {what}")
