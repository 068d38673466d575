"""The fork server of one generation: ``python -m spawning.forkserver FD``, in a fresh interpreter.

It loads the application once, through the factory, and then forks a worker whenever the controller asks, from what it
has in memory: whatever lies on the disk by then does not matter. FD is its end of the channel.

Rules: it dies with the controller, also in the middle of an import (``PR_SET_PDEATHSIG``) or at the end of file. A
worker is forked twice, the process in between exits at once, so that the controller adopts the worker and sees its
exit. The worker leaves :meth:`ForkServer.serve` with its order and unwinds to :func:`main`, so that it ends as a
program of its own would: ``atexit`` functions run, and nothing of the fork server is below it on the stack.
"""

import atexit
import contextlib
import gc
import importlib
import os
import signal
import socket
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from setproctitle import setproctitle

from spawning.errors import EXIT_APP, AppLoadError, ConfigError
from spawning.ipc import signals
from spawning.ipc.channel import Channel
from spawning.ipc.messages import Boot, Born, Configured, ForkWorker, Loaded, LoadFailed, Message
from spawning.ipc.prctl import die_with_parent, outlive_parent
from spawning.logs.log import Log
from spawning.logs.setup import begin, configure, fields, start
from spawning.logs.streams import occupy, provide, write_by_lines
from spawning.readable import readable
from spawning.settings import Settings, as_dict, checked
from spawning.stamps import ChangedError, check_same, stamps
from spawning.wsgi_factory import WSGIApplication, application_errors, prepare_path, resolve

FORK_SERVER_EXIT_SECONDS = 3  # what they may take in the fork server; the controller kills it a little later
EXIT_SECONDS = 10  # what the application's atexit functions and threads may take after a worker's last request

log = Log("spawning.forkserver")


@dataclass(frozen=True, slots=True)
class Order:
    """What a newly forked process has to become: worker `worker`, on a channel of its own, with the sockets that all
    workers share.
    """

    worker: int
    hands_log: bool
    channel: Channel
    handoff: tuple[Channel, Channel]
    listeners: Sequence[socket.socket]


