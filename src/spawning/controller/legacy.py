"""What a controller begins with: nothing, sockets of the service manager, or all that an earlier program has left."""

import dataclasses
import os
import platform
import socket
from collections.abc import Iterable, MutableMapping
from dataclasses import dataclass, field

from spawning import __version__
from spawning.controller.descent import descendants
from spawning.controller.fleet import Fleet
from spawning.controller.links import Unsent
from spawning.controller.plan import Wanted
from spawning.controller.records import Process, Source
from spawning.controller.state import State, loads
from spawning.ipc.channel import Channel
from spawning.ipc.fence import Fence
from spawning.ipc.takeover import TAKE_OVER, inherited
from spawning.logs.log import Log
from spawning.logs.setup import fields
from spawning.settings import Settings
from spawning.systemd import inherited_listeners

log = Log("spawning.controller")


@dataclass(frozen=True, slots=True)
class Legacy:
    """See ``State`` for the fields; here the descriptors are open sockets."""

    wanted: Wanted = field(default_factory=Wanted)
    fleet: Fleet = field(default_factory=Fleet)
    channels: dict[Source, Channel] = field(default_factory=dict)
    handoff: tuple[Channel, Channel] = field(default_factory=Channel.pair)
    fence: Fence = field(default_factory=Fence)
    listeners: list[socket.socket] = field(default_factory=list)
    activated: bool = False
    bound: Settings | None = None
    pidfile: str | None = None
    pidfile_lock: int = -1
    control: tuple[socket.socket, str] | None = None
    unsent: list[Unsent] = field(default_factory=list)
    foreign: list[Process] = field(default_factory=list)
    started_in: str = ""
    logs: dict[str, int] = field(default_factory=dict)
    terminal: bool = True
    status_listeners: list[socket.socket] = field(default_factory=list)
    metrics: str = ""


def take_over(environ: MutableMapping[str, str]) -> Legacy:
    """Find out what there is. What says so is removed from the environment.

    :raises ConfigError: a socket of the service manager cannot be served.
    :raises ValueError: the state cannot be used (which ``upgrade_check.py`` has ruled out).
    """
    data = inherited(TAKE_OVER, environ)
    if data is not None:
        return _taken_over(loads(data))
    listeners = inherited_listeners(environ)
    foreign = descendants(os.getpid())  # a shell that became this process by exec may have started them
    return Legacy(listeners=listeners, activated=bool(listeners), foreign=foreign)


def _taken_over(state: State) -> Legacy:
    """Go on where the earlier program has ended, and ask for a generation of this one."""
    _not_inheritable(state.descriptors)
    workers = sum(len(generation.workers) for generation in state.fleet)
    log.info("upgraded %s", fields(version=__version__, python=platform.python_version(), workers=workers))
    sending, receiving = state.handoff
    control = (socket.socket(fileno=state.control[0]), state.control[1]) if state.control is not None else None
    return Legacy(
        wanted=dataclasses.replace(state.wanted, generation=state.fleet.newest + 1, trigger="upgrade", recall=0),
        fleet=state.fleet,
        channels={source: _channel(fd) for source, fd in state.channels.items()},
        handoff=(_channel(sending), _channel(receiving)),
        fence=Fence(state.fence),
        listeners=[socket.socket(fileno=fd) for fd in state.listeners],
        activated=state.activated,
        bound=state.bound,
        pidfile=state.pidfile,
        pidfile_lock=state.pidfile_lock,
        control=control,
        unsent=state.unsent,
        foreign=state.foreign,
        started_in=state.started_in,
        logs=state.logs,
        terminal=state.terminal,
        status_listeners=[socket.socket(fileno=fd) for fd in state.status_listeners],
        metrics=state.metrics,
    )


def _channel(fd: int) -> Channel:
    return Channel(socket.socket(fileno=fd))


def _not_inheritable(fds: Iterable[int]) -> None:
    for fd in fds:
        os.set_inheritable(fd, False)
