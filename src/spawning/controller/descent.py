"""Who descends from whom, as ``/proc`` tells.

A process is named by its pid and the time of its start: by the time that somebody acts on it, its pid alone may mean
another one. Nothing here signals or waits; ``process.py`` does.
"""

import contextlib
import os
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import NamedTuple

from spawning.controller.records import Process

_PROC = Path("/proc")
_SELF = _PROC / "thread-self" / "children"


class _Entry(NamedTuple):
    process: Process
    parent: int
    is_dead: bool  # and has not been waited for


def started(pid: int) -> int | None:
    """Return when a process was started, in clock ticks since the machine was; None: there is none of that pid."""
    entry = _entry(pid)
    return entry.process.started if entry is not None else None


def is_alive(pid: int) -> bool:
    """Whether there is a process of that pid, and it has not ended."""
    entry = _entry(pid)
    return entry is not None and not entry.is_dead


def descendants(*pids: int) -> list[Process]:
    """List all living processes that descend from these, which are not among them."""
    below = _children if _SELF.exists() else _children_of_all()
    found = [entry for pid in pids for entry in below(pid)]
    for entry in found:  # which grows meanwhile
        found += below(entry.process.pid)
    return [entry.process for entry in found if not entry.is_dead]


def families(processes: Iterable[Process]) -> list[Process]:
    """List those of some processes that still live, and what descends from them."""
    living = [each for each in processes if started(each.pid) == each.started]
    return [*living, *descendants(*(each.pid for each in living))]


def children_titled(parent: int, title: str, but: Collection[int]) -> list[Process]:
    """List the children of a process whose command line begins with `title`, except some pids."""
    below = _children if _SELF.exists() else _children_of_all()
    found = [entry.process for entry in below(parent) if entry.process.pid not in but]
    return [each for each in found if _title(each.pid).startswith(title)]


def _title(pid: int) -> str:
    try:
        return (_PROC / str(pid) / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
    except OSError:
        return ""


def _children(pid: int) -> list[_Entry]:
    """Ask each thread of a process for its children."""
    pids: list[int] = []
    with contextlib.suppress(OSError):
        for task in os.listdir(_PROC / str(pid) / "task"):
            pids += map(int, (_PROC / str(pid) / "task" / task / "children").read_text().split())
    return [entry for pid in pids if (entry := _entry(pid)) is not None]


def _children_of_all() -> Callable[[int], list[_Entry]]:
    """Look at all processes; for kernels that are made without ``CONFIG_PROC_CHILDREN``."""
    entries = [entry for name in os.listdir(_PROC) if name.isdigit() and (entry := _entry(int(name))) is not None]
    return lambda pid: [entry for entry in entries if entry.parent == pid]


def _entry(pid: int) -> _Entry | None:
    """Read ``/proc/PID/stat`` (proc(5)): behind the name, which may hold anything, state, parent … start."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        values = (_PROC / str(pid) / "stat").read_bytes().rpartition(b")")[2].split()
        return _Entry(Process(pid, int(values[19])), int(values[1]), values[0] in (b"Z", b"X"))
    return None
