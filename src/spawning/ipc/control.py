"""The control socket: what ``spawnctl`` and the controller say to each other, and where they meet.

A Unix stream socket with mode 0600; only its owner and root are listened to, and only they are believed. A connection
carries one question, a line of JSON, and its answer, lines of JSON of which the last one says ``ok`` or ``error``; then
it is closed.

    → {"command": "reload", "wait": true}
    ← {"progress": "generation 8: loading"}
    ← {"ok": {"generation": 8, "seconds": 0.412}}        or  {"error": "one line", "details": "a traceback, or empty"}

Commands: ``status``; ``reload`` and ``rollback``, both with ``wait`` (true: answered at their end); ``scale`` with
``workers``; ``stop``; ``upgrade`` with ``wait`` (true: answered when it is checked, with the generation to wait for);
``wait`` with ``generation`` (answered like ``reload``); ``requests``; ``stacks`` with ``worker`` (like ``"7.2"``);
``logs``; ``config``.

``console`` with ``worker`` is a question to the worker itself, which gets the connection and keeps it open:

    ← {"ok": {"worker": "7.2", "pid": 4711, "python": "3.13.1", "names": ["application", …]}}
    ← {"more": false}                  asks for a line; true: for the next one of a statement that is not complete
    → {"line": "1 + 1"}                or {"cancel": true}: begin the statement anew
    ← {"output": "2\\n"}               as often as something is written
    ← {"more": false}
    → {"interrupt": true}              at any time: raise KeyboardInterrupt in what is executed
    ← {"ended": ""}                    the code has called exit(); or why the worker does not go on
"""

import contextlib
import hashlib
import json
import os
import socket
import stat
import struct
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

MAX_QUESTION = 65536  # bytes
SUFFIX = ".sock"
_LONGEST_NAME = 40  # bytes of an address in the name of a control socket
DIRECTORY = "SPAWNING_CONTROL_DIRECTORY"  # the variable that names the one directory to use
_RUN = Path("/run/spawning")
_MODE_OF_RUN = 0o711  # directories of services of other users may be in it
_PEER = struct.Struct("3i")  # struct ucred: pid, uid, gid


def encode(values: Mapping[str, Any]) -> bytes:
    """Return one line of JSON, with its end."""
    return json.dumps(values, separators=(",", ":")).encode() + b"\n"


def decode(line: bytes) -> dict[str, Any]:
    """Read a line.

    :raises ValueError: it is not a JSON object.
    """
    try:
        values = json.loads(line)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not isinstance(values, dict):
        raise ValueError("not a JSON object")  # noqa: TRY004 - one kind of error for whatever is wrong with a line
    return values


def name_for(address: str, more: str = "") -> str:
    """Return the file name of the control socket of the server at an address: ``127.0.0.1:8080.sock``.

    That of a Unix socket is shortened if it is long: the path of the control socket has its limit too.
    """
    name = address.replace("/", "_")
    if address.startswith("unix:") and len(os.fsencode(name)) > _LONGEST_NAME:
        name = f"unix:{hashlib.sha256(os.fsencode(address)).hexdigest()[:16]}"
    return f"{name}{more}{SUFFIX}"


def directories(environ: Mapping[str, str], temporary: Callable[[], str] = tempfile.gettempdir) -> list[Path]:
    """List where control sockets are by default, the best place first; none of them need exist."""
    if environ.get(DIRECTORY):
        return [Path(environ[DIRECTORY]).absolute()]
    of_unit = map(Path, environ.get("RUNTIME_DIRECTORY", "").split(":"))  # RuntimeDirectory= of systemd, several
    found = [path for path in of_unit if path.parent == _RUN]
    if environ.get("XDG_RUNTIME_DIR"):
        found.append(Path(environ["XDG_RUNTIME_DIR"]) / "spawning")
    with contextlib.suppress(FileNotFoundError):  # there is no directory for temporary files that can be written
        return [*found, _RUN, Path(temporary()) / f"spawning-{os.geteuid()}"]
    return [*found, _RUN]


def make_private(directory: Path) -> None:
    """Make a directory for control sockets, unless it is there.

    :raises OSError: it cannot be made, or is one in which somebody else could put a socket of his own.
    """
    directory.mkdir(mode=_MODE_OF_RUN if directory == _RUN else 0o700, exist_ok=True)
    found = directory.lstat()
    if doubt_of_directory(found, os.geteuid()) or found.st_uid != os.geteuid():
        raise PermissionError(f"{directory} is not a directory of ours alone")


# Whom to believe ----------------------------------------------------------------------------------------------------


def peer(sock: socket.socket) -> int:
    """Return the user of the process at the other end (``SO_PEERCRED``): of a server, the one that began to listen."""
    uid: int = _PEER.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))[1]
    return uid


def doubt_of_directory(found: os.stat_result, user: int) -> str:
    """Return why sockets in a directory may be anybody's; empty: only the user and root can have put them there.

    :param found: of the directory, a link not followed.
    :param user: who asks (effective user id).
    """
    if not stat.S_ISDIR(found.st_mode):
        return "is not a directory"
    if found.st_uid not in (0, user):
        return f"belongs to user {found.st_uid}"
    if found.st_mode & 0o022:
        return "may be written by others"
    return ""


def doubt_of_socket(found: os.stat_result, user: int) -> str:
    """Return why a file in such a directory is no control socket to ask; empty: it is one.

    :param found: of the file, a link not followed.
    :param user: who asks (effective user id).
    """
    if not stat.S_ISSOCK(found.st_mode):
        return "is not a socket"
    if found.st_uid not in (0, user):
        return f"belongs to user {found.st_uid}"
    return ""


def doubt_of_server(server: int, directory: os.stat_result, user: int) -> str:
    """Return why a server's answers are not to be believed; empty: they are.

    Root's and our own are. So are those of the user whose directory the socket is in, if nobody else can put one there:
    who names such a socket means that user's server.

    :param server: the user that it runs as (:func:`peer`).
    :param directory: of the socket's directory, links followed.
    :param user: who asks (effective user id).
    """
    if server in (0, user) or (server == directory.st_uid and not directory.st_mode & 0o022):
        return ""
    return f"the server there runs as user {server}, whom nobody has asked to answer"
