"""The fork server's process: ``interpreter.fork_server(FD, *PATH)``.

FD is its end of the channel to the controller, PATH what ``sys.path`` is to be for the application.

Rules: it dies with the controller, also in the middle of an import (``PR_SET_PDEATHSIG``) or at the end of file. A
worker leaves :func:`serve` with its order and unwinds to :func:`main`, so that it ends as a program of its own would:
``atexit`` functions run, and nothing of the fork server is below it on the stack.
"""

import atexit
import contextlib
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from time import monotonic

from spawning.account import find
from spawning.address import Address, Kind, parse
from spawning.errors import EXIT_APP, AppLoadError, ConfigError
from spawning.forkserver import birth, hooks, prepare
from spawning.forkserver.files import loaded_files
from spawning.forkserver.generation import Generation
from spawning.forkserver.surroundings import PatchedError
from spawning.ipc import signals
from spawning.ipc.channel import Channel
from spawning.ipc.messages import Boot, Born, ForkWorker, Message, Prepare, ReopenStream, WorkerGone
from spawning.ipc.prctl import die_with_parent, outlive_parent
from spawning.ipc.title import setproctitle
from spawning.lifecycle import Event
from spawning.logs.setup import begin, configure, finish, start
from spawning.logs.streams import provide, write_by_lines
from spawning.net.listeners import bound
from spawning.primitives import open_socket
from spawning.readiness import check
from spawning.settings import Settings
from spawning.standard import occupy
from spawning.worker import children
from spawning.worker.leaving import look_after_end
from spawning.worker.main import redirect_beside, run
from spawning.wsgi_factory import WSGIApplication

EXIT_SECONDS = 3  # what the application's atexit functions may take here; the controller kills it a little later


@dataclass(frozen=True, slots=True)
class Order:
    """What a newly forked process has to become: worker `worker`, on a channel of its own, with the sockets that all
    workers share; `names` are those of the listeners.
    """

    worker: int
    hands_log: bool
    channel: Channel
    handoff: tuple[Channel, Channel]
    listeners: Sequence[socket.socket]
    names: Sequence[str]

    @property
    def descriptors(self) -> list[int]:
        """List the descriptors of all of them."""
        channels = [each.fileno() for each in (self.channel, *self.handoff)]
        return channels + [each.fileno() for each in self.listeners]


def main() -> int:
    """Be a fork server; return the exit status (in a worker: the worker's)."""
    die_with_parent()
    provide()
    signals.ignore()
    signals.let_in()  # the controller has started us with these signals blocked
    atexit.register(signals.keep_out)  # runs last, before the interpreter takes the handlers away
    fd, path = int(sys.argv[1]), sys.argv[2:]
    sys.argv[1:] = []
    os.set_inheritable(fd, False)
    channel = Channel(open_socket(fd, blocking=True))
    boot, _ = channel.receive()
    if isinstance(boot, Prepare):
        setproctitle("spawning: fork server, not used yet")
        prepare.for_application(readable=True)
        boot, _ = channel.receive()
    if not isinstance(boot, Boot):
        return 0
    children.handles(signals.leave_to_the_controller)
    birth.disown(channel)
    birth.gate_hooks()
    readable = boot.settings.get("reload") == "dev" and "refusal" not in boot.settings
    prepare.for_application(readable=readable, logging=boot.settings.get("log_config") is not None)
    generation = Generation(boot, path, [fd])
    configure(generation.settings, boot.zone, turns=False)  # it is stopped while it is kept
    write_by_lines()
    group = os.getpgrp()
    set_title("fork server", str(boot.generation), generation.settings)
    order = serve(generation, channel, boot.controller) if load(generation, channel) else None
    if order is None:  # what the application has started here is to end too, by the functions that it has for that
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(EXIT_SECONDS)
        return 0
    return work(generation, order, group)


def _become_user(settings: Settings) -> None:
    """Be the user of ``--chuid`` before anything of the application runs, unless the controller was that user already.

    :raises ConfigError: that cannot be.
    """
    if settings.chuid is not None and os.geteuid() == 0:
        find(settings.chuid, settings.group, "option --chuid", "option --group").enter(os.environ)
        die_with_parent()


