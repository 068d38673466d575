"""The end of a worker that was told to leave: how long it may take, and what has no end of its own.

Event streams are ended at once where nobody wants to wait for them, tunnels when the time is over; ferries are needed
for longer than the worker's own requests. Main thread.
"""

from collections.abc import Set
from time import monotonic

from spawning.worker.dispatch import Dispatch
from spawning.worker.loop import Loop
from spawning.worker.streams import LAST_WORDS, Streams
from spawning.worker.timeouts import nothing_but
from spawning.worker.tunnels import Tunnels
from spawning.wsgi.exchange import Exchange
from spawning.wsgi.tunnel import GOING_AWAY, RESTART


class Ending:
    """See the module.

    :ivar give_up_at: (monotonic seconds) when what is not finished is given up.
    """

    def __init__(self, dispatch: Dispatch, loop: Loop) -> None:
        self.give_up_at = float("inf")
        self._dispatch = dispatch
        self._loop = loop
        self._ferry_until = 0.0  # (monotonic seconds) as give_up_at, while there are ferries
        self._stops = False  # the service does, and not this worker alone
        self._streams: Streams | None = None  # to be ended
        self._tunnels: Tunnels | None = None  # likewise

    def leave(self, seconds: float, ferrying: float) -> None:
        """Be over in so many seconds; ferries may stay for some more."""
        self.give_up_at = monotonic() + seconds
        self._ferry_until = self.give_up_at + ferrying

    def stop(self, seconds: float) -> None:
        """Be over in so many seconds, with the whole service."""
        self._stops = True
        self.give_up_at = min(self.give_up_at, monotonic() + seconds)

    def cut_streams(self) -> None:
        """Do not wait for what has no end of its own."""
        self._streams = self._streams or Streams(self._dispatch)

    @property
    def until(self) -> float:
        """When to look again (monotonic seconds)."""
        return max(self.give_up_at, self._ferry_until) if self._loop.ferries else self.give_up_at

    @property
    def ended(self) -> Set[Exchange]:
        """What was ended from here and is still under way."""
        return {
            *(self._streams.ended if self._streams is not None else ()),
            *(self._tunnels.ended if self._tunnels is not None else ()),
        }

    def look(self, now: float) -> None:
        """End what is to be ended, and do not wait for what is left when that is nothing else."""
        if self._streams is None:
            return
        self._streams.end(now)
        self._end_tunnels(now)
        if (ended := self.ended) and nothing_but(ended, self._dispatch, self._loop):
            self.give_up_at = min(self.give_up_at, now + LAST_WORDS)

    def is_over(self) -> bool:
        """Whether what is left is given up now."""
        now = monotonic()
        if now < self.give_up_at or self._has_last_words(now):
            return False
        return not self._loop.ferries or now >= self._ferry_until

    def _end_tunnels(self, now: float) -> None:
        self._tunnels = self._tunnels or Tunnels(self._dispatch)
        self._tunnels.end(now, GOING_AWAY if self._stops else RESTART)

    def _has_last_words(self, now: float) -> bool:
        """When the time is over: end the tunnels, and give the application a moment to do so itself."""
        if self._tunnels is not None:
            return False
        self._end_tunnels(now)
        self.give_up_at = now + LAST_WORDS
        return bool(self.ended)
