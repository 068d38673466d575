"""What a controller begins with: nothing, sockets of the service manager, or all that an earlier program has left."""

import contextlib
import dataclasses
import os
import platform
import socket
import stat
from collections.abc import Iterable, MutableMapping
from dataclasses import dataclass, field

from spawning import __version__
from spawning.address import Address, Kind, bare
from spawning.controller.descent import descendants
from spawning.controller.fleet import Fleet
from spawning.controller.links import Unsent
from spawning.controller.listeners import Held
from spawning.controller.plan import Wanted
from spawning.controller.records import Process, Source
from spawning.controller.state import State, loads
from spawning.ipc.channel import Channel
from spawning.ipc.fence import Fence
from spawning.ipc.succession import SUCCEED, inherited
from spawning.logs.log import Log
from spawning.logs.setup import fields
from spawning.settings import Settings
from spawning.systemd import inherited_listeners

log = Log("spawning.controller")


@dataclass(frozen=True, slots=True)
class Legacy:
    """See ``State`` for the fields; here the descriptors are open sockets. ``outside`` are descriptors of sockets that
    somebody else has left open.
    """

    wanted: Wanted = field(default_factory=Wanted)
    fleet: Fleet = field(default_factory=Fleet)
    channels: dict[Source, Channel] = field(default_factory=dict)
    handoff: tuple[Channel, Channel] = field(default_factory=Channel.pair)
    fence: Fence = field(default_factory=Fence)
    held: list[Held] = field(default_factory=list)
    inherited: dict[str, list[socket.socket]] = field(default_factory=dict)
    outside: frozenset[int] = frozenset()
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
    identities: dict[int, int] = field(default_factory=dict)
    ticket_keys: tuple[str, float] = ("", 0.0)
    metrics: str = ""


def find_legacy(environ: MutableMapping[str, str]) -> Legacy:
    """Find out what there is. What says so is removed from the environment.

    :raises ConfigError: a socket of the service manager cannot be served.
    :raises ValueError: the state cannot be used (which ``upgrade_check.py`` has ruled out).
    """
    data = inherited(SUCCEED, environ)
    sockets = _open_sockets()
    if data is not None:
        return _succeed(loads(data), sockets)
    foreign = descendants(os.getpid())  # a shell that became this process by exec may have started them
    of_manager = inherited_listeners(environ)
    outside = sockets - {sock.fileno() for socks in of_manager.values() for sock in socks}
    return Legacy(inherited=of_manager, outside=outside, foreign=foreign)


def _open_sockets() -> frozenset[int]:
    """Return the descriptors of all sockets that are open."""
    found = set()
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):  # that of the listing itself
            if stat.S_ISSOCK(os.fstat(int(name)).st_mode):
                found.add(int(name))
    return frozenset(found)


def _succeed(state: State, sockets: frozenset[int]) -> Legacy:
    """Go on where the earlier program has ended, and ask for a generation of this one."""
    _not_inheritable(state.descriptors)
    workers = sum(len(generation.workers) for generation in state.fleet)
    log.info("upgraded %s", fields(version=__version__, python=platform.python_version(), workers=workers))
    sending, receiving = state.handoff
    control = (socket.socket(fileno=state.control[0]), state.control[1]) if state.control is not None else None
    held, inherited = _listeners(state)
    return Legacy(
        wanted=dataclasses.replace(state.wanted, generation=state.fleet.newest + 1, trigger="upgrade", recall=0),
        fleet=state.fleet,
        channels={source: _channel(fd) for source, fd in state.channels.items()},
        handoff=(_channel(sending), _channel(receiving)),
        fence=Fence(state.fence),
        held=held,
        outside=sockets - set(state.descriptors),
        inherited={name: [socket.socket(fileno=fd) for fd in fds] for name, fds in inherited.items()},
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
        identities=state.identities,
        ticket_keys=state.ticket_keys,
    )


def _listeners(state: State) -> tuple[list[Held], dict[str, list[int]]]:
    """Return what is known of the listening sockets.

    A Spawning that knew one address alone said little of it, and its generations did not say that it is theirs.
    """
    if state.held:
        return state.held, state.inherited
    address = Address(Kind.TCP, host=bare(state.bound.host), port=state.bound.port)
    text = Address(Kind.SYSTEMD).text if state.activated else address.text
    for generation in state.fleet:
        generation.listeners = generation.listeners or [text]
    return [Held(fd, text) for fd in state.listeners], {"unknown": state.listeners} if state.activated else {}


def _channel(fd: int) -> Channel:
    return Channel(socket.socket(fileno=fd))


def _not_inheritable(fds: Iterable[int]) -> None:
    for fd in fds:
        os.set_inheritable(fd, False)
