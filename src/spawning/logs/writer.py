"""A buffer of lines, and a thread that writes them to one descriptor: nobody waits for the reader of the log.

Why a thread, and blocking writes. ``O_NONBLOCK`` belongs to the open file description, and that of stdout is shared
with the shell and with whatever else writes there: setting it would break their writes. To ask ``poll`` first is no
promise when several workers write to one pipe: each is told that there is room, the first takes it, the others sleep
in ``write``, which is what must not happen. A disk that hangs is always writable for ``poll``. So there is one thread
a descriptor that may sleep, and all others put their lines into a queue.

Rules: a buffer holds :data:`MOST_HELD` characters; what comes when it is full is lost and counted, and the count is
reported when a write succeeds again. To anything but a regular file at most ``PIPE_BUF`` bytes are written at once, cut
at the ends of lines: the kernel keeps those together (POSIX, "write"), and lines that are longer go in turns
(``turns.py``), so lines of several workers do not mix.

Knows neither what a line says nor what the descriptor is.
"""

import os
import select
import stat
from _thread import LockType, allocate_lock, start_new_thread
from collections.abc import Callable
from os import getpid, write
from queue import Empty, SimpleQueue
from select import poll
from signal import SIG_BLOCK, SIG_SETMASK, pthread_sigmask, valid_signals
from time import monotonic
from typing import Final

from spawning.logs.turns import Turn

MOST_HELD: Final = 4 << 20
"""Characters that a buffer holds: some 28,000 lines of an access log, a second or more of a busy worker."""

_MOST_AT_ONCE: Final = 1 << 20  # bytes a write to a regular file, which has no reader to wait for
_REPORT_EVERY: Final = 1.0  # seconds
_SETTLE_SECONDS: Final = 0.1  # that a thread waits at most for its lines to be written, when it asks for that


