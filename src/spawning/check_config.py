"""``spawn --check-config``: do all that a start does, short of serving, in processes that end with it.

A fork server loads the application and forks one worker, which does the check of ``--ready-path``: the same programs
and messages as in a service, only that this process is on the other end in place of a controller. TCP addresses are
bound with a port that the kernel chooses, and others are only looked at, so a service that runs on the right ones is
not disturbed, nor is its pidfile.
"""

import contextlib
import os
import socket
import stat
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace

from spawning import memory
from spawning.address import Kind
from spawning.controller import identities, process
from spawning.controller.descent import descendants
from spawning.controller.logfiles import check_syslog
from spawning.controller.paths import working_directory
from spawning.controller.triggers import check_exist, check_library
from spawning.errors import AppLoadError, ConfigError
from spawning.ipc.channel import Channel
from spawning.ipc.messages import Boot, Configured, ForkWorker, Loaded, LoadFailed, Message, Ready, Retire
from spawning.ipc.prctl import become_subreaper
from spawning.logs.setup import configure, zone
from spawning.net.listeners import bind_tcp, bound
from spawning.net.unix import absolute, check_unix
from spawning.net.wanted import wanted
from spawning.settings import OPTIONS, Settings, as_dict, checked
from spawning.settings.destination import is_file, syslog
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
    configure(given)
    become_subreaper()  # the worker is to end with us
    near, far = Channel.pair()
    try:
        process.start_fork_server(far)
        far.close()
        started_at = time.monotonic()
        talk = _Talk(near, started_at + given.boot_timeout)
        sources = configuration.sources
        where = working_directory()
        near.send(Boot(1, as_dict(given), started_at, where, os.getpid(), None, zone().changes, sources=sources))
        configured = talk.hear(Configured)
        assert isinstance(configured, Configured)
        settings = checked(configured.settings)
        talk.until = started_at + settings.boot_timeout
        origins = configuration.behind_the_factory(settings)
        _check_surroundings(settings, {name: f"setting {key_of(name)}" for name in OPTIONS} | origins)
        talk.hear(Loaded)
        identities.check(settings, origins)
        with _bound(settings, origins) as listeners:
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


def _check_surroundings(settings: Settings, sources: dict[str, str]) -> None:
    """See that the machine has what the settings name, without changing anything.

    :raises ConfigError: it has not.
    """
    if settings.max_memory or settings.max_worker_memory:
        memory.check_readable(sources["max_memory" if settings.max_memory else "max_worker_memory"])
    check_exist(map(os.path.abspath, settings.watch), sources["watch"])
    check_library(settings, sources["reload"])
    if settings.reload == "git":
        from spawning.controller import git

        git.check(working_directory(), f"{sources['reload']} (git)")
    for name in _WRITTEN:
        path = getattr(settings, name)
        if path is not None and (name != "access_log_file" or is_file(path)):
            _check_writable(path, sources[name])
    if (to := syslog(settings.access_log_file)) is not None:
        check_syslog(to, sources["access_log_file"])


def _check_writable(path: str, origin: str) -> None:
    there = path if os.path.exists(path) and not stat.S_ISSOCK(os.stat(path).st_mode) else os.path.dirname(path) or "."
    if not os.path.exists(there):
        raise ConfigError(f"{origin}: cannot write {path}: {there} does not exist")
    if os.path.isdir(path) or not os.access(there, os.W_OK):
        raise ConfigError(f"{origin}: cannot write {path}")


@contextlib.contextmanager
def _bound(settings: Settings, origins: dict[str, str]) -> Iterator[dict[str, socket.socket]]:
    """Look at all addresses, and make a listener for each, by name: a TCP address has another port, what is in the
    place of other sockets is in no directory.

    :raises ConfigError: one cannot be listened on.
    """
    with contextlib.ExitStack() as stack:
        listeners: dict[str, socket.socket] = {}
        for each in wanted(settings, origins, inherited=False):
            if each.address.kind is Kind.TCP:
                any_port = each._replace(address=replace(each.address, port=0))
                for listener in map(stack.enter_context, bind_tcp(any_port, settings.backlog)):
                    listeners[bound(listener, each.address).text] = listener
                continue
            if each.address.kind is Kind.UNIX:
                check_unix(replace(each.address, path=absolute(each.address.path, os.getcwd())), each.origin)
            listeners[each.address.text] = stack.enter_context(_in_no_directory())
        yield listeners


def _in_no_directory() -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind("")  # the kernel finds a name (unix(7), autobind)
    listener.listen()
    return listener


def _check_worker(fork_server: Channel, until: float, listeners: Mapping[str, socket.socket]) -> None:
    """Have a worker forked, wait until it is ready, and let it go."""
    near, far = Channel.pair()
    handoff = Channel.pair()
    try:
        sockets = [far.sock, *(each.sock for each in handoff), *listeners.values()]
        descriptors = [each.fileno() for each in sockets]
        fork_server.send(ForkWorker(1, hands_log=True, listeners=list(listeners)), descriptors)
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
