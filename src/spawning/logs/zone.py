"""The time zone of the log: that of the server at its start, whatever an application makes of ``TZ``.

``time.localtime`` asks the C library, whose zone is that of the whole process: Django sets it to its ``TIME_ZONE``, a
view may call ``time.tzset``. So the offsets of the years to come are looked up once, in the controller at its start,
and every process computes with that table. It works for every form that ``TZ`` may have.
"""

import time
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import Final

_YEARS: Final = 20
_STEP: Final = 6 * 86400  # seconds; shorter than any time between two changes of an offset


class Zone:
    """Offsets from UTC by time.

    :param changes: pairs of the time at which an offset begins (seconds since the epoch) and the offset (seconds, east
        is positive), in order. Before the first one the first offset holds, behind the last one the last.
    """

    __slots__ = ("_offsets", "_times")

    def __init__(self, changes: Iterable[Sequence[int]]) -> None:
        pairs = list(changes) or [(0, 0)]
        self._times = [pair[0] for pair in pairs]
        self._offsets = [pair[1] for pair in pairs]

    @classmethod
    def here(cls) -> "Zone":
        """Return the zone of this process, from now on."""
        return cls(_changes(int(time.time())))

    @property
    def changes(self) -> list[list[int]]:
        """The pairs that make this zone, as plain lists: they travel in a message."""
        return [list(pair) for pair in zip(self._times, self._offsets, strict=True)]

    def offset(self, second: float) -> int:
        """Return the offset at a time (seconds since the epoch), in seconds."""
        return self._offsets[max(0, bisect_right(self._times, second) - 1)]

    def local(self, second: float) -> tuple[time.struct_time, str]:
        """Return the local time of day at a time (seconds since the epoch), and its offset as ``+0100``."""
        offset = self.offset(second)
        minutes = abs(offset) // 60
        return time.gmtime(second + offset), f"{'-' if offset < 0 else '+'}{minutes // 60:02}{minutes % 60:02}"


def _changes(now: int) -> list[tuple[int, int]]:
    """List the offsets from `now` on; some 1200 questions to the C library, below a millisecond."""
    found = [(now, _offset(now))]
    for begin in range(now, now + _YEARS * 365 * 86400, _STEP):
        end = begin + _STEP
        if (after := _offset(end)) != found[-1][1]:
            found.append((_first(begin, end), after))
    return found


def _first(begin: int, end: int) -> int:
    """Return the first second after `begin` at which the offset is that of `end`."""
    after = _offset(end)
    while end - begin > 1:
        middle = (begin + end) // 2
        if _offset(middle) == after:
            end = middle
        else:
            begin = middle
    return end


def _offset(second: int) -> int:
    return time.localtime(second).tm_gmtoff
