"""What the control group of this process allows, in version 1 and 2 of the kernel's interface.

A group lies in a file system of version 2 (one for all controllers), or of version 1 (one for each). Its limits are its
own and those of all groups above it: the lowest one counts. In a container the file system begins at the container's
own group, while ``/proc/self/cgroup`` may still name the path outside; then the file system's root is that group.

https://docs.kernel.org/admin-guide/cgroup-v2.html, cgroup-v1/memory.html, and sched-bwc.html for ``cpu.cfs_quota_us``.
"""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

_ROOT = Path("/")
_UNLIMITED = 2**62  # bytes; without a limit version 1 says a number just below 2**63


class Memory(NamedTuple):
    """The memory of a control group in bytes: what is `used` and cannot be had back at once, and the `limit`."""

    used: int
    limit: int


def cpus(root: Path = _ROOT) -> float:
    """Return how many processors' time the group may use; infinity without a quota.

    :param root: where ``/proc`` and ``/sys`` are.
    """
    found = math.inf
    for version, group in _groups("cpu", root):
        try:
            if version == 2:
                quota, period = _text(group / "cpu.max").split()
            else:
                quota, period = _text(group / "cpu.cfs_quota_us"), _text(group / "cpu.cfs_period_us")
            if quota not in ("max", "-1"):
                found = min(found, int(quota) / int(period))
        except (OSError, ValueError, ZeroDivisionError):
            continue  # the root of all groups has no such files
    return found


def memory(root: Path = _ROOT) -> Memory | None:
    """Return what the group with the lowest limit uses, and that limit; None without any limit.

    Read from the files are what can be dropped at once when memory is short: the kernel kills for the rest.

    :param root: where ``/proc`` and ``/sys`` are.
    """
    found = [each for version, group in _groups("memory", root) if (each := _memory(version, group)) is not None]
    return min(found, key=lambda each: each.limit - each.used, default=None)


def _memory(version: int, group: Path) -> Memory | None:
    files = ("memory.max", "memory.current", "inactive_file")
    if version == 1:
        files = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
    try:
        limit = _text(group / files[0])
        if limit == "max" or int(limit) >= _UNLIMITED:
            return None
        used = int(_text(group / files[1]))
        counts = dict(line.split() for line in _text(group / "memory.stat").splitlines())
        return Memory(used - int(counts.get(files[2], 0)), int(limit))
    except (OSError, ValueError):
        return None


def _groups(controller: str, root: Path) -> Iterator[tuple[int, Path]]:
    """List the group of this process and all above it, as far as they can be seen, each with the version."""
    mounted = root / "sys/fs/cgroup"
    try:
        lines = _text(root / "proc/self/cgroup").splitlines()
    except OSError:
        return
    for line in lines:
        number, controllers, path = line.split(":", 2)
        if controller in controllers.split(","):
            version, top = 1, mounted / controller
            if not top.is_dir():
                top = mounted / controllers
        elif number == "0":
            version, top = 2, mounted
        else:
            continue
        group = top / path.lstrip("/")
        for each in (group, *group.parents):
            if each.is_relative_to(top):
                yield version, each


def _text(path: Path) -> str:
    return path.read_text().strip()
