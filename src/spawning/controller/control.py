"""The controller's side of the control socket: accepts, reads questions, writes answers. Decides nothing.

For the controller's loop alone, which never waits for a client: what a client does not take is kept for it. All
descriptors are in an epoll of their own, which the loop polls as one more source of events. The protocol is described
in ``ipc/control.py``.
"""

import contextlib
import os
import resource
import select
import socket
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from spawning.errors import ConfigError
from spawning.ipc.control import MAX_QUESTION, decode, directories, encode, make_private, name_for, peer
from spawning.logs.log import Log
from spawning.logs.setup import fields
from spawning.net.unix import is_served

MOST_WAITING = 1024  # who have asked and have no answer yet, as after `reload --wait`; fewer with few descriptors
_SHARE = 4  # those are at most this part of the descriptors that the controller may have
_BURST = 64  # clients accepted before the questions of those who are there are read
_LONGEST_PATH = 107  # bytes; sun_path of unix(7) without its end

log = Log("spawning.controller")


class TakenError(ConfigError):
    """A living server listens on this control socket."""


@dataclass(slots=True, eq=False)
class Client:
    """One connection, from its acceptance to the end of the answer."""

    sock: socket.socket
    question: bytes = b""
    waiting: bytes = b""  # what it has not taken yet
    asked: bool = False  # the question is there
    complete: bool = False  # nothing is added to `waiting` any more

    @property
    def gone(self) -> bool:
        return self.sock.fileno() < 0


@dataclass(frozen=True, slots=True)
class Asked:
    """A client has asked something."""

    client: Client
    command: str
    arguments: dict[str, Any] = field(default_factory=dict)


class ControlSocket:
    """The listening socket at `path` and its clients.

    :param listener: listens there; it is closed with this.
    :raises OSError: nothing is at `path`.
    """

    def __init__(self, path: Path, listener: socket.socket) -> None:
        self.path = path
        self._listener = listener
        self._inode = path.lstat().st_ino
        self._epoll = select.epoll()
        # edge-triggered: when no descriptor is left for a client, the loop does not spin until there is one
        self._epoll.register(self._listener, select.EPOLLIN | select.EPOLLET)
        self._clients: dict[int, Client] = {}
        self._most_waiting = most_waiting(resource.getrlimit(resource.RLIMIT_NOFILE)[0])

    def fileno(self) -> int:
        """Return what to poll for reading."""
        return self._epoll.fileno()

    @property
    def listener(self) -> int:
        """Return the descriptor of the listening socket."""
        return self._listener.fileno()

    def close(self) -> None:
        """End all conversations and remove the socket, unless another server has replaced it."""
        for client in list(self._clients.values()):
            self._drop(client)
        self._epoll.close()
        self._listener.close()
        with contextlib.suppress(OSError):
            if self.path.lstat().st_ino == self._inode:
                self.path.unlink()

    # Questions -------------------------------------------------------------------------------------------------------

    def collect(self) -> list[Asked]:
        """Do what can be done without waiting; return the questions that are complete now."""
        asked = []
        for fd, events in self._epoll.poll(0):
            try:
                question = self._attend(fd, events)
            # boundary: what one client does is no reason to forget the others, or to end a server that starts
            except Exception:
                log.exception("this is a bug in Spawning: a client of the control socket is given up")
                self._forget(fd)
            else:
                if question is not None:
                    asked.append(question)
        return asked

    def _attend(self, fd: int, events: int) -> Asked | None:
        """Do what a descriptor is ready for; return the question if it is complete now."""
        client = self._clients.get(fd)
        if fd == self._listener.fileno():
            self._accept()
        elif client is None:  # dropped a moment ago
            pass
        elif events & select.EPOLLIN:
            return self._read(client)
        elif events & select.EPOLLOUT:
            self._write(client)
        else:  # it has gone
            self._drop(client)
        return None

    def _accept(self) -> None:
        for _ in range(_BURST):
            try:
                sock, _ = self._listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                log.warning("no descriptor for a client of the control socket %s", fields(reason=error.strerror))
                return
            self._welcome(sock)
        self._epoll.modify(self._listener, select.EPOLLIN | select.EPOLLET)  # there may be more: say so once again

    def _welcome(self, sock: socket.socket) -> None:
        """Take a client in. Of those who say nothing the oldest makes room; nobody who has asked ever does."""
        sock.setblocking(False)
        silent = [client for client in self._clients.values() if not client.asked]
        if len(silent) >= self._most_waiting:
            self._drop(silent[0])
        self._clients[sock.fileno()] = Client(sock)
        self._epoll.register(sock, select.EPOLLIN)

    def _read(self, client: Client) -> Asked | None:
        try:
            data = client.sock.recv(MAX_QUESTION)
        except OSError:
            data = b""
        client.question += data
        if not data or len(client.question) > MAX_QUESTION:
            self._drop(client)
            return None
        line, end, _ = client.question.partition(b"\n")
        return self._understood(client, line) if end else None

    def _understood(self, client: Client, line: bytes) -> Asked | None:
        """Return what a client asks, unless it may not, or makes no sense; then that is its answer."""
        if peer(client.sock) not in (0, os.geteuid()):
            self.refuse(client, "this server belongs to another user")
            return None
        self._epoll.modify(client.sock, 0)  # a client that half-closes behind its question still gets the answer
        if sum(each.asked for each in self._clients.values()) >= self._most_waiting:
            self.refuse(client, f"{self._most_waiting} others wait for an answer, which is the most: ask again later")
            return None
        client.asked = True
        try:
            arguments = decode(line)
        except ValueError:
            self.refuse(client, "the question is not a line of JSON")
            return None
        command = arguments.pop("command", "")
        if not isinstance(command, str):
            self.refuse(client, "the command is not a text")
            return None
        return Asked(client, command, arguments)

    # Answers ---------------------------------------------------------------------------------------------------------

    def progress(self, client: Client, text: str) -> None:
        """Send something before the answer."""
        self._say(client, {"progress": text})

    def answer(self, client: Client, values: Mapping[str, Any]) -> None:
        """Send the answer and end the conversation."""
        self._say(client, {"ok": values}, complete=True)

    def refuse(self, client: Client, error: str, details: str = "") -> None:
        """Send, in one line, why there is no answer, and end the conversation."""
        self._say(client, {"error": " ".join(error.split()), "details": details}, complete=True)

    def let_go(self, client: Client) -> None:
        """End the conversation on our side only: somebody else has the connection as well, and goes on with it."""
        self._epoll.unregister(client.sock)  # to close it would do that only where nobody else has it
        self._drop(client)

    def _say(self, client: Client, values: Mapping[str, Any], *, complete: bool = False) -> None:
        if not client.gone:
            client.waiting += encode(values)
            client.complete = complete
            self._write(client)

    def _write(self, client: Client) -> None:
        try:
            while client.waiting:
                client.waiting = client.waiting[client.sock.send(client.waiting, socket.MSG_NOSIGNAL) :]
        except BlockingIOError:
            self._epoll.modify(client.sock, select.EPOLLOUT)
        except OSError:
            self._drop(client)
        else:
            if client.complete:
                self._drop(client)
            else:
                self._epoll.modify(client.sock, 0)

    def _drop(self, client: Client) -> None:
        del self._clients[client.sock.fileno()]
        client.sock.close()  # which takes it out of the epoll

    def _forget(self, fd: int) -> None:
        if (client := self._clients.get(fd)) is not None:
            self._drop(client)


