"""``spawn --check-config``: do all that a start does, short of serving, in processes that end with it.

A fork server loads the application and forks one worker, which does the check of ``--ready-path``: the same programs
and messages as in a service, only that this process is on the other end in place of a controller. The address is bound
with a port that the kernel chooses, so a service that runs on the right one is not disturbed, nor is its pidfile.
"""

import contextlib
import dataclasses
import os
import socket
import stat
import time
from collections.abc import Iterator, Sequence

from spawning.controller import memory, process
from spawning.controller.descent import descendants
from spawning.controller.paths import working_directory
from spawning.controller.triggers import check_exist
from spawning.errors import AppLoadError, ConfigError
from spawning.ipc.channel import Channel
from spawning.ipc.messages import Boot, Configured, ForkWorker, Loaded, LoadFailed, Message, Ready, Retire
from spawning.ipc.prctl import become_subreaper
from spawning.logs.setup import configure, zone
from spawning.net.listeners import bind
from spawning.settings import Settings, as_dict, checked
from spawning.settings.names import key_of
from spawning.settings.sources import Configuration

_LAST_SECONDS = 2.0  # that the worker and the fork server have to end in their own way
_PAUSE = 0.01  # seconds between looks at whether they have
_WRITTEN = ("access_log_file", "stdout", "stderr", "pidfile", "control_socket")


def check(configuration: Configuration) -> None:
    """Check a configuration in the directory that the process is in.

    :raises ConfigError: something has to be changed.
    :raises AppLoadError: the application does not load, or does not answer as ``--ready-path`` wants it.
    """
    given = configuration.settings
    configure(given.verbose)
    become_subreaper()  # the worker is to end with us
    near, far = Channel.pair()
    try:
        process.start_fork_server(far)
        far.close()
        started_at = time.monotonic()
        talk = _Talk(near, started_at + given.boot_timeout)
        near.send(Boot(1, as_dict(given), started_at, working_directory(), os.getpid(), None, zone().changes))
        configured = talk.hear(Configured)
        assert isinstance(configured, Configured)
        settings = checked(configured.settings)
        talk.until = started_at + settings.boot_timeout
        sources = _sources(configuration, settings)
        _check_surroundings(settings, sources)
        talk.hear(Loaded)
        with _bound(settings, sources) as listeners:
            _check_worker(near, talk.until, listeners)
    finally:
        near.close()
        _let_end()


class _Talk:
    """One end of a conversation, which has to come to its end within the time that a generation has.

    :ivar until: (monotonic seconds).
    """

    def __init__(self, channel: Channel, until: float) -> None:
        self.channel = channel
        self.until = until

    def hear(self, *kinds: type[Message]) -> Message:
        """Wait for a message of one of the kinds, past those that matter to a controller only.

        :raises ConfigError: the other end says that something has to be changed.
        :raises AppLoadError: the application does not load, or takes too long.
        """
        while True:
            self.channel.sock.settimeout(max(0.001, self.until - time.monotonic()))
            try:
                message, fds = self.channel.receive()
            except TimeoutError:
                raise AppLoadError("the application was not ready in time (--boot-timeout)") from None
            for fd in fds:
                os.close(fd)
            if message is None:
                raise AppLoadError("a process has died before the application was ready")
            if isinstance(message, LoadFailed):
                if message.kind == "config":
                    raise ConfigError(message.message)
                raise AppLoadError(message.message, message.details)
            if isinstance(message, kinds):
                return message


def _sources(configuration: Configuration, settings: Settings) -> dict[str, str]:
    """Return where each setting comes from, when the factory has run."""
    given = configuration.settings
    return {
        item.name: configuration.sources.get(item.name, f"setting {key_of(item.name)}")
        if getattr(given, item.name) == getattr(settings, item.name)
        else f"factory {settings.factory}, setting {item.name}"
        for item in dataclasses.fields(Settings)
    }


def _check_surroundings(settings: Settings, sources: dict[str, str]) -> None:
    """See that the machine has what the settings name, without changing anything.

    :raises ConfigError: it has not.
    """
    if settings.max_memory or settings.max_worker_memory:
        memory.check_readable(sources["max_memory" if settings.max_memory else "max_worker_memory"])
    check_exist(map(os.path.abspath, settings.watch), sources["watch"])
    if settings.reload == "git":
        from spawning.controller import git

        git.check(working_directory(), f"{sources['reload']} (git)")
    for name in _WRITTEN:
        path = getattr(settings, name)
        if path is not None and path != "-":
            _check_writable(path, sources[name])


def _check_writable(path: str, origin: str) -> None:
    there = path if os.path.exists(path) and not stat.S_ISSOCK(os.stat(path).st_mode) else os.path.dirname(path) or "."
    if not os.path.exists(there):
        raise ConfigError(f"{origin}: cannot write {path}: {there} does not exist")
    if os.path.isdir(path) or not os.access(there, os.W_OK):
        raise ConfigError(f"{origin}: cannot write {path}")


@contextlib.contextmanager
def _bound(settings: Settings, sources: dict[str, str]) -> Iterator[Sequence[socket.socket]]:
    """Bind the address, with another port."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(each) for each in bind(dataclasses.replace(settings, port=0), sources)]


def _check_worker(fork_server: Channel, until: float, listeners: Sequence[socket.socket]) -> None:
    """Have a worker forked, wait until it is ready, and let it go."""
    near, far = Channel.pair()
    handoff = Channel.pair()
    try:
        descriptors = [far.fileno(), *(each.fileno() for each in handoff), *(each.fileno() for each in listeners)]
        fork_server.send(ForkWorker(1, hands_log=True), descriptors)
        far.close()
        _Talk(near, until).hear(Ready)
        near.send(Retire(_LAST_SECONDS))
        near.sock.settimeout(_LAST_SECONDS)
        with contextlib.suppress(TimeoutError):  # then it is ended
            while near.receive()[0] is not None:
                pass
    finally:
        for channel in (near, far, *handoff):
            channel.close()


def _let_end() -> None:
    """Wait for the processes to end, and end those that do not."""
    until = time.monotonic() + _LAST_SECONDS
    while time.monotonic() < until and descendants(os.getpid()):
        process.reap()
        time.sleep(_PAUSE)
    process.end_all(())
