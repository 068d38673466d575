"""The listening sockets of all generations: made before anybody needs them, closed when nobody does any more.

Which addresses a generation listens on are data of its record (``GenerationRecord.listeners``). What two generations
have in common is one socket, which no reload touches. What a new one has alone is bound when its settings are known, so
before the cutover; if that fails it is refused. What only the one before had is closed behind the cutover, and
clients that have connected there by then go to the workers that serve, like connections that migrate.

A socket of the service manager, or one that was inherited otherwise, is only left alone, never closed before the end.

For the controller's loop alone, which waits here for a name server and the lock of a directory at most.
"""

import os
import socket
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from spawning.address import Address, Kind, parse
from spawning.controller.fleet import Fleet
from spawning.controller.links import SHORTAGES
from spawning.controller.records import UNDER_WAY, GenerationRecord, GenerationState
from spawning.errors import ConfigError
from spawning.ipc.channel import MAX_FDS, Channel
from spawning.ipc.messages import Handoff
from spawning.logs.log import Log
from spawning.logs.setup import fields
from spawning.net.listeners import adopt, bind_tcp, bound
from spawning.net.unix import absolute, bind_unix, file_of, own, remove
from spawning.net.wanted import Wanted, wanted
from spawning.settings import Settings

MOST: Final = MAX_FDS - 8  # sockets; a message to a fork server has them all, and a few others
BURST: Final = 256  # connections of a socket that is closed, handed to workers at a time
AGAIN: Final = 0.02  # seconds until the next attempt, when workers are behind with taking them

_LEAVE_OPEN: Final = "who starts the server has to open it, and not to close it on exec"
_NEED: Final = UNDER_WAY | {GenerationState.CUTOVER, GenerationState.SERVING}

log = Log("spawning.controller")


@dataclass(frozen=True, slots=True)
class Held:
    """What the next program has to know of one socket: see :class:`_Socket`; ``fd`` is its descriptor."""

    fd: int
    address: str
    file: tuple[int, int] = (0, 0)


@dataclass(slots=True, eq=False)
class _Socket:
    """A listening socket.

    :param address: as it was asked for; several sockets may have the same, such as those of a name with two addresses.
    :param file: device and inode of a Unix socket's file, if this server has made it.
    :param idle: no generation listens on it at present.
    """

    sock: socket.socket
    address: Address
    file: tuple[int, int] = (0, 0)
    idle: bool = False

    @property
    def stays(self) -> bool:
        """Whether somebody else has made it, who goes on with it."""
        return self.address.kind in (Kind.FD, Kind.SYSTEMD)

    def close(self) -> None:
        remove(self.address, self.file)
        self.sock.close()


