"""Watch files for ``--reload dev``. A thread that only reports; what follows is decided in the controller's loop.

Rules: directories are watched, not files, so that editors which write a new file and rename it, and files that are
deleted and come back, are noticed; what is reported is filtered by file. Symbolic links on the way to a file are
watched like files, since to point one elsewhere changes all that is behind it. A change is reported once the files have
been quiet for 100 ms. What was changed between the loading of the code and the beginning of the watch is found by its
time.

Directories below one that is named are found here, not by the library: so none is watched in which nothing counts
(``ignored.py``), and none that cannot be watched goes unnoticed. When the kernel has no room for all of them, or
refuses to watch for another reason, files are looked at once a second (``polling.py``).
"""

import os
import signal
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass

from watchfiles import Change, watch

from spawning.controller.ignored import Counted
from spawning.controller.paths import both_names, identity, links_above, modified, nearest
from spawning.controller.polling import changes
from spawning.controller.signals import held_back
from spawning.logs.log import Log
from spawning.logs.setup import fields

QUIET_MS = 100
_LONGEST_MS = 5_000  # report even if the changes do not come to an end
_TICK_MS = 1_000
_LAG = 0.01  # seconds by which the time of a file may be behind the clock (the kernel's tick, stat(2))
_TRIES = 5  # to watch directories one of which is gone when it is its turn

_SYSCTLS = {
    "max_user_watches": ("file watch limit", "MaxFilesWatch", "No space left"),
    "max_user_instances": ("Too many open files",),
}

log = Log("spawning.controller.watch")

Report = Callable[[list[str]], None]


@dataclass(frozen=True, slots=True)
class Wanted:
    """The files and directories that are watched.

    :param files: single files, with the links on the way to them; they need not exist.
    :param trees: directories that are watched with what counts below them.
    :param counted: what does.
    """

    files: frozenset[str]
    trees: frozenset[str]
    counted: Counted

    def directories(self) -> tuple[set[str], set[str]]:
        """List what is to be watched: for the files, and for the trees."""
        single = {path for path in {os.path.dirname(file) for file in self.files} if os.path.isdir(path)}
        return single, {directory for root in self.trees for directory in self.counted.tree(root)}


class Watcher:
    """Follows one set of files and directories at a time. Used by one thread; `report` is called from others.

    :param report: gets the changed files, sorted.
    """

    def __init__(self, report: Report) -> None:
        self._report = report
        self._watched: object = None
        self._follower: _Follower | None = None
        self._warned: set[str] = set()

    def follow(
        self,
        files: Collection[str],
        named: Collection[str],
        since: float,
        unwatched: Collection[str] = (),
        own: Collection[str] = (),
    ) -> None:
        """Watch these from now on, instead of what was watched.

        :param files: single files, and directories only for whether they are there; they need not exist.
        :param named: files, and directories that are watched with all that is below them.
        :param since: when the code was loaded that came from these files (seconds since the epoch).
        :param unwatched: directories below those named of which nothing counts.
        :param own: files that the server itself writes.
        """
        trees = frozenset(os.path.abspath(path) for path in named if os.path.isdir(path))
        wanted = both_names([*files, *(path for path in named if not os.path.isdir(path))])
        wanted |= links_above([*wanted, *(os.path.join(tree, "x") for tree in trees)])
        wanted |= trees  # whether they are there
        wanted |= {nearest(file) for file in wanted}
        places = frozenset((path, *identity(path)) for path in {*map(os.path.dirname, wanted), *trees})
        ignored = frozenset(unwatched), frozenset(own)
        if (wanted, trees, places, ignored) == self._watched:
            return
        before, self._watched = self._follower, (wanted, trees, places, ignored)
        self._follower = _Follower(Wanted(wanted, trees, Counted(*ignored)), self._report, since, self._warn_once)
        if before is not None:  # last, so that nothing is missed; what both report is one reload
            before.stop()

    def stop(self) -> None:
        """Stop watching; no thread is left."""
        if self._follower is not None:
            self._follower.stop()
            self._follower.join()
            self._follower = None

    def _warn_once(self, sentence: str, **values: object) -> None:
        """Log what is the same whatever is watched. From a follower's thread."""
        if sentence not in self._warned:
            self._warned.add(sentence)
            log.warning("%s %s", sentence, fields(**values))


