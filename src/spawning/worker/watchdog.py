"""The watchdog: takes the lead from a leader that is held up by an inline call.

It is driven by the worker's main thread, which sleeps a tick and then lets it look. A tick after which the main thread
got the interpreter lock at once (``PROMPT``) while a call is under way means that the application does not hold the
lock: it waits. When a call has been seen to wait for two ticks, the lead is given to another thread. A call that
computes makes ticks late; it loses the lead after ``LONG``, so that it does not hold up its neighbours.

A tick is dear, since it wants the interpreter lock: beside a leader that computes it takes milliseconds, and a dozen
changes of thread, to get it. So there are short ticks only while calls are *watched closely*: the route is new, has
waited lately, or is tried (``sensor``), or the call has been seen before. Otherwise the main thread sleeps until the
alarm goes off, which the leader puts off with its inline calls, so that only one that lasts lets it (``alarm``); or, by
a coincidence, many short ones after a single poll.
"""

from math import inf
from typing import Final

from spawning.worker.dispatch import Dispatch

TICK: Final = 0.002  # seconds
PROMPT: Final = 0.001  # seconds that a prompt tick may be late
LONG: Final = 0.020  # seconds


class Watchdog:
    """Looks at what the leader executes after each tick. Main thread only."""

    def __init__(self, dispatch: Dispatch) -> None:
        self._dispatch = dispatch
        self._calls = -1
        self._since = 0.0  # when the call was first seen
        self._waited = 0.0  # seconds that the call has been seen to wait
        self._lasts = False  # the call has been seen before

    def tick(self, now: float) -> float:
        """Return how long to sleep until the next look; infinite is until the alarm. The leader knows by then.

        :param now: monotonic seconds.
        """
        dispatch = self._dispatch
        if self._lasts:
            return TICK
        dispatch.watchdog_dozes = True
        if dispatch.watched_until > now:  # looked at last: a call may begin before the flag is seen
            dispatch.watchdog_dozes = False
            return TICK
        return inf

    def on_alarm(self, now: float) -> None:
        """Look because the alarm has gone off.

        Either there is a call by now, which is watched from here on, or the next one will find that the alarm has to be
        set: it looks at ``alarm_due`` when it is in the box.
        """
        dispatch = self._dispatch
        dispatch.alarm.clear()
        dispatch.alarm_due = 0.0
        self._see(dispatch.calls, now)
        self._lasts = bool(dispatch.lead.box)

    def look(self, now: float, tick: float, late: float) -> None:
        """Judge the tick that has just ended.

        :param now: monotonic seconds.
        :param tick: seconds that it was to last.
        :param late: seconds that it has lasted longer.
        """
        dispatch = self._dispatch
        calls = dispatch.calls
        self._lasts = calls == self._calls and bool(dispatch.lead.box)
        if calls != self._calls:
            self._see(calls, now)
        elif self._lasts:
            self._waited = self._waited + tick if late < PROMPT else 0.0
            waits = self._waited >= 2 * TICK and self._sleeps()
            if waits or now - self._since > LONG:
                job = dispatch.take_lead()
                if job is not None:
                    job.sensor.taken_over(waits, now - self._since)

    def _sleeps(self) -> bool:
        """Ask the kernel whether the leader waits, or is just not running because others are (``proc_pid_stat(5)``)."""
        leader = self._dispatch.lead.leader
        assert leader is not None
        try:
            with open(f"/proc/self/task/{leader.native_id}/stat", "rb") as file:
                sleeps = file.read().rpartition(b") ")[2][:1] != b"R"
        except OSError:  # no /proc here
            return True
        if not sleeps:
            self._waited = 0.0
        return sleeps

    def _see(self, calls: int, now: float) -> None:
        self._calls = calls
        self._since = now
        self._waited = 0.0