class ForkServer:
    """One generation's application, and the forking of its workers."""

    def __init__(self, channel: Channel, boot: Boot) -> None:
        self.channel = channel
        self.generation = boot.generation
        self.settings = checked(boot.settings)
        self._started_at = boot.started_at
        self._controller = boot.controller
        self._directory = boot.directory
        self._values = boot.settings
        self._same = boot.same
        self._loading_since = time.time_ns()
        self._group = os.getpgrp()
        self._config: dict[str, Any] = {}
        self._application: WSGIApplication | None = None

    # Loading ---------------------------------------------------------------------------------------------------------

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
        prepare_path()
        name = self.settings.factory
        factory = _callable(name, "factory")
        with application_errors(f"factory {name} failed"):
            self._config = factory(dict(self._values))
        if not isinstance(self._config, dict) or not isinstance(self._config.get("app_factory"), str):
            raise ConfigError(f"factory {name} gave no dictionary with the dotted path of an app_factory")
        self.settings = checked(self._config, {key: f"factory {name}, setting {key}" for key in self._config})
        return Configured(as_dict(self.settings))

    def load(self) -> Loaded:
        """Load the application, unless each worker does, and make its memory fit for sharing.

        :raises AppLoadError: it cannot be loaded.
        :raises ConfigError: the factory says that the configuration is wrong.
        """
        importlib.import_module("spawning.worker.main")  # now, so that workers share it
        if not self.settings.no_preload:
            self.application()
        occupy()
        configure(self.settings.verbose)
        threads = [each.name for each in threading.enumerate() if each is not threading.main_thread()]
        self._check_same()  # what has changed meanwhile may have been loaded
        gc.collect()
        gc.freeze()  # the collector would write to each object it looks at, and so copy its page into every worker
        named = (os.path.join(self._directory, each) for each in self.settings.watch)  # such as an ini file
        files = sorted({*loaded_files(), *(each for each in named if os.path.isfile(each))})
        return Loaded(files, threads, stamps(files, self._loading_since))

    def _check_same(self) -> None:
        if self._same is not None:
            check_same(self._same)

    def application(self) -> WSGIApplication:
        """Give the application; loads it when first asked."""
        if self._application is None:
            name = self._config["app_factory"]
            factory = _callable(name, "app_factory")
            with application_errors(f"app_factory {name} failed"):
                application = factory(self._config)
            if not callable(application):
                raise AppLoadError(f"app_factory {name} gave {type(application).__name__}, not a WSGI application")
            self._application = application
        return self._application

    def failure(self, error: ConfigError | AppLoadError) -> LoadFailed:
        """Say why it does not load, and which files to watch for it to be mended."""
        named = _files_named([*self.settings.args, self.settings.factory], self._directory)
        files = sorted({*loaded_files(), *_files_of(error, self._directory), *named})
        if isinstance(error, ChangedError):
            return LoadFailed("changed", str(error), "", files)
        if isinstance(error, AppLoadError):
            shown = readable(error) if self.settings.reload == "dev" else ""
            return LoadFailed("app", str(error), error.details, files, shown)
        return LoadFailed("config", str(error), "", files)

    # Serving ---------------------------------------------------------------------------------------------------------

    def serve(self) -> Order | None:
        """Fork workers as asked. Returns None in the fork server, when the controller has gone, and in each worker its
        order.

        The fork server leaves the process group of the controller. It is stopped while it is kept, and when a shell
        ends, the kernel sends SIGHUP, which asks for a reload, to a group that it leaves behind with a stopped member.
        """
        with contextlib.suppress(OSError):
            os.setpgid(0, 0)
        while True:
            message, fds = self.channel.receive()
            if message is None:
                return None
            if not isinstance(message, ForkWorker):
                raise TypeError(f"not for a fork server: {message!r}")
            if self._fork_twice():
                self.channel.close()
                channel, sending, receiving = (Channel(socket.socket(fileno=fd)) for fd in fds[:3])
                listeners = [socket.socket(fileno=fd) for fd in fds[3:]]
                return Order(message.worker, message.hands_log, channel, (sending, receiving), listeners)
            for fd in fds:
                os.close(fd)

    def _fork_twice(self) -> bool:
        """Fork; true in the new worker. The controller learns of a failure by the end of that worker's channel."""
        _flush()
        with warnings.catch_warnings():  # of threads at a fork; Loaded has named them already, and once is enough
            warnings.simplefilter("ignore", DeprecationWarning)
            try:
                between = os.fork()
            except OSError as error:
                log.warning("cannot fork %s", fields(generation=self.generation, reason=error.strerror))
                return False
            if between == 0:
                return _forked_again(self._controller)
        with contextlib.suppress(ChildProcessError):  # the application may have had all its children reaped
            os.waitpid(between, 0)
        return False

    # In the worker ---------------------------------------------------------------------------------------------------

    def work(self, order: Order) -> int:
        """Be a worker from birth to exit status."""
        begin()
        name = f"{self.generation}.{order.worker}"
        order.channel.send(Born(os.getpid()))
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        _disown_children()
        with contextlib.suppress(OSError):
            os.setpgid(0, self._group)
        set_title("worker", name, self.settings)
        try:
            application = self.application()
            if order.worker == 1:
                self._check_readiness(application, order.listeners[0])
        except (ConfigError, AppLoadError) as error:
            order.channel.send(self.failure(error))
            return EXIT_APP
        occupy()
        start()
        outlive_parent()  # from now on the end of the channel says it, and what is under way is finished
        from spawning.worker.main import run

        return run(
            name=name,
            application=application,
            settings=self.settings,
            channel=order.channel,
            handoff=order.handoff,
            listeners=order.listeners,
            opens_log=not order.hands_log,
            files=loaded_files() if self.settings.no_preload else [],
        )

    def _check_readiness(self, application: WSGIApplication, listener: socket.socket) -> None:
        """Do the check of ``--ready-path``; one worker answers for all, which came from the same memory.

        It gives up a little before the controller does, which would not know what the generation waits for.

        :raises AppLoadError: the check failed.
        """
        if self.settings.ready_path is not None:
            from spawning.readiness import check

            seconds = self.settings.boot_timeout
            until = self._started_at + seconds - min(1.0, seconds / 10)
            check(application, self.settings, listener.getsockname()[:2], until)


