"""The watchdog: takes the lead from a leader that is held up by an inline call.

It is driven by the worker's main thread, which sleeps a tick and then lets it look. A tick after which the main thread
got the interpreter lock at once (``PROMPT``) while a call is under way means that the application does not hold the
lock: it waits. When a call has been seen to wait for two ticks, the lead is given to another thread. A call that
computes makes ticks late; it loses the lead after ``LONG``, so that it does not hold up its neighbours.

A tick is dear, since it wants the interpreter lock: beside a leader that computes it takes milliseconds, and a dozen
changes of thread, to get it. So ticks are short only while calls are *watched closely*: the route is new, has waited
lately, or is tried (``sensor``), or the call has been seen before. Otherwise they are long. While nothing runs the main
thread sleeps without a tick; the leader wakes it with the next inline call.
"""

from typing import Final

from spawning.worker.loop import Loop

TICK: Final = 0.002  # seconds
LONG_TICK: Final = 0.020  # seconds
PROMPT: Final = 0.001  # seconds that a prompt tick may be late
LONG: Final = 0.020  # seconds
_QUIET: Final = 0.05  # seconds without a call, after which the watchdog sleeps


class Watchdog:
    """Looks at the loop after each tick. Main thread only."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._calls = -1
        self._since = 0.0  # when the call, or the quiet, was first seen
        self._waited = 0.0  # seconds that the call has been seen to wait
        self._lasts = False  # the call has been seen before

    def tick(self, now: float) -> float:
        """Say how long to sleep until the next look; infinite is until the next call. The leader knows by then.

        :param now: monotonic seconds.
        """
        loop = self._loop
        if self._lasts:
            return TICK
        if now - self._since > _QUIET:
            loop.watchdog_asleep = True
            if not loop.box and loop.calls == self._calls:  # looked at last: a call may begin before the flag is seen
                return float("inf")
            loop.watchdog_asleep = False
        loop.watchdog_dozes = True
        if loop.watched_until > now:  # looked at last, for the same reason
            loop.watchdog_dozes = False
            return TICK
        return LONG_TICK

    def look(self, now: float, tick: float, late: float) -> None:
        """Judge the tick that has just ended.

        :param now: monotonic seconds.
        :param tick: seconds that it was to last.
        :param late: seconds that it has lasted longer.
        """
        loop = self._loop
        loop.disturbed += 1
        calls = loop.calls
        self._lasts = calls == self._calls and bool(loop.box)
        if calls != self._calls:
            self._calls = calls
            self._since = now
            self._waited = 0.0
        elif self._lasts:
            self._waited = self._waited + tick if late < PROMPT else 0.0
            waits = self._waited >= 2 * TICK
            if waits or now - self._since > LONG:
                connection = loop.take_lead()
                if connection is not None:
                    connection.sensor.taken_over(waits, now - self._since)

    def awake(self) -> None:
        """Note that the main thread is awake after having slept, for whatever reason."""
        self._loop.watchdog_asleep = False
        self._calls = -1
