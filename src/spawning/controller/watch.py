"""Watch files for ``--reload dev``. Threads that only report; what a change means is decided in the controller's loop.

Rules: directories are watched, not files, so that editors which write a new file and rename it, and files that are
deleted and come back, are noticed; what is reported is filtered by file. Symbolic links on the way to a file are
watched like files, since to point one elsewhere changes all that is behind it. A change is reported once the files have
been quiet for 300 ms. What was changed between the loading of the code and the beginning of the watch is found by its
time.
"""

import os
import signal
import threading
import time
from collections.abc import Callable, Collection, Iterable

from watchfiles import Change, DefaultFilter, watch

from spawning.controller.paths import both_names, identity, links_above, modified, nearest
from spawning.controller.signals import held_back
from spawning.logs.log import Log
from spawning.logs.setup import fields

QUIET_MS = 300
_LONGEST_MS = 5_000  # report even if the changes do not come to an end
_TICK_MS = 1_000

log = Log("spawning.controller.watch")

Report = Callable[[list[str]], None]


class Watcher:
    """Follows one set of files and directories at a time. Used by one thread; `report` is called from others.

    :param report: gets the changed files, sorted.
    """

    def __init__(self, report: Report) -> None:
        self._report = report
        self._watched: object = None
        self._followers: list[_Follower] = []

    def follow(self, files: Collection[str], named: Collection[str], since: float) -> None:
        """Watch these from now on, instead of what was watched.

        :param files: single files, and directories only for whether they are there; they need not exist.
        :param named: files, and directories that are watched with all that is below them.
        :param since: when the code was loaded that came from these files (seconds since the epoch).
        """
        trees = frozenset(os.path.abspath(path) for path in named if os.path.isdir(path))
        wanted = both_names([*files, *(path for path in named if not os.path.isdir(path))])
        wanted |= links_above([*wanted, *(os.path.join(tree, "x") for tree in trees)])
        wanted |= {nearest(file) for file in wanted}
        directories = {os.path.dirname(file) for file in wanted}
        places = frozenset((path, *identity(path)) for path in (*directories, *trees))
        if (wanted, trees, places) == self._watched:
            return
        before, self._watched = self._followers, (wanted, trees, places)
        self._followers = [
            _Follower(
                {path for path in directories if os.path.isdir(path)}, FileFilter(wanted), self._report, wanted, since
            ),
            _Follower(trees, TreeFilter(wanted), self._report, (), since, recursive=True),
        ]
        for follower in before:  # last, so that nothing is missed; what both report is one reload
            follower.stop()

    def stop(self) -> None:
        """Stop watching; no thread is left."""
        for follower in self._followers:
            follower.stop()
        for follower in self._followers:
            follower.join()
        self._followers = []


class FileFilter:
    """Says of a change whether it is one of the files."""

    def __init__(self, files: frozenset[str]) -> None:
        self._files = files

    def __call__(self, change: Change, path: str) -> bool:
        return path in self._files


class TreeFilter(DefaultFilter):
    """Says of a change below a directory whether it counts: what tools leave behind does not, and single files that
    are watched by their name are reported by that name alone.
    """

    def __init__(self, files: frozenset[str]) -> None:
        super().__init__()
        self._files = files

    def __call__(self, change: Change, path: str) -> bool:
        return path not in self._files and super().__call__(change, path)


class _Follower(threading.Thread):
    """One call of ``watchfiles.watch``. Shares nothing but an event that ends it."""

    def __init__(
        self,
        directories: Collection[str],
        wanted: Callable[[Change, str], bool],
        report: Report,
        files: Iterable[str],
        since: float,
        *,
        recursive: bool = False,
    ) -> None:
        super().__init__(name="spawning-watch", daemon=True)
        self._directories = sorted(directories)
        self._wanted = wanted
        self._report = report
        self._files = files
        self._since = since
        self._recursive = recursive
        self._ended = threading.Event()
        with held_back(signal.valid_signals()):  # for good, in this thread and those of the library (``upgrade.py``)
            self.start()

    def stop(self) -> None:
        self._ended.set()

    def run(self) -> None:
        if not self._directories:
            return
        try:
            self._watch()
        # boundary: whatever the library or the kernel (number of watches) refuses costs the watching, not the service
        except Exception as error:
            log.warning("cannot watch files %s", fields(directories=len(self._directories), reason=error))

    def _watch(self) -> None:
        checked_times = False
        for changes in watch(
            *self._directories,
            watch_filter=self._wanted,
            debounce=_LONGEST_MS,
            step=QUIET_MS,
            stop_event=self._ended,
            rust_timeout=_TICK_MS,
            yield_on_timeout=True,
            raise_interrupt=False,
            recursive=self._recursive,
            ignore_permission_denied=True,
        ):
            changed = {path for _, path in changes}
            if not checked_times:  # the first answer shows that the watch is working
                checked_times = True
                changed |= set(modified(self._files, self._since, time.time()))
            if changed and not self._ended.is_set():
                self._report(sorted(changed))