def most_waiting(descriptors: int) -> int:
    """Return how many clients may wait for answers at a time.

    :param descriptors: that this process may have (the soft limit; negative: any number).
    """
    return MOST_WAITING if descriptors < 0 else min(MOST_WAITING, max(1, descriptors // _SHARE))


def open_control(path: str | None, origin: str, address: str, environ: Mapping[str, str]) -> ControlSocket | None:
    """Make the control socket: at `path`, or else in the runtime directory, named after the address.

    Without a path it is a convenience that must not keep a site from starting: if it cannot be made, a warning says so,
    and a name that a living server has (in another network namespace, say) is extended by our pid.

    :raises ConfigError: it cannot be made at `path`, or belongs to a server that is alive.
    """
    if path is not None:
        return _opened(Path(path).absolute(), origin)
    reason = ""
    for directory in directories(environ):
        try:
            make_private(directory)
            try:
                return _opened(directory / name_for(address), origin)
            except TakenError:
                return _opened(directory / name_for(address, f"-{os.getpid()}"), origin)
        except (OSError, ConfigError) as error:
            reason = str(error)
    log.warning("no control socket, spawnctl will not find this server %s", fields(reason=reason))
    return None


def _opened(path: Path, origin: str) -> ControlSocket:
    control = ControlSocket(path, _listen(path, origin))
    log.debug("control socket %s", fields(path=path))
    return control


def _listen(path: Path, origin: str) -> socket.socket:
    """Listen under another name first: a client that sees the socket can connect, its mode being right already."""
    draft = path.with_name(f".{os.getpid()}")
    if max(len(os.fsencode(each)) for each in (path, draft)) > _LONGEST_PATH:
        raise ConfigError(f"{origin}: {path} is too long for a socket; {_LONGEST_PATH} bytes are the most")
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _check_free(path, origin)
        listener.setblocking(False)
        draft.unlink(missing_ok=True)
        umask = os.umask(0o177)
        try:
            listener.bind(str(draft))
        finally:
            os.umask(umask)
        listener.listen(MOST_WAITING)
        draft.rename(path)
    except OSError as error:
        listener.close()
        raise ConfigError(f"{origin}: cannot make a socket at {path}: {error.strerror}") from None
    except ConfigError:
        listener.close()
        raise
    return listener


def _check_free(path: Path, origin: str) -> None:
    """See that nothing is there but, perhaps, the socket of a server that is dead."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise ConfigError(f"{origin}: {path} exists and is not a socket")
    if is_served(str(path)):
        raise TakenError(f"{origin}: {path} belongs to a server that is alive; stop it first, or take another path")
