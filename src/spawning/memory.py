"""How much memory processes need, as the kernel tells: the proportional set size (PSS).

A page that several processes share counts in each with its share, so that the sum is what the machine has given.
Reading it makes the kernel walk through the process's pages (some milliseconds a gigabyte), so the time between two
measurements grows with what they cost.
"""

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path

from spawning.errors import ConfigError

EVERY = 5.0  # seconds between measurements …
_SHARE = 100  # … at least, and that many times what one takes

_PROC = Path("/proc")


def sizes(pids: Iterable[int]) -> dict[int, int]:
    """Measure processes: pid to bytes. Those that have gone are left out."""
    found = {}
    for pid in pids:
        with contextlib.suppress(OSError):
            found[pid] = _proportional(pid)
    return found


def kills() -> int | None:
    """Return how many processes the kernel has killed for want of memory so far (``/proc/vmstat``); None: it does not
    tell. In a container these are those of the whole machine.
    """
    with contextlib.suppress(OSError), open(_PROC / "vmstat") as lines:
        for line in lines:
            name, _, value = line.partition(" ")
            if name == "oom_kill":
                return int(value)
    return None


def tree(pid: int) -> list[int]:
    """List a process and all that descend from it, also those that the application has started."""
    found = [pid]
    for each in found:
        with contextlib.suppress(OSError):
            for task in os.listdir(_PROC / str(each) / "task"):
                found += map(int, (_PROC / str(each) / "task" / task / "children").read_text().split())
    return found


def again_at(began: float, ended: float) -> float:
    """Return the time of the next measurement (monotonic seconds), from when this one began and ended."""
    return ended + max(EVERY, _SHARE * (ended - began))


def check_readable(origin: str) -> None:
    """See that the kernel tells.

    :param origin: the setting that needs it, for the message.
    :raises ConfigError: it does not.
    """
    try:
        _proportional(os.getpid())
    except OSError as error:
        raise ConfigError(
            f"{origin}: the memory of processes cannot be measured here ({error.filename}: {error.strerror})"
        ) from None


def _proportional(pid: int) -> int:
    """Read the proportional set size in bytes (``Pss:  1234 kB``); 0 of a process that is about to go."""
    for line in (_PROC / str(pid) / "smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return 0
