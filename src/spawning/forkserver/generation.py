"""One loading of the application's code: from the order to load it to an application that can be called.

Knows factories and errors, neither channels nor processes.
"""

import gc
import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from spawning.errors import AppLoadError, ConfigError
from spawning.forkserver import app_metrics, covered, files, green, hooks, output, surroundings, system
from spawning.ipc.messages import Boot, Configured, Loaded, LoadFailed
from spawning.lifecycle import Event, registered
from spawning.logs.log import Log
from spawning.logs.setup import configure, fields
from spawning.readable import readable
from spawning.settings import OPTIONS, as_dict, checked
from spawning.settings.files import read_environment
from spawning.stamps import ChangedError, check_same, stamps
from spawning.standard import occupy
from spawning.wsgi_factory import WSGIApplication, application_errors, prepare_path, resolve

# What an ``app_factory`` may add to its dictionary, for ``--reload dev``: lists of directories that are watched with
# all that is below them, and of such that are not, although they are below watched ones.
WATCHED, UNWATCHED = "watched_directories", "unwatched_directories"
# Besides, what a developer should know of the site: a function without arguments that returns sentences.
NOTICES = "notices"
# What the process is before it runs a factory, which so cannot change it.
BEFORE_FACTORIES = ("chuid", "group", "daemonize", "stdout", "stderr")
NOTICES_AFTER = 0.5  # seconds behind the start of a worker


log = Log("spawning.forkserver")