def main() -> int:
    """Be a fork server; give the exit status (in a worker: the worker's)."""
    die_with_parent()
    provide()
    signals.ignore()
    signals.let_in()  # the controller has started us with these signals blocked
    atexit.register(signals.keep_out)  # runs last, before the interpreter takes the handlers away
    fd = int(sys.argv[1])
    os.set_inheritable(fd, False)
    channel = Channel(socket.socket(fileno=fd))
    boot, _ = channel.receive()
    if not isinstance(boot, Boot):
        return 0
    server = ForkServer(channel, boot)
    configure(server.settings.verbose, boot.zone)
    write_by_lines()
    set_title("fork server", str(boot.generation), server.settings)
    order = server.serve() if _load(server) else None
    if order is None:  # what the application has started here is to end too, by the functions that it has for that
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(FORK_SERVER_EXIT_SECONDS)
        return 0
    status = server.work(order)
    # The rest of a worker's life is the application's: atexit functions, threads that are no daemons.
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(EXIT_SECONDS)
    return status


def _load(server: ForkServer) -> bool:
    """Load the application and say how it went."""
    steps: tuple[Callable[[], Message], ...] = (server.configure, server.load)
    for step in steps:
        try:
            server.channel.send(step())
        except (ConfigError, AppLoadError) as error:
            server.channel.send(server.failure(error))
            server.channel.receive()  # the end of the file: leaving before it would look like one more failure
            return False
    return True


def set_title(kind: str, name: str, settings: Settings) -> None:
    """Show in the process table what this process is: ``spawning: worker 7.2 (settings)``."""
    setproctitle(f"spawning: {kind} {name} ({settings.args[0]})")


def loaded_files() -> list[str]:
    """List the files behind ``sys.modules``."""
    files = (getattr(module, "__file__", None) for module in list(sys.modules.values()))
    return sorted({file for file in files if isinstance(file, str) and os.path.isabs(file)})


def _forked_again(controller: int) -> bool:
    """Fork once more, in the process in between, and leave nothing of that.

    The new worker dies with the controller, which has adopted it, until it looks at its channel: an import or a check
    that never ends would outlive it otherwise.
    """
    between = os.getpid()
    try:
        if os.fork():
            os._exit(0)
    except OSError:
        os._exit(1)
    while os.getppid() == between:  # its end would count as that of the parent
        os.sched_yield()
    die_with_parent()
    if os.getppid() != controller:  # it is dead, or about to be: then nobody may tell us any more
        os._exit(0)
    return True


def _disown_children() -> None:
    """Have ``multiprocessing`` forget, in a worker, what the application has started in the fork server.

    Its ``atexit`` function would terminate those of them that are daemons, which the other workers still use, and fail
    to join the rest. Its own children do the same (``BaseProcess._bootstrap``).
    """
    module = sys.modules.get("multiprocessing.process")
    children = getattr(module, "_children", None)
    if isinstance(children, set):
        children.clear()


def _callable(name: str, setting: str) -> Callable[[dict[str, Any]], Any]:
    found = resolve(name)
    if not callable(found):
        raise AppLoadError(f"{setting} {name} is not callable: it is an object of type {type(found).__name__}")
    factory: Callable[[dict[str, Any]], Any] = found
    return factory


def _files_of(error: BaseException, directory: str) -> Iterator[str]:
    """Give the files in the tracebacks of an error and its causes; a module that failed is not in ``sys.modules``."""
    chain: list[BaseException] = [error]
    for each in chain:
        if isinstance(each, SyntaxError) and each.filename:
            yield os.path.abspath(each.filename)
        if isinstance(each, ModuleNotFoundError) and each.name:
            yield from _files_named([each.name], directory)
        frames = traceback.extract_tb(each.__traceback__)
        yield from (frame.filename for frame in frames if os.path.isabs(frame.filename))
        chain += [cause for cause in (each.__cause__, each.__context__) if cause is not None and cause not in chain]


def _files_named(names: Sequence[str], directory: str) -> Iterator[str]:
    """Give the files in which the modules of these names would be, seen from a directory."""
    for name in names:
        parts = name.partition(":")[0].split(".")
        for count in range(1, len(parts) + 1):
            path = os.path.join(directory, *parts[:count])
            yield f"{path}.py"
            yield os.path.join(path, "__init__.py")


def _flush() -> None:
    """Write what is buffered, or it would be written once more by each process that is forked."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):  # boundary: it may be anything that the application has put there
            stream.flush()


if __name__ == "__main__":
    sys.exit(main())
