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
from spawning.controller.paths import written_at
from spawning.controller.records import PAGE, GenerationState
from spawning.controller.rewritten import Rewritten
from spawning.errors import ConfigError
from spawning.logs.log import Log
from spawning.logs.setup import fields
from spawning.settings import Settings

if TYPE_CHECKING:
    from spawning.controller.git import CommitWatcher
    from spawning.controller.watch import Watcher

log = Log("spawning.controller")

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
        self._looked_at = 0.0  # when files were last followed of code that is no page (seconds since the epoch)
        self._told = False
        self._rewritten = Rewritten()

    def check(self, settings: Settings, sources: dict[str, str]) -> None:
        """See that all that is to be watched is there.

        :param sources: setting name to where its value came from.
        :raises ConfigError: it is not.
        """
        check_exist([self._absolute(path) for path in settings.watch], sources.get("watch", "setting watch"))
        check_library(settings, sources.get("reload", "setting reload"))
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
            # What a page stands in for is kept, and has files that may be the ones to be mended.
            old = _OLD if latest.trigger != PAGE else (GenerationState.RETIRING,)
            files = frozenset(failed_files).union(*(each.files for each in fleet if each.state not in old))
            known = [each for each in fleet if each.state not in old]
            configured = [settings.config] if settings.config else []
            named = {self._absolute(path) for path in (*settings.watch, *configured, *([] if files else ["."]))}
            trees = {path for each in known for path in each.trees if os.path.isdir(path)}
            unwatched = {path for each in known for path in each.unwatched} - named - trees
            since = time.time() - (time.monotonic() - latest.started_at)
            if latest.trigger != PAGE:
                self._looked_at = time.time()
            elif self._looked_at:  # a page loads none of these files: what is edited before it starts is news
                since = min(since, self._looked_at)
            self._watcher.follow([*files, self._directory], named | trees, since, unwatched, _written_by(settings))
            if not self._told and not fleet.has_served and files:
                self._told = True
                also = ", ".join(sorted(os.path.relpath(path, self._directory) for path in named | trees))
                log.info("watching for changes %s", fields(files=len(files), **({"also": also} if also else {})))

    def load_began(self) -> None:
        """Note that a generation is being loaded."""
        self._rewritten.load_began(time.time())

    def load_ended(self) -> None:
        """Note that it has been, well or not."""
        self._rewritten.load_ended(time.time())

    def edited(self, files: Collection[str]) -> list[str]:
        """Return those of changed files that ask for a reload: all but what the code itself writes at its import."""
        known = set(self._rewritten.own)
        edited = self._rewritten.edited({file: written_at(file) for file in files})
        for file in sorted(self._rewritten.own - known):
            name = os.path.relpath(file, self._directory)
            log.warning("file is written by the code's own import, which asks for no reload %s", fields(file=name))
        return edited

    def stop(self) -> None:
        """Stop watching; no thread is left."""
        if self._watcher is not None:
            self._watcher.stop()
        if self._commits is not None:
            self._commits.stop()

    def _absolute(self, path: str) -> str:
        return os.path.normpath(os.path.join(self._directory, path))


def _written_by(settings: Settings) -> list[str]:
    """List the files that the server itself writes: logs, also where its streams lead to, and the pidfile."""
    named = [settings.access_log_file, settings.pidfile or ""]
    return [*(path for path in named if path not in ("", "-")), *(f"/proc/self/fd/{fd}" for fd in (1, 2))]


def check_library(settings: Settings, origin: str) -> None:
    """See that what watches files is there, if it is wanted: it is an extra.

    :raises ConfigError: it is not, or does not work.
    """
    if settings.reload is None:
        return
    try:
        import watchfiles  # noqa: F401 - as what it is needed for does
    except ImportError as error:
        needed = f"{origin}: {settings.reload} needs watchfiles, the extra spawning[reload]: pip install watchfiles"
        broken = "" if isinstance(error, ModuleNotFoundError) and error.name == "watchfiles" else f" ({error})"
        raise ConfigError(needed + broken) from None


def check_exist(paths: Iterable[str], origin: str) -> None:
    """See that the paths to watch are there.

    :raises ConfigError: names the first that is not.
    """
    for path in paths:
        if not os.path.exists(path):
            raise ConfigError(f"{origin}: {path} does not exist, so it cannot be watched")