class Listeners:
    """See the module.

    :param held: what the program before this one has left.
    :param inherited: sockets of the service manager, by name.
    :param outside: descriptors of sockets that this process has inherited, and that are none of ours.
    :param directory: where relative paths begin.
    :param handoff: the sending end of the handoff socket.
    """

    def __init__(
        self,
        held: Sequence[Held],
        inherited: Mapping[str, Sequence[socket.socket]],
        outside: Collection[int],
        directory: str,
        handoff: Channel,
    ) -> None:
        self.inherited = inherited
        known = {sock.fileno(): sock for socks in inherited.values() for sock in socks}
        self._sockets = [
            _Socket(known.get(each.fd) or socket.socket(fileno=each.fd), parse(each.address), each.file)
            for each in held
        ]
        self._outside = outside
        self._directory = directory
        self._handoff = handoff
        self._leaving: list[_Socket] = []
        self._accepted: tuple[Handoff, socket.socket] | None = None  # by us, from one of those

    # Of generations --------------------------------------------------------------------------------------------------

    def provide(self, generation: GenerationRecord, settings: Settings, sources: Mapping[str, str]) -> None:
        """Have all sockets that a generation is to listen on, and note in its record which.

        :param sources: setting name to where its value came from; one that is not there has its default.
        :raises ConfigError: one cannot be had; then none is that was not there before.
        """
        asked = [self._absolute(each) for each in wanted(settings, sources, inherited=bool(self.inherited))]
        self.have(asked, settings.backlog)
        generation.listeners = [each.address.text for each in asked]

    def recall(self, generation: GenerationRecord) -> None:
        """Have the sockets again that a generation has listened on when it served.

        :raises ConfigError: as :meth:`provide`.
        """
        origin = f"rollback to generation {generation.number}"
        asked = [Wanted(parse(text), origin, origin) for text in generation.listeners]
        self.have(asked, generation.settings.backlog)

    def have(self, asked: Iterable[Wanted], backlog: int) -> None:
        """Open what is not open.

        :raises ConfigError: something cannot be opened; then nothing is that was not open before.
        """
        made: list[_Socket] = []
        try:
            for each in asked:
                known = [sock for sock in self._sockets if sock.address.place == each.address.place]
                if not known:
                    made += self._open(each, backlog)
                elif each.address.kind is Kind.UNIX and known[0].address != each.address:
                    own(each.address, each.origin)
                    known[0].address = each.address
                for sock in known:
                    sock.idle = False
                self._check_count(len(made), each.origin)
        except BaseException:
            for sock in made:
                if not sock.stays:
                    sock.close()
            raise
        if self._sockets:  # else the line about the start has all of them
            for sock in made:
                log.info("listener opened %s", fields(address=_name(sock)))
        self._sockets += made

    def of(self, generation: GenerationRecord) -> tuple[list[int], list[str]]:
        """Return the descriptors that a worker of a generation is given, and the name of each listener."""
        found = {
            sock.sock.fileno(): bound(sock.sock, replace(sock.address, proxy=address.proxy, tls=address.tls)).text
            for address in map(parse, generation.listeners)
            for sock in self._sockets
            if sock.address.place == address.place
        }
        return list(found), list(found.values())

    def release(self, fleet: Fleet) -> None:
        """Begin to close what no generation that serves, or is to serve, listens on; once one has served."""
        if not fleet.has_served:
            return
        places = {parse(text).place for each in fleet if each.state in _NEED for text in each.listeners}
        self._say_as(fleet.serving)
        for sock in [each for each in self._sockets if each.address.place not in places and not each.idle]:
            sock.idle = True
            if sock.stays:
                _say_closed(_name(sock))
            else:
                self._sockets.remove(sock)
                remove(sock.address, sock.file)
                self._leaving.append(sock)

    def _say_as(self, serving: GenerationRecord | None) -> None:
        """Take over what is particular about the connections, which a reload may have changed."""
        said = {each.place: each for each in map(parse, serving.listeners if serving is not None else ())}
        for sock in self._sockets:
            if (address := said.get(sock.address.place)) is not None:
                sock.address = replace(sock.address, proxy=address.proxy, tls=address.tls)

    @property
    def busy(self) -> bool:
        """Whether somebody may wait at a socket that is to be closed."""
        return bool(self._leaving)

    def look(self, now: float, head_timeout: float) -> float:
        """Hand on those who have connected to sockets that are to be closed, as far as workers take them.

        :param now: monotonic seconds.
        :param head_timeout: seconds that each of them has for the head of its request.
        :returns: when to look again (infinity: never).
        """
        while self._leaving:
            if not self._hand_on(self._leaving[0], now + head_timeout):
                return now + AGAIN
            sock = self._leaving.pop(0)
            name = _name(sock)
            sock.sock.close()
            _say_closed(name)
        return float("inf")

    # Showing and handing on ------------------------------------------------------------------------------------------

    @property
    def addresses(self) -> list[Address]:
        """The addresses to show: as they were said, with the ports that are really bound; the first one names us."""
        shown: dict[str, Address] = {}
        for sock in [each for each in self._sockets if not each.idle]:
            real, said = bound(sock.sock, sock.address), sock.address
            if said.kind is Kind.TCP:
                real = replace(real, host=said.host)
            shown.setdefault(real.place, real)
        return list(shown.values())

    @property
    def open(self) -> list[socket.socket]:
        """The sockets that somebody listens on."""
        return [each.sock for each in self._sockets if not each.idle]

    @property
    def held(self) -> list[Held]:
        """What the next program goes on with."""
        return [Held(each.sock.fileno(), each.address.text, each.file) for each in self._sockets]

    @property
    def descriptors(self) -> dict[str, list[int]]:
        """Return the descriptors of the service manager's sockets, by name."""
        return {name: [sock.fileno() for sock in socks] for name, socks in self.inherited.items()}

    def give_to(self, uid: int, gid: int) -> None:
        """Make that user and group the owners of the files of Unix sockets, unless an address names others."""
        for each in self._sockets:
            if each.file != (0, 0):
                address = each.address
                os.chown(address.path, -1 if address.owner else uid, -1 if address.group else gid)

    def close(self) -> None:
        """Close all: nobody is to be served any more."""
        for each in (*self._sockets, *self._leaving):
            each.close()
        self._sockets.clear()
        self._leaving.clear()
        if self._accepted is not None:
            self._accepted[1].close()
            self._accepted = None
        for socks in self.inherited.values():
            for sock in socks:
                sock.close()
        self.inherited = {}

    # Opening ---------------------------------------------------------------------------------------------------------

    def _check_count(self, more: int, origin: str) -> None:
        if len(self._sockets) + more > MOST:
            raise ConfigError(f"{origin}: {MOST} listening sockets are the most")

    def _absolute(self, each: Wanted) -> Wanted:
        if each.address.kind is not Kind.UNIX:
            return each
        return each._replace(address=replace(each.address, path=absolute(each.address.path, self._directory)))

    def _open(self, each: Wanted, backlog: int) -> list[_Socket]:
        address = each.address
        if address.kind is Kind.TCP:
            return [_Socket(sock, address) for sock in bind_tcp(each, backlog)]
        if address.kind is Kind.UNIX:
            sock = bind_unix(address, backlog, each.origin)
            return [_Socket(sock, address, file_of(address))]
        if address.kind is Kind.FD:
            return [_Socket(self._inherited_as(address.number, each.origin), address)]
        return [_Socket(sock, address) for sock in self._of_manager(address.name, each.origin)]

    def _inherited_as(self, fd: int, origin: str) -> socket.socket:
        what = f"{origin}: fd:{fd}"
        if fd not in self._outside:
            raise ConfigError(f"{what} is no socket that was inherited; {_LEAVE_OPEN}")
        return adopt(fd, what, _LEAVE_OPEN)

    def _of_manager(self, name: str, origin: str) -> Sequence[socket.socket]:
        every = [sock for socks in self.inherited.values() for sock in socks]
        found = self.inherited.get(name, []) if name else every
        if not found:
            there = ", ".join(self.inherited) or "none at all"
            raise ConfigError(
                f"{origin}: systemd:{name}: no such socket was inherited; there are {there}"
                " (FileDescriptorName= of the .socket unit)"
            )
        return found

    # Closing ---------------------------------------------------------------------------------------------------------

    def _hand_on(self, sock: _Socket, deadline: float) -> bool:
        """Hand on who waits at a socket; whether nobody is left."""
        for _ in range(BURST):
            if self._accepted is None:
                try:
                    client, peer = sock.sock.accept()
                except BlockingIOError:
                    return True
                except OSError as error:
                    return error.errno not in SHORTAGES
                address, port = (peer[0], str(peer[1])) if type(peer) is tuple else ("", "")
                name = bound(sock.sock, sock.address).text
                self._accepted = Handoff(address, port, client.family, deadline, listener=name, fresh=True), client
            message, client = self._accepted
            try:
                self._handoff.send(message, [client.fileno()])
            except OSError as error:
                if error.errno in SHORTAGES:
                    return False
                log.warning("a connection is lost %s", fields(error=error))
            self._accepted = None
            client.close()
        return False


def _name(sock: _Socket) -> str:
    return bound(sock.sock, sock.address).place


def _say_closed(name: str) -> None:
    log.info("listener closed %s", fields(address=name))
