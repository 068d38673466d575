"""Which server ``spawnctl`` means, and asking it: finding its control socket, believing it, and reading its answer."""

import contextlib
import os
import socket
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from spawning.address import Kind, parse
from spawning.ctl_text import write
from spawning.ipc.control import (
    SUFFIX,
    decode,
    directories,
    doubt_of_directory,
    doubt_of_server,
    doubt_of_socket,
    encode,
    name_for,
    peer,
)

EXIT_REFUSED, EXIT_UNREACHABLE = 1, 2
SECONDS = 15.0  # that a server has to say something, unless we wait for the end of what it does

Values = dict[str, Any]


class ControlError(Exception):
    """Carry, in one line, why there is no answer; `details` is a traceback or empty."""

    def __init__(self, message: str, status: int = EXIT_UNREACHABLE, details: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.details = details


class Ended(ControlError):
    """The connection has ended instead of an answer."""


class Disbelieved(ControlError):
    """Somebody else listens there."""


@dataclass(frozen=True, slots=True)
class Where:
    """Which server is meant: a socket, an address, or neither."""

    path: str | None
    address: str | None

    def find(self) -> Path:
        """Return the control socket.

        :raises ControlError: there is none, or more than one could be meant.
        """
        if self.path is not None:
            return Path(self.path)
        name = self._name()
        skipped: list[str] = []
        found = [path for path in _sockets(skipped) if name is None or _matches(path, name)]
        living = [path for path in found if _is_alive(path, skipped)]
        if len(living) > 1:
            names = ", ".join(path.name.removesuffix(SUFFIX) for path in living)
            raise ControlError(f"several servers are running ({names}): say which with --address or --socket")
        if not living:
            at = f" at {self.address}" if self.address else ""
            but = f"; skipped: {', '.join(skipped)}" if skipped else ""
            raise ControlError(f"no server is running{at}, or its control socket is elsewhere (--socket){but}")
        return living[0]

    def _name(self) -> str | None:
        """Return the name of the socket of the server at the address."""
        if self.address is None:
            return None
        try:
            address = parse(self.address)
        except ValueError:
            raise ControlError(f"option --address: {self.address!r} is not HOST:PORT or unix:/path") from None
        if address.kind is Kind.UNIX and not address.path.startswith("@"):
            address = replace(address, path=os.path.abspath(address.path))
        return name_for(address.place)


def _sockets(skipped: list[str]) -> Iterator[Path]:
    """List the sockets that only we and root can have made, or those to whom root has given a directory for them; what
    was `skipped`, and why, is added to that list.
    """
    for directory, user in _directories(skipped):
        for path in sorted(directory.glob(f"*{SUFFIX}")):
            with contextlib.suppress(FileNotFoundError):  # gone meanwhile
                if doubt := doubt_of_socket(path.lstat(), user):
                    skipped.append(f"{path} {doubt}")
                else:
                    yield path


def _directories(skipped: list[str]) -> Iterator[tuple[Path, int]]:
    """List directories, each with the user whose sockets are in it. In one of root's there may be others, which only
    root can have made: those of services of other users.
    """
    ours = os.geteuid()
    for directory in directories(os.environ):
        if not os.access(directory, os.R_OK | os.X_OK):
            continue
        if doubt := doubt_of_directory(found := directory.lstat(), ours):
            skipped.append(f"{directory} {doubt}")
            continue
        yield directory, ours
        if found.st_uid == 0:
            yield from _given(directory, skipped)


def _given(directory: Path, skipped: list[str]) -> Iterator[tuple[Path, int]]:
    for path in sorted(directory.iterdir()):
        with contextlib.suppress(OSError):  # gone meanwhile, or not for us
            found = path.lstat()
            if not stat.S_ISDIR(found.st_mode):
                continue
            if doubt := doubt_of_directory(found, found.st_uid):
                skipped.append(f"{path} {doubt}")
            else:
                yield path, found.st_uid


def _matches(path: Path, name: str) -> bool:
    """Whether a socket has a default name; one that was taken has a pid behind it."""
    return path.name == name or path.name.startswith(f"{name.removesuffix(SUFFIX)}-")


def _is_alive(path: Path, skipped: list[str]) -> bool:
    try:
        with connected(path):
            return True
    except Disbelieved as error:
        skipped.append(str(error))
        return False
    except ControlError:
        return False


@contextmanager
def connected(path: Path) -> Iterator[socket.socket]:
    """Connect.

    :raises ControlError: nobody is there, or it is somebody else's.
    :raises Disbelieved: who is there is not to be believed.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(SECONDS)
        try:
            sock.connect(str(path))
        except FileNotFoundError:
            raise ControlError(f"no server is running: {path} does not exist") from None
        except ConnectionRefusedError:
            raise ControlError(f"no server is running: nobody listens on {path} any more") from None
        except PermissionError:
            raise ControlError(f"{path} belongs to another user; be that user, or root") from None
        except OSError as error:
            raise ControlError(f"cannot connect to {path}: {error.strerror or error}") from None
        if doubt := doubt_of_server(peer(sock), path.parent.stat(), os.geteuid()):
            raise Disbelieved(f"{path} is not believed: {doubt}")
        yield sock


def ask(where: Where, command: str, *, patient: bool = False, **arguments: Any) -> Values:
    """Ask a server and return its answer; what it says on the way goes to stderr.

    :param patient: wait for the answer however long it takes.
    :raises ControlError: there is no answer, or it is no.
    """
    try:
        with connected(where.find()) as sock, sock.makefile("rb") as reader:
            sock.settimeout(None if patient else SECONDS)
            sock.sendall(encode({"command": command, **arguments}))
            return read_answer(reader)
    except TimeoutError:
        raise ControlError(f"the server has not answered within {SECONDS:g} s") from None
    except (OSError, ValueError, KeyError) as error:
        raise ControlError(f"the server cannot be understood: {error}") from None


def read_answer(reader: Iterable[bytes]) -> Values:
    """Read up to the answer, and return it."""
    for line in reader:
        said = decode(line)
        if "progress" in said:
            write(str(said["progress"]), err=True)
        elif "error" in said:
            raise ControlError(str(said["error"]), EXIT_REFUSED, str(said.get("details", "")))
        else:
            answer: Values = said["ok"]
            return answer
    raise Ended("the server has ended without an answer", EXIT_REFUSED)
