"""The application's own metrics (``--app-metrics``): what its processes have counted, added up, in few files.

``prometheus_client`` has a file for each kind of metric and process, ``counter_4711.db``, and adds them all up when it
is asked. A process that has gone leaves its files, since what it has counted still counts; after a thousand reloads
there would be thousands. So the files of dead processes are merged into one of each kind, under the number 0, which no
process has; what counts only while a process lives is removed.

If this process is killed between the two steps of a merge, the counts of the files at hand are in both places, and
added twice from then on: even then no counter goes back.
"""

import contextlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

from spawning.logs.log import Log
from spawning.logs.setup import fields

_MERGED = 0  # in the place of a pid
_ATTEMPTS = 5  # to read files while the application, or a library, removes some

Entries = dict[str, tuple[float, float]]  # key to value and timestamp

log = Log("spawning.status")


class _File(NamedTuple):
    """A file of metrics: `kind` is ``counter``, ``histogram``, ``summary`` or ``gauge_MODE``."""

    path: Path
    kind: str
    pid: int


class AppMetrics:
    """The files in a directory. Any thread.

    :param directory: may not be there yet.
    """

    def __init__(self, directory: str) -> None:
        self._directory = Path(directory)
        self._lock = Lock()

    def collect(self, idle: Iterable[int]) -> list[Any]:
        """Return the metric families of all processes.

        :param idle: pids of fork servers of generations that do not serve: their gauges do not count.
        :raises ModuleNotFoundError: prometheus-client is missing.
        """
        from prometheus_client.multiprocess import MultiProcessCollector

        self.tidy()
        unwanted = set(idle)
        for attempt in range(_ATTEMPTS):
            with self._lock:
                paths = [
                    str(each.path)
                    for each in self._files()
                    if not (each.kind.startswith("gauge") and each.pid in unwanted) and _begun(each.path)
                ]
                try:
                    families = list(MultiProcessCollector.merge(paths))  # type: ignore[no-untyped-call]
                except FileNotFoundError:
                    if attempt == _ATTEMPTS - 1:
                        raise
                else:
                    return [each for each in families if not each.name.startswith("spawning_")]
        return []

    def tidy(self) -> None:
        """Merge the files of processes that have gone. If that cannot be (a full disk), they stay."""
        with self._lock:
            dead: dict[str, list[_File]] = {}
            for each in self._files():
                if each.pid != _MERGED and not _lives(each.pid):
                    dead.setdefault(each.kind, []).append(each)
            try:
                for kind, found in dead.items():
                    self._put_away(kind, found)
            except OSError as error:
                log.warning("metrics of the application cannot be merged %s", fields(reason=error.strerror))

    def _put_away(self, kind: str, found: list[_File]) -> None:
        if not kind.startswith("gauge_") or kind in _MERGING:
            self._merge(kind, found)
        for each in found:
            each.path.unlink(missing_ok=True)

    def _files(self) -> Iterator[_File]:
        for path in sorted(self._directory.glob("*.db")):
            kind, _, pid = path.stem.rpartition("_")
            if kind and pid.isdecimal():
                yield _File(path, kind, int(pid))

    def _merge(self, kind: str, found: list[_File]) -> None:
        from prometheus_client.mmap_dict import MmapedDict

        merged = self._directory / f"{kind}_{_MERGED}.db"
        entries: Entries = {}
        for path in filter(_begun, [merged, *(each.path for each in found)]):
            with contextlib.suppress(FileNotFoundError):
                for key, value, timestamp, _ in MmapedDict.read_all_values_from_file(str(path)):  # type: ignore[no-untyped-call]
                    before = entries.get(key)
                    now = (value, timestamp)
                    entries[key] = now if before is None else _combined(kind, before, now)
        new = merged.with_suffix(".new")
        new.unlink(missing_ok=True)
        written = MmapedDict(str(new))  # type: ignore[no-untyped-call]
        for key, (value, timestamp) in entries.items():
            written.write_value(key, value, timestamp)  # type: ignore[no-untyped-call]
        written.close()  # type: ignore[no-untyped-call]
        os.replace(new, merged)


_MERGING = ("gauge_sum", "gauge_min", "gauge_max", "gauge_mostrecent")
"""Gauges to which processes that have gone still contribute. Those of ``gauge_all`` are named by their pid, and go."""


def _combined(kind: str, left: tuple[float, float], right: tuple[float, float]) -> tuple[float, float]:
    if kind == "gauge_mostrecent":
        return max(left, right, key=lambda each: each[1])
    if kind in ("gauge_min", "gauge_max"):
        choose = min if kind == "gauge_min" else max
        return choose(left[0], right[0]), 0.0
    return left[0] + right[0], 0.0


def _begun(path: Path) -> bool:
    """Whether there is something in a file: the library makes it empty, and reads no empty one."""
    try:
        return path.stat().st_size > 0
    except FileNotFoundError:
        return False


def _lives(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()