class Generation:
    """See the module.

    :param boot: what to load.
    :param path: the entries of ``sys.path`` (``interpreter.path_for_application``).
    :param descriptors: those of the server, which the application must not close.
    """

    def __init__(self, boot: Boot, path: Sequence[str], descriptors: Sequence[int]) -> None:
        self.number = boot.generation
        self.settings = checked(boot.settings)
        self.started_at = boot.started_at
        self._directory = boot.directory
        self._path = path
        self._values = boot.settings
        self._sources = boot.sources
        self._same = boot.same
        self._metrics = boot.metrics
        self._loading_since = time.time_ns()
        self._config: dict[str, Any] = {}
        self._log_config: str | None = None  # that logging was configured from
        self._application: WSGIApplication | None = None
        self._green = False  # the standard library is patched
        self._covered: covered.Covered | None = None
        self._surroundings = surroundings.Surroundings(descriptors)

    def configure(self) -> Configured:
        """Go where the application is now, and run the factory's ``config_factory``.

        :raises AppLoadError: the directory is gone; the factory does not exist or fails; files have changed that must
            not have.
        :raises ConfigError: it says so, or a setting that it gives back cannot be used.
        """
        try:
            os.chdir(self._directory)
        except OSError as error:
            raise AppLoadError(f"cannot start in directory {self._directory}: {error.strerror}") from None
        self._check_same()
        self._set_variables()
        self._prepare_green()
        self._prepare_path()
        self._prepare_files()  # the factory may import what has some
        self._prepare_output()
        name = self.settings.factory
        with self._surroundings.kept():
            factory = _callable(name, "factory")
            with application_errors(f"factory {name} failed"):
                self._config = factory(dict(self._values))
        if not isinstance(self._config, dict) or not isinstance(self._config.get("app_factory"), str):
            raise ConfigError(f"factory {name} gave no dictionary with the dotted path of an app_factory")
        sources = {key: f"factory {name}, setting {key}" for key in self._config}
        settings = checked(self._config, sources)
        for key in BEFORE_FACTORIES:
            if getattr(settings, key) != getattr(self.settings, key):
                raise ConfigError(
                    f"factory {name}, setting {key}: it counts before a factory runs; write option"
                    f" {OPTIONS[key].flag}, or say it in spawning.toml"
                )
        if settings.log_config != self.settings.log_config:
            self._sources = sources
        self.settings = settings
        self._prepare_path()
        self._prepare_green()
        self._prepare_files()
        self._prepare_output()
        if self.settings.umask is not None:
            os.umask(int(self.settings.umask, 8))
        return Configured(as_dict(self.settings))

    def _prepare_green(self) -> None:
        """Patch the standard library for ``-t 0``; the factory may be the one that says so.

        :raises ConfigError: it cannot be, or it has been, and the factory says otherwise.
        """
        wanted = self.settings.threadpool_workers == 0
        if wanted and not self._green:
            green.patch()
            self._green = self._surroundings.green = True
        elif self._green and not wanted:
            raise ConfigError(
                f"factory {self.settings.factory} gives threads={self.settings.threadpool_workers} in place of 0"
            )

    def _prepare_files(self) -> None:
        """Prepare what the status service is to show of this process, if there is one."""
        if self.settings.coverage:
            covered.check()
        if not self._metrics:
            return
        if self.settings.app_metrics:
            app_metrics.prepare(self._metrics)
        if self.settings.sysinfo:
            system.prepare(self._metrics)
        if self.settings.coverage and self._covered is None:
            self._covered = covered.begin(self._metrics, self.number)

    def _prepare_output(self) -> None:
        """Have what the application prints and logs go where the settings say, unless that is done."""
        if self.settings.capture_output:
            output.capture()
        path = self.settings.log_config
        if path is not None and path != self._log_config:
            self._log_config = path
            with self._surroundings.kept():
                origin = self._sources.get("log_config", "option --log-config")
                output.configure_logging(os.path.join(self._directory, path), path, origin)

    def load(self) -> Loaded:
        """Load the application, unless each worker does, and make its memory fit for sharing.

        :raises AppLoadError: it cannot be loaded.
        :raises ConfigError: the factory says that the configuration is wrong.
        """
        if not self.settings.no_preload:
            self.application()
            output.end_lines()
        occupy()
        configure(self.settings)
        threads = [] if self._green else _threads()  # greenlets are forked like anything else
        self._check_same()  # what has changed meanwhile may have been loaded
        connections = self._surroundings.new_connections()
        if connections or self.settings.reload != "dev":  # there somebody waits
            gc.collect()
            connections = self._surroundings.new_connections()
        gc.freeze()  # the collector would write to each object it looks at, and so copy its page into every worker
        more = (*self.settings.watch, *self._named_files())  # such as an ini file
        named = (os.path.join(self._directory, each) for each in more)
        loaded = sorted({*files.loaded_files(), *(each for each in named if os.path.isfile(each))})
        stamped = stamps(loaded, self._loading_since)
        trees, unwatched = (self._directories(key) for key in (WATCHED, UNWATCHED))
        told_of_exits = bool(registered[Event.WORKER_GONE])
        return Loaded(loaded, threads, stamped, connections, trees, unwatched, told_of_exits)

    def _named_files(self) -> list[str]:
        """Return the files that settings name, and that are read again by the next generation."""
        return [each for each in (self.settings.env_file, self.settings.log_config) if each is not None]

    def _directories(self, key: str) -> list[str]:
        """Return the directories that the factory has named beside its settings."""
        named = self._config.get(key, ())
        return sorted({os.path.join(self._directory, each) for each in named if isinstance(each, str)})

    def _set_variables(self) -> None:
        """Set the variables of ``--env-file`` that are not set."""
        if (path := self.settings.env_file) is not None:
            for variable, value in read_environment(os.path.join(self._directory, path), path).items():
                os.environ.setdefault(variable, value)

    def _prepare_path(self) -> None:
        """Put the directories of ``--pythonpath`` first, then the current one."""
        prepare_path(self._path)
        first = [os.path.join(self._directory, each) for each in self.settings.pythonpath]
        sys.path[:] = dict.fromkeys([*first, *sys.path])

    def _check_same(self) -> None:
        if self._same is not None:
            check_same(self._same)

    def in_worker(self, descriptors: Sequence[int]) -> None:
        """Go on in a worker, which has other descriptors."""
        self._surroundings.hold(descriptors)
        if self._green:
            green.begin_in_worker()

    def application(self) -> WSGIApplication:
        """Return the application; load it when first asked.

        :raises AppLoadError: it cannot be loaded, or has changed its process so that it cannot be served.
        """
        if self._application is None:
            name = self._config["app_factory"]
            with self._surroundings.kept():
                factory = _callable(name, "app_factory")
                with application_errors(f"app_factory {name} failed"):
                    application = factory(self._config)
            if not callable(application):
                raise AppLoadError(f"app_factory {name} gave {type(application).__name__}, not a WSGI application")
            with self._surroundings.kept():
                hooks.begin(Event.LOAD)
            self._application = application
        return self._application

    def begin_worker(self) -> None:
        """Do what the application wants to be done in each new worker (``lifecycle.on_fork``).

        :raises AppLoadError: that fails, or has changed the process so that it cannot serve.
        """
        with self._surroundings.kept():
            hooks.begin(Event.FORK)

    def begin_files(self, worker: str) -> None:
        """Write what the status service is to show of this worker.

        :param worker: its name.
        """
        if self.settings.sysinfo and self._metrics:
            system.write(self._metrics, self.number, worker)
        if self._covered is not None:
            self._covered.follow()

    def end_files(self) -> None:
        """Write the rest of it."""
        if self._covered is not None:
            self._covered.write()

    def begin_notices(self) -> None:
        """Have the factory look for what a developer should know, in a thread: a database may not even answer."""
        notices = self._config.get(NOTICES)
        if callable(notices):
            threading.Thread(target=_tell, args=(notices,), name="spawning-notices", daemon=True).start()

    def failure(self, error: ConfigError | AppLoadError) -> LoadFailed:
        """Describe why it does not load, and which files to watch for it to be mended."""
        named = files.files_named([*self.settings.args, self.settings.factory], self._directory)
        more = [os.path.join(self._directory, each) for each in self._named_files()]
        watched = sorted({*files.loaded_files(), *files.files_of(error, self._directory), *named, *more})
        if isinstance(error, ChangedError):
            return LoadFailed("changed", str(error), "", watched)
        if isinstance(error, AppLoadError):
            shown = readable(error) if self.settings.reload == "dev" else ""
            return LoadFailed("app", str(error), error.details, watched, shown)
        return LoadFailed("config", str(error), "", watched)


def _threads() -> list[str]:
    """Name the threads that the application has started."""
    return [each.name for each in threading.enumerate() if each is not threading.main_thread()]


def _tell(notices: Callable[[], Sequence[str]]) -> None:
    threading.Event().wait(NOTICES_AFTER)  # the page comes first
    try:
        for sentence in notices():
            log.warning("%s", sentence)
    # boundary: the site serves, whatever it lacks for this
    except Exception as error:
        log.debug("cannot look for notices %s", fields(reason=error))


def _callable(name: str, setting: str) -> Callable[[dict[str, Any]], Any]:
    found = resolve(name)
    if not callable(found):
        raise AppLoadError(f"{setting} {name} is not callable: it is an object of type {type(found).__name__}")
    factory: Callable[[dict[str, Any]], Any] = found
    return factory
