"""What asks for a reload by itself: changed files (``--reload dev``) or another commit (``--reload git``).

Rules: it says what is to be watched, from the records, and hands on what the watching threads report; what follows is
decided in the controller's loop. What watches is imported when it is wanted: the library takes 2 MB and 15 ms, and who
reloads by a signal needs none of it.
"""

import os
import time
from collections.abc import Callable, Collection, Iterable
from typing import TYPE_CHECKING

from spawning.controller.fleet import Fleet
from spawning.controller.records import GenerationState
from spawning.errors import ConfigError
from spawning.settings import Settings

if TYPE_CHECKING:
    from spawning.controller.git import CommitWatcher
    from spawning.controller.watch import Watcher

_OLD = (GenerationState.KEPT, GenerationState.RETIRING)


class Triggers:
    """Watches what matters, as long as it does. Used by the controller's loop; reports from threads of its own.

    :param directory: in which the application is started, by its name.
    :param on_files: gets the changed files, sorted.
    :param on_commit: gets the commit before and the commit now.
    """

    def __init__(
        self, directory: str, on_files: Callable[[list[str]], None], on_commit: Callable[[str, str], None]
    ) -> None:
        self._directory = directory
        self._on_files = on_files
        self._on_commit = on_commit
        self._watcher: Watcher | None = None
        self._commits: CommitWatcher | None = None

    def check(self, settings: Settings, sources: dict[str, str]) -> None:
        """See that all that is to be watched is there.

        :param sources: setting name to where its value came from.
        :raises ConfigError: it is not.
        """
        check_exist([self._absolute(path) for path in settings.watch], sources.get("watch", "setting watch"))
        if settings.reload == "git":
            from spawning.controller import git

            git.check(self._directory, f"{sources.get('reload', 'setting reload')} (git)")

    def follow(self, settings: Settings, fleet: Fleet, failed_files: Collection[str]) -> None:
        """Watch what matters now: of what serves, of what is to serve, and of what was refused.

        :param settings: those of the command line, until a generation has others.
        :param failed_files: what the generation refused last came from, or wanted.
        """
        latest = fleet.generations.get(fleet.latest) or fleet.serving
        settings = latest.settings if latest is not None else settings
        if settings.reload == "git" and self._commits is None:
            from spawning.controller.git import CommitWatcher

            self._commits = CommitWatcher(self._directory, self._on_commit)
        if settings.reload == "dev" and latest is not None:
            if self._watcher is None:
                from spawning.controller.watch import Watcher

                self._watcher = Watcher(self._on_files)
            files = frozenset(failed_files).union(*(each.files for each in fleet if each.state not in _OLD))
            named = [*settings.watch, *([settings.config] if settings.config else []), *([] if files else ["."])]
            since = time.time() - (time.monotonic() - latest.started_at)
            self._watcher.follow([*files, self._directory], [self._absolute(path) for path in named], since)

    def stop(self) -> None:
        """Stop watching; no thread is left."""
        if self._watcher is not None:
            self._watcher.stop()
        if self._commits is not None:
            self._commits.stop()

    def _absolute(self, path: str) -> str:
        return os.path.normpath(os.path.join(self._directory, path))


def check_exist(paths: Iterable[str], origin: str) -> None:
    """See that the paths to watch are there.

    :raises ConfigError: names the first that is not.
    """
    for path in paths:
        if not os.path.exists(path):
            raise ConfigError(f"{origin}: {path} does not exist, so it cannot be watched")
