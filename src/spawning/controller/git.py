"""Which commit of a git repository is checked out, and noticing that it is another one, for ``--reload git``.

Reads the repository's files (gitrepository-layout(5)), without git: ``HEAD`` names a branch or holds a commit, the
branch is a file below ``refs`` or a line of ``packed-refs``. A work tree of ``git worktree`` or of a submodule has a
file ``.git`` that says where its ``HEAD`` is, and a file ``commondir`` there says where the branches are.

Rules: git writes the files of a checkout before it moves the branch, so another commit means that they are complete,
unless an operation is under way: then its end is waited for. The commit counts once it has been the same for 300 ms.
"""

import os
import re
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from watchfiles import watch

from spawning.controller.signals import held_back
from spawning.errors import ConfigError
from spawning.logs.log import Log
from spawning.logs.setup import fields

STABLE_MS = 300
_TICK_MS = 1_000  # also without news: a file system of another machine tells none
_MOST_SYMBOLIC = 5  # names that lead to names, as many as git follows
_UNDER_WAY = (
    "index.lock", "HEAD.lock", "MERGE_HEAD", "CHERRY_PICK_HEAD", "REVERT_HEAD", "rebase-merge", "rebase-apply",
)  # fmt: skip

log = Log("spawning.controller.git")


@dataclass(frozen=True, slots=True)
class Repository:
    """Where a work tree's own files (``HEAD``, ``index``) are, and where what it shares with others is."""

    directory: Path
    common: Path

    @classmethod
    def around(cls, path: str) -> "Repository | None":
        """Find the repository whose work tree `path` is in, as git does: in it or in a directory above."""
        for parent in (Path(path), *Path(path).parents):
            found = _git_directory(parent / ".git")
            if found is not None:
                shared = _line(found / "commondir")
                return cls(found, found / shared if shared else found)
        return None

    @property
    def is_busy(self) -> bool:
        """Whether an operation on the work tree is under way: a merge, a checkout …"""
        return any(os.path.lexists(self.directory / name) for name in _UNDER_WAY)

    def commit(self) -> str | None:
        """Return the commit that is checked out, as hexadecimal text; None before the first one, or if unclear."""
        name = _line(self.directory / "HEAD")
        for _ in range(_MOST_SYMBOLIC):
            if not name.startswith("ref: "):
                break
            name = self._reference(name.removeprefix("ref: ").strip())
        return name if re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", name) else None

    def _reference(self, name: str) -> str:
        for place in (self.directory, self.common):
            if found := _line(place / name):
                return found
        return next((line.split()[0] for line in _lines(self.common / "packed-refs") if line.endswith(f" {name}")), "")


def check(path: str, origin: str) -> None:
    """See that there is a repository that can be followed.

    :raises ConfigError: `path` is in none, or in one whose branches are no files.
    """
    repository = Repository.around(path)
    if repository is None:
        raise ConfigError(f"{origin}: {path} is not in a git repository; start in a checkout of the application")
    if (repository.common / "reftable").is_dir():
        raise ConfigError(f"{origin}: the repository of {path} keeps branches in reftable files, which are not read")


class CommitWatcher(threading.Thread):
    """Reports another commit of the repository around a path. A thread that only reports.

    :param path: in the work tree; what it means is asked for anew each time, should it lead through links.
    :param report: called from this thread with the commit before and the commit now.
    """

    def __init__(self, path: str, report: Callable[[str, str], None]) -> None:
        super().__init__(name="spawning-git", daemon=True)
        self._path = path
        self._report = report
        self._ended = threading.Event()
        self._commit = self._read() or ""
        with held_back(signal.valid_signals()):  # as in ``watch.py``
            self.start()

    def stop(self) -> None:
        """End the thread and wait for that."""
        self._ended.set()
        self.join()

    def run(self) -> None:
        while not self._ended.is_set():
            repository = Repository.around(self._path)
            try:
                self._watch([] if repository is None else [repository.directory, repository.common])
            # boundary: whatever the library or the kernel refuses costs promptness, not the service
            except Exception as error:
                log.warning("cannot watch the repository %s", fields(path=self._path, reason=error))
                self._ended.wait(_TICK_MS / 1000)
                self._look()

    def _watch(self, directories: list[Path]) -> None:
        """Look whenever something happens in the directories, and from time to time."""
        if not directories:
            self._ended.wait(_TICK_MS / 1000)
            self._look()
            return
        for _ in watch(
            *sorted(set(directories)),
            watch_filter=None,
            step=STABLE_MS,
            stop_event=self._ended,
            rust_timeout=_TICK_MS,
            yield_on_timeout=True,
            raise_interrupt=False,
            recursive=False,
        ):
            self._look()

    def _look(self) -> None:
        """Report the commit if it is another one, and stays."""
        commit = self._read()
        if commit is None or commit == self._commit or self._ended.wait(STABLE_MS / 1000):
            return
        if self._read() == commit:
            before, self._commit = self._commit, commit
            self._report(before, commit)

    def _read(self) -> str | None:
        """Return the commit; None while that is open."""
        repository = Repository.around(self._path)
        return None if repository is None or repository.is_busy else repository.commit()


def _git_directory(path: Path) -> Path | None:
    """Return the directory that a ``.git`` is, or that it names in one line: ``gitdir: PATH``."""
    if path.is_file() and (line := _line(path)).startswith("gitdir: "):
        path = path.parent / line.removeprefix("gitdir: ")
    return path if (path / "HEAD").is_file() else None


def _line(path: Path) -> str:
    return next(iter(_lines(path)), "")


def _lines(path: Path) -> list[str]:
    """Read a file of the repository; it may be gone at this moment, or be replaced."""
    try:
        return [line.strip() for line in path.read_text("utf-8", "replace").splitlines()]
    except OSError:
        return []
