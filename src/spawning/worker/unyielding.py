"""Greenlets that do not yield: while one computes, or waits in a way that gevent does not know, all others wait for it.

The attendant looks several times a second whether the loop has had a turn. If it has not, and the hub does not wait,
the loop is asked to have one; if it has had none by the next look, what runs is named in the log, with its stack, once
for each place.
"""

import traceback
from math import inf
from typing import Final

from spawning.logs.log import Log
from spawning.worker.context import Context
from spawning.worker.dispatch import Dispatch
from spawning.worker.greenlets import Greenlets
from spawning.worker.roles import Job
from spawning.wsgi.names import method_of, path_of, shown
from spawning.wsgi.request_id import id_at_end

TICK: Final = 0.25  # seconds between looks
MOST: Final = 100  # places that are named

log = Log("spawning.worker")


class Unyielding:
    """Looks at what the main thread runs. The attendant.

    :param dispatch: of the worker.
    :param greenlets: likewise.
    :param context: likewise.
    :param worker: its name, for the log.
    """

    def __init__(self, dispatch: Dispatch, greenlets: Greenlets, context: Context, worker: str) -> None:
        dispatch.alarm_due = inf  # a leader that waits loses the lead without it
        self._dispatch = dispatch
        self._greenlets = greenlets
        self._context = context
        self._worker = worker
        self._next = 0.0  # monotonic seconds
        self._turns = -1
        self._since = 0.0  # (monotonic seconds) when the loop has last been seen to have had a turn
        self._asked = False
        self._told: set[tuple[str, int]] = set()

    def tick(self, now: float) -> float:
        """Look, if it is time to; return how long to sleep until the next time (seconds)."""
        if now >= self._next:
            self._next = now + TICK
            self._look(now)
        return self._next - now

    def on_alarm(self, now: float) -> None:
        """Do nothing: nobody sets the alarm."""

    def look(self, now: float, tick: float, late: float) -> None:
        """Do nothing: :meth:`tick` does."""

    def _look(self, now: float) -> None:
        greenlets = self._greenlets
        if greenlets.turns != self._turns or greenlets.yielding:
            self._turns = greenlets.turns
            self._since = now
            self._asked = False
        elif not self._asked:
            self._asked = True
            self._context.mail.wake()
        else:
            self._tell(now)

    def _tell(self, now: float) -> None:
        frame = self._greenlets.frame()
        place = (frame.f_code.co_filename, frame.f_lineno) if frame is not None else ("", 0)
        if place in self._told or len(self._told) >= MOST:
            return
        self._told.add(place)
        stack = "".join(traceback.format_stack(frame))
        seconds = now - self._since
        job = self._job()
        if job is None:
            log.warning(
                "a greenlet does not yield, all requests of its worker wait worker=%s seconds=%.1f\n%s",
                self._worker, seconds, stack,
            )  # fmt: skip
            return
        environ = job.exchange.environ
        log.warning(
            "a request does not yield, all others of its worker wait worker=%s method=%s path=%s seconds=%.1f%s\n%s",
            self._worker, method_of(environ), shown(path_of(environ)), seconds, id_at_end(environ), stack,
        )  # fmt: skip

    def _job(self) -> Job | None:
        """Return the job that is executed just now, if it is one."""
        greenlet = self._greenlets.running()
        if greenlet is None:
            return None
        return greenlet.job or next(iter(self._dispatch.lead.box), None)