class _Follower(threading.Thread):
    """Watches until it is stopped. Shares nothing but an event that ends it."""

    def __init__(self, wanted: Wanted, report: Report, since: float, warn_once: Callable[..., None]) -> None:
        super().__init__(name="spawning-watch", daemon=True)
        self._wanted = wanted
        self._report = report
        self._since = since
        self._warn_once = warn_once
        self._ended = threading.Event()
        self._trees: set[str] = set()  # the directories of trees that are watched, by both names
        self._grown = False  # another has come
        with held_back(signal.valid_signals()):  # for good, in this thread and those of the library (``upgrade.py``)
            self.start()

    def stop(self) -> None:
        self._ended.set()

    def run(self) -> None:
        tries = 0
        while not self._ended.is_set():
            single, trees = self._wanted.directories()
            try:
                self._watch(single, trees)
            except FileNotFoundError:  # gone since it was listed
                tries += 1
                if tries < _TRIES and not self._ended.wait(QUIET_MS / 1000):
                    continue
                self._poll(single | trees, FileNotFoundError("directories come and go"))
            # boundary: whatever the library or the kernel refuses costs the watching by it, not that of the files
            except Exception as error:
                self._poll(single | trees, error)

    def _watch(self, single: set[str], trees: set[str]) -> None:
        """Watch until it is stopped or a directory has come that is to be watched as well."""
        if not single | trees:
            self._ended.wait()
            return
        fresh, self._grown = trees - self._trees if self._trees else set(), False
        # The kernel watches a directory once, whatever the names are that it was asked for, and the library tells one.
        self._trees = trees | set(map(os.path.realpath, trees))
        checked_times = False
        for found in watch(
            *sorted(single | trees),
            watch_filter=self._counts,
            debounce=_LONGEST_MS,
            step=QUIET_MS,
            stop_event=self._ended,
            rust_timeout=_TICK_MS,
            yield_on_timeout=True,
            raise_interrupt=False,
            recursive=False,
            ignore_permission_denied=False,  # which would ignore every other error as well
        ):
            changed = {path for _, path in found if not (path in self._trees or self._is_new(path))}
            if not checked_times:  # the first answer shows that the watch is working
                checked_times = True
                changed.update(self._missed(), self._in_trees(fresh))
            self._since = time.time() - _LAG
            self._tell(changed)
            if self._grown:
                return

    def _counts(self, change: Change, path: str) -> bool:
        """Whether a change is one that is asked for; also notices that a directory has come."""
        if path in self._wanted.files:
            return True
        if os.path.dirname(path) not in self._trees:
            return False
        if os.path.isdir(path):
            self._grown |= self._is_new(path)
            return False
        return self._wanted.counted.file(path)

    def _is_new(self, path: str) -> bool:
        return path not in self._wanted.files and os.path.isdir(path) and self._wanted.counted.directory(path)

    def _missed(self) -> list[str]:
        """List what was written while nothing was watched."""
        return [path for path in modified(self._look(), self._since, time.time()) if self._asked_for(path)]

    def _asked_for(self, path: str) -> bool:
        return path in self._wanted.files or self._wanted.counted.file(path)

    def _in_trees(self, directories: Collection[str]) -> list[str]:
        """List what counts in directories."""
        found = [os.path.join(each, name) for each in directories if os.path.isdir(each) for name in os.listdir(each)]
        return [path for path in found if os.path.isfile(path) and self._wanted.counted.file(path)]

    def _tell(self, changed: Collection[str]) -> None:
        if changed and not self._ended.is_set():
            self._report(sorted({_entry(path): path for path in sorted(changed)}.values()))

    def _poll(self, directories: set[str], error: Exception) -> None:
        """Look at the files, until it is stopped."""
        self._say_why(len(directories), error)
        for changed in changes(self._look, self._since, self._ended):
            self._tell([path for path in changed if self._asked_for(path)])

    def _look(self) -> list[str]:
        """List the files there are."""
        _, trees = self._wanted.directories()
        below = [os.path.join(each, name) for each in trees if os.path.isdir(each) for name in os.listdir(each)]
        return [*self._wanted.files, *(path for path in below if self._wanted.counted.named(path))]

    def _say_why(self, directories: int, error: Exception) -> None:
        text = str(error)
        for name, signs in _SYSCTLS.items():
            if any(sign in text for sign in signs):
                self._warn_once(
                    f"the kernel's limit fs.inotify.{name} is reached, so files are looked at once a second;"
                    f" raise it with: sysctl fs.inotify.{name}=N",
                    limit=_read(f"/proc/sys/fs/inotify/{name}"),
                    directories=directories,
                )
                return
        self._warn_once("files cannot be watched, and are looked at once a second", reason=text)


def _entry(path: str) -> str:
    """Return the one name of a file, or of a link itself, that has others through the links above it."""
    return os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))


def _read(path: str) -> str:
    try:
        with open(path) as file:
            return file.read().strip()
    except OSError:
        return "unknown"