class Writer:
    """One descriptor's lines. :meth:`put` from any thread and any signal handler; the rest from one thread.

    The queue is C code that takes no lock which a thread could be interrupted with. Counters that several threads
    change are not protected: the interpreter changes threads at calls and jumps, not inside ``+=``, and a count that
    were wrong by one would harm nobody.

    The names of the standard library are bound when this module is imported, before the application may replace them.

    A process that is forked has no such thread. It writes directly, like any program that writes to its stderr, until
    it says :meth:`begin`: only workers do. What the parent has not written yet is the parent's to write.

    :param descriptor: open for writing, or -1: then every line is lost.
    :param report: gets the number of lines that were lost, once a write succeeds again; called from the thread.
    :param lost: lines that were lost before, to be reported too.
    :param most: characters that the buffer holds.
    :param turns: take turns with other processes (``turns.py``).
    """

    def __init__(
        self,
        descriptor: int,
        report: Callable[[int], None],
        *,
        lost: int = 0,
        most: int = MOST_HELD,
        turns: bool = True,
    ) -> None:
        self._descriptor = descriptor
        self._report = report
        self._most = most
        self._at_once = _MOST_AT_ONCE if _is_regular(descriptor) else select.PIPE_BUF
        self._torn = False  # what was written last ends in the middle of a line
        self.begin(turns=turns)
        self._lost = lost

    def begin(self, *, turns: bool = True) -> None:
        """Be this process's own writer, with an empty buffer."""
        self._turn = Turn(self._descriptor if turns else -1)
        self._queue: SimpleQueue[str | LockType | None] = SimpleQueue()
        self._running = allocate_lock()  # taken once there is a thread
        self._given = 0  # characters that were put …
        self._taken = 0  # … and those of them that are written, or lost
        self._lost = 0  # lines …
        self._reported = 0  # … and those of them that were reported
        self._next_report = 0.0  # monotonic seconds
        self._current = ""  # what the thread is writing
        self._pid = getpid()
        self._behind = False  # somebody has waited in vain, and not all is written yet

    def put(self, text: str) -> None:
        """Have whole lines written, soon; never waits, never raises."""
        if self._pid != getpid():
            self._write(text, Turn(self._descriptor))
            return
        room = self._most - (self._given - self._taken)
        if len(text) > room:
            whole = text[: text.rfind("\n", 0, max(0, room)) + 1]
            self._lost += text.count("\n", len(whole))
            text = whole
        if text:
            self._given += len(text)
            self._queue.put(text)
            if not self._running.locked():
                self.start()

    def drain(self, seconds: float) -> bool:
        """Wait until all that was put is written; whether it is, within so many seconds."""
        if self._pid != getpid() or self._given == self._taken:
            return True
        mark = allocate_lock()
        mark.acquire()
        self._queue.put(mark)
        self.start()
        return mark.acquire(timeout=max(0.0, seconds))

    def settle(self) -> None:
        """Wait a moment for all that was put to be written. Any thread.

        So lines are not lost with a process that is killed right after it has flushed them. A reader that stalls, or is
        too slow, costs that moment once: nobody waits again before all is written.
        """
        if not self._behind and not self.drain(_SETTLE_SECONDS):
            self._behind = True

    def finish(self) -> None:
        """Close the descriptor when all that was put is written, and end the thread."""
        if self._given == self._taken and not self._running.locked():
            self._close()
        else:
            self._queue.put(None)
            self.start()

    @property
    def lost(self) -> int:
        """How many lines were lost so far, reported or not."""
        return self._lost

    @property
    def losing(self) -> bool:
        """Whether lines were lost that were not reported."""
        return self._lost != self._reported

    def take_lost(self) -> int:
        """Return the number of lost lines that were not reported; the caller reports them."""
        count = self._lost - self._reported
        self._reported = self._lost
        return count

    def give_up(self) -> int:
        """Return how many lines will never be written: those that were lost, and those that wait."""
        count = self.take_lost() + self._current.count("\n")
        while True:
            try:
                item = self._queue.get_nowait()
            except Empty:
                return count
            if isinstance(item, str):
                count += item.count("\n")

    # -- the thread ---------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the thread, unless there is one; the first line does, too. No signal is for it."""
        if not self._running.acquire(blocking=False):
            return
        before = pthread_sigmask(SIG_BLOCK, valid_signals())
        try:
            start_new_thread(self._run, ())
        except RuntimeError:  # no thread is left to be had: the next line tries again
            self._running.release()
        finally:
            pthread_sigmask(SIG_SETMASK, before)

    def _run(self) -> None:
        queue = self._queue
        while True:
            item = queue.get()
            if item is None:
                if self.losing:
                    self._report(self.take_lost())
                self._close()
                return
            if not isinstance(item, str):
                item.release()
                continue
            self._current = item
            try:
                whole = self._write(item, self._turn)
            # boundary: a bug here, or want of memory, costs these lines; without the thread it would cost all
            except Exception:
                self._lost += item.count("\n")
                whole = False
            self._current = ""
            self._taken += len(item)
            if self._behind and self._given == self._taken:
                self._behind = False
            if whole and self.losing and monotonic() >= self._next_report:
                self._next_report = monotonic() + _REPORT_EVERY
                self._report(self.take_lost())

    def _close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)

    def _write(self, text: str, turn: Turn) -> bool:
        """Write lines, and count what is lost; whether nothing is."""
        with turn:
            return self._write_in_turn(text)

    def _write_in_turn(self, text: str) -> bool:
        data = text.encode("utf-8", "backslashreplace")
        if self._torn:
            data = b"\n" + data
        start = 0
        while start < len(data):
            end = _end(data, start, self._at_once)
            try:
                start += write(self._descriptor, data[start:end])
            except BlockingIOError:  # somebody else has made the description that we share non-blocking
                _wait_for_room(self._descriptor)
            except OSError:  # disk full, reader gone
                self._lost += data.count(b"\n", max(start, int(self._torn)))
                self._torn = data[start - 1] != ord("\n") if start else self._torn
                return False
        self._torn = False
        return True


def _end(data: bytes, start: int, most: int) -> int:
    """Return where a write that begins at `start` has to end.

    A line that is longer than `most` goes whole: it is this process's turn, and a process that takes no turns finds
    fewer gaps.
    """
    if len(data) - start <= most:
        return len(data)
    return data.rfind(b"\n", start, start + most) + 1 or data.find(b"\n", start) + 1 or len(data)


def _wait_for_room(descriptor: int) -> None:
    room = poll()
    room.register(descriptor, select.POLLOUT)
    room.poll()


def _is_regular(descriptor: int) -> bool:
    try:
        return stat.S_ISREG(os.fstat(descriptor).st_mode)
    except OSError:
        return False
