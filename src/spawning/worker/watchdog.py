"""The watchdog: takes the lead from a leader that is held up by an inline call.

It is driven by the worker's main thread, which sleeps a tick and then lets it look. A tick after which the main thread
got the interpreter lock at once (``prompt``) while a call is under way means that the application does not hold the
lock: it waits. Two such ticks in the same call, and the lead is given to another thread. A call that computes makes
ticks late; it loses the lead after ``LONG``, so that it does not hold up its neighbours.

While nothing runs the main thread sleeps without a tick; the leader wakes it with the next inline call.
"""

from typing import Final

from spawning.worker.loop import Loop

TICK: Final = 0.002  # seconds
PROMPT: Final = 0.001  # seconds that a prompt tick may be late
LONG: Final = 0.020  # seconds
_QUIET_TICKS: Final = 25  # ticks without any call, after which the watchdog sleeps


class Watchdog:
    """Looks at the loop after each tick. Main thread only."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._calls = -1
        self._since = 0.0
        self._prompt = 0
        self._quiet = 0

    def look(self, now: float, late: float) -> None:
        """Judge the tick that has just ended.

        :param now: monotonic seconds.
        :param late: seconds that the tick ended after its time.
        """
        loop = self._loop
        loop.disturbed += 1
        calls = loop.calls
        if calls != self._calls:
            self._calls = calls
            self._since = now
            self._prompt = 0
            self._quiet = 0
        elif not loop.box:
            self._quiet += 1
        else:
            self._quiet = 0
            self._prompt = self._prompt + 1 if late < PROMPT else 0
            waits = self._prompt >= 2
            if waits or now - self._since > LONG:
                connection = loop.take_lead()
                if connection is not None:
                    connection.sensor.taken_over(waits, now - self._since)

    def may_sleep(self) -> bool:
        """Decide whether to sleep until the next call; if so, the leader knows before this returns."""
        loop = self._loop
        if self._quiet < _QUIET_TICKS:
            return False
        loop.watchdog_asleep = True
        if loop.box or loop.calls != self._calls:  # a call began before the leader could see the flag
            loop.watchdog_asleep = False
            self._quiet = 0
            return False
        return True

    def awake(self) -> None:
        """Note that the main thread is awake, for whatever reason."""
        if self._loop.watchdog_asleep:
            self._loop.watchdog_asleep = False
            self._quiet = 0
            self._calls = self._loop.calls
            self._prompt = 0