def load(generation: Generation, channel: Channel) -> bool:
    """Load the application and say how it went."""
    steps: tuple[Callable[[], Message], ...] = (generation.configure, generation.load)
    for step in steps:
        try:
            _become_user(generation.settings)
            channel.send(step())
        except (ConfigError, AppLoadError) as error:
            channel.send(generation.failure(error))
            while (message := channel.receive())[0] is not None:  # leaving before would look like one more failure
                for fd in message[1]:
                    os.close(fd)
            return False
    return True


def serve(generation: Generation, channel: Channel, controller: int) -> Order | None:
    """Fork workers as asked. Returns None in the fork server, when the controller has gone, and in each worker its
    order.

    The fork server leaves the process group of the controller. It is stopped while it is kept, and when a shell ends,
    the kernel sends SIGHUP, which asks for a reload, to a group that it leaves behind with a stopped member.
    """
    with contextlib.suppress(OSError):
        os.setpgid(0, 0)
    while True:
        message, fds = channel.receive()
        if message is None:
            return None
        if isinstance(message, WorkerGone):
            hooks.end(Event.WORKER_GONE, message.pid)
            continue
        if isinstance(message, ReopenStream):
            redirect_beside(message, fds)
            continue
        if not isinstance(message, ForkWorker):
            raise TypeError(f"not for a fork server: {message!r}")
        if birth.fork_twice(generation.number, controller):
            channel.close()
            own = Channel(open_socket(fds[0], blocking=True))
            # All workers share what follows, and so whether it blocks.
            shared = [open_socket(fd, blocking=False) for fd in fds[1:]]
            handoff, listeners = (Channel(shared[0]), Channel(shared[1])), shared[2:]
            names = message.listeners or [bound(each, Address(Kind.FD)).text for each in listeners]
            return Order(message.worker, message.hands_log, own, handoff, listeners, names)
        for fd in fds:
            os.close(fd)


def work(generation: Generation, order: Order, group: int) -> int:
    """Be a worker from birth to exit status.

    :param group: the controller's process group.
    """
    begin()
    name = f"{generation.number}.{order.worker}"
    order.channel.send(Born(os.getpid()))
    children.disown(order.channel, *order.handoff, *order.listeners)
    children.disown_processes()
    with contextlib.suppress(OSError):
        os.setpgid(0, group)
    generation.in_worker(order.descriptors)
    set_title("worker", name, generation.settings)
    settings = generation.settings
    try:
        application = generation.application()
        generation.begin_worker()
        if order.worker == 1:
            _check_readiness(generation, application, _for_check(map(parse, order.names)))
    except (ConfigError, AppLoadError) as error:
        order.channel.send(generation.failure(error))
        if isinstance(error, PatchedError):  # the interpreter would wait for threads in gevent's way, and fail
            finish()
            os._exit(EXIT_APP)
        look_after_end(name, monotonic() + settings.deadman_timeout)
        return EXIT_APP
    occupy()
    start()
    generation.begin_files(name)
    if order.worker == 1 and settings.reload == "dev":
        generation.begin_notices()
    outlive_parent()  # from now on the end of the channel says it, and what is under way is finished
    status = run(
        name=name,
        application=application,
        settings=settings,
        channel=order.channel,
        handoff=order.handoff,
        listeners=list(zip(order.names, order.listeners, strict=True)),
        opens_log=not order.hands_log,
        files=loaded_files() if settings.no_preload else [],
    )
    hooks.end(Event.EXIT)  # before the interpreter waits for threads, which these functions may be there to end
    generation.end_files()
    return status


def _for_check(addresses: Iterable[Address]) -> Address:
    """Choose an address: one over TLS if there is any, since an application may redirect what comes in plain HTTP."""
    return min(addresses, key=lambda each: not each.secure)


def _check_readiness(generation: Generation, application: WSGIApplication, address: Address) -> None:
    """Do the check of ``--ready-path``; one worker answers for all, which came from the same memory.

    It gives up a little before the controller does, which would not know what the generation waits for.

    :raises AppLoadError: the check failed.
    """
    settings = generation.settings
    if settings.ready_path is not None:
        seconds = settings.boot_timeout
        until = generation.started_at + seconds - min(1.0, seconds / 10)
        check(application, settings, address, until)


def set_title(kind: str, name: str, settings: Settings) -> None:
    """Show in the process table what this process is: ``spawning: worker 7.2 (settings)``."""
    setproctitle(f"spawning: {kind} {name} ({settings.args[0]})")


if __name__ == "__main__":
    sys.exit(main())
