"""What a server's whole process tree uses, from ``/proc`` (proc(5)). Knows no server."""

import os
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Stat:
    """The fields of ``/proc/PID/stat`` that matter here.

    :param cpu_seconds: user and system time of the process and of those of its children that it has waited for.
    """

    pid: int
    parent: int
    session: int
    cpu_seconds: float


def members(root: int) -> list[Stat]:
    """List the process `root`, its descendants, and whatever else is in its session (orphans of a double fork)."""
    table = {stat.pid: stat for stat in map(_stat, _pids()) if stat is not None}
    return [stat for stat in table.values() if stat.session == root or _descends(stat, root, table)]


def cpu_seconds(root: int) -> float:
    """Add up the CPU time of the tree, including that of children which have been reaped (to 1/100 s a process)."""
    return sum(stat.cpu_seconds for stat in members(root))


def pss_bytes(root: int) -> int:
    """Add up the proportional set size of the tree: a page that n processes share counts 1/n for each."""
    return sum(_pss(stat.pid) for stat in members(root))


def _pids() -> list[int]:
    return [int(name) for name in os.listdir(_PROC) if name.isdecimal()]


def _stat(pid: int) -> Stat | None:
    try:
        text = (_PROC / str(pid) / "stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None  # it has ended since it was listed
    fields = text.rpartition(")")[2].split()  # the name in parentheses may hold anything
    return Stat(pid, int(fields[1]), int(fields[3]), sum(map(int, fields[11:15])) / _TICKS)


def _descends(stat: Stat, root: int, table: dict[int, Stat]) -> bool:
    current: Stat | None = stat
    while current is not None:
        if current.pid == root:
            return True
        current = table.get(current.parent)
    return False


def _pss(pid: int) -> int:
    try:
        text = (_PROC / str(pid) / "smaps_rollup").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return sum(int(line.split()[1]) * 1024 for line in text.splitlines() if line.startswith("Pss:"))
