"""Unix sockets: bound, given to their owner, and removed, without ever touching what belongs to a server that lives.

Rules: nobody can connect before mode and owner are right, since connecting needs ``listen``, which comes last. Who
replaces a socket has a lock on its directory, so that of two servers which start at once one sees the other. A file is
removed only while it is the one that was made.
"""

import contextlib
import errno
import fcntl
import grp
import os
import pwd
import socket
import stat
import time
from collections.abc import Iterator
from typing import Final

from spawning.address import Address
from spawning.errors import ConfigError
from spawning.net.holders import holder_of_path

LONGEST: Final = 107  # bytes of a path; sun_path of unix(7) without its end
_LOCK_SECONDS: Final = 0.5  # that somebody else may have the directory's lock; then it is not about a socket
_BETWEEN_LOOKS: Final = 0.01  # seconds
_NOBODY: Final = (errno.ECONNREFUSED, errno.ENOENT)


def bind_unix(address: Address, backlog: int, origin: str) -> socket.socket:
    """Bind and listen; a socket file that nobody listens on any more is replaced.

    :param address: its path is absolute, or a name without a file (``@name``).
    :param origin: where the address came from, for messages.
    :raises ConfigError: it cannot be done, or a server that lives is there.
    """
    path = address.path
    _check_length(path, origin)
    owners = _owners(address, origin)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.setblocking(False)
        if path.startswith("@"):
            listener.bind(f"\0{path[1:]}")
            listener.listen(backlog)
        else:
            with _locked(os.path.dirname(path)):
                _make_way(path, origin)
                _bind_file(listener, address, owners, origin)
                listener.listen(backlog)
    except OSError as error:
        listener.close()
        raise _explained(error, path, origin) from None
    except ConfigError:
        listener.close()
        raise
    return listener


def check_unix(address: Address, origin: str) -> None:
    """See that a socket could be made, or that one is there, without touching it.

    :param address: as for :func:`bind_unix`.
    :raises ConfigError: it could not.
    """
    path = address.path
    _check_length(path, origin)
    _owners(address, origin)
    if path.startswith("@"):
        return
    if os.path.lexists(path) and not stat.S_ISSOCK(os.lstat(path).st_mode):
        raise _no_socket(path, origin)
    directory = os.path.dirname(path)
    reason = errno.ENOENT if not os.path.isdir(directory) else errno.EACCES
    if reason == errno.ENOENT or not os.access(directory, os.W_OK | os.X_OK):
        raise _explained(OSError(reason, os.strerror(reason)), path, origin)


def is_served(path: str) -> bool:
    """Whether a program that lives listens on a socket's file; one that has been killed has left its file behind."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        return probe.connect_ex(path) not in _NOBODY


def absolute(path: str, directory: str) -> str:
    """Return where the file of a socket is; a name without a file stays as it is.

    :param directory: where relative paths begin.
    """
    return path if path.startswith("@") else os.path.normpath(os.path.join(directory, path))


def own(address: Address, origin: str) -> None:
    """Set mode and owners of a socket's file as its address says.

    :raises ConfigError: it cannot be done.
    """
    owners = _owners(address, origin)
    if address.path.startswith("@"):
        return
    try:
        os.chmod(address.path, address.mode)
        _chown(address.path, owners, origin)
    except OSError as error:
        raise _explained(error, address.path, origin) from None


def file_of(address: Address) -> tuple[int, int]:
    """Return device and inode of a socket's file, by which it is known later; zeros if there is none."""
    with contextlib.suppress(OSError):
        if not address.path.startswith("@"):
            found = os.lstat(address.path)
            return found.st_dev, found.st_ino
    return 0, 0


def remove(address: Address, file: tuple[int, int]) -> None:
    """Remove a socket's file, unless it is not there, or is another one by now."""
    if any(file):
        with contextlib.suppress(OSError), _locked(os.path.dirname(address.path)):
            if file_of(address) == file:
                os.unlink(address.path)


def _bind_file(listener: socket.socket, address: Address, owners: tuple[int, int], origin: str) -> None:
    umask = os.umask(0o777 & ~address.mode)
    try:
        listener.bind(address.path)
    finally:
        os.umask(umask)
    try:
        _chown(address.path, owners, origin)
    except BaseException:
        os.unlink(address.path)
        raise


def _chown(path: str, owners: tuple[int, int], origin: str) -> None:
    if owners == (-1, -1):
        return
    try:
        os.chown(path, *owners)
    except PermissionError:
        raise ConfigError(
            f"{origin}: this user cannot give {path} to that owner or group; be root, or a member of the group"
        ) from None


def _owners(address: Address, origin: str) -> tuple[int, int]:
    """Return the numbers of owner and group; -1 where none is said."""
    user = group = -1
    try:
        if address.owner:
            user = int(address.owner) if address.owner.isdecimal() else pwd.getpwnam(address.owner).pw_uid
    except KeyError:
        raise ConfigError(f"{origin}: owner={address.owner}: there is no user of that name") from None
    try:
        if address.group:
            group = int(address.group) if address.group.isdecimal() else grp.getgrnam(address.group).gr_gid
    except KeyError:
        raise ConfigError(f"{origin}: group={address.group}: there is no group of that name") from None
    return user, group


@contextlib.contextmanager
def _locked(directory: str) -> Iterator[None]:
    """Have the lock of a directory, unless it cannot be had: then somebody else uses it for something else."""
    try:
        fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:  # it is missing, which is said better elsewhere, or may not be read
        yield
        return
    try:
        until = time.monotonic() + _LOCK_SECONDS
        while not _locks(fd) and time.monotonic() < until:
            time.sleep(_BETWEEN_LOOKS)
        yield
    finally:
        os.close(fd)


def _locks(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        pass
    return True


def _make_way(path: str, origin: str) -> None:
    """Remove the socket of a server that is dead.

    :raises ConfigError: something else is there.
    """
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise _no_socket(path, origin)
    if is_served(path):
        raise _taken(path, origin)
    os.unlink(path)


def _check_length(path: str, origin: str) -> None:
    if len(os.fsencode(path)) > LONGEST:
        raise ConfigError(f"{origin}: {path} is too long for a Unix socket; {LONGEST} bytes are the most")


def _no_socket(path: str, origin: str) -> ConfigError:
    return ConfigError(f"{origin}: {path} exists and is not a socket; remove it, or take another path")


def _taken(path: str, origin: str) -> ConfigError:
    who = holder_of_path(path) or "a server that is alive"
    return ConfigError(f"{origin}: {path} is taken by {who}; stop it first, or take another path")


def _explained(error: OSError, path: str, origin: str) -> ConfigError:
    directory = os.path.dirname(path)
    if error.errno == errno.EADDRINUSE:
        return _taken(path, origin)
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return ConfigError(f"{origin}: there is no directory {directory} for a socket; make it first")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return ConfigError(
            f"{origin}: cannot make a socket in {directory}: {error.strerror}; allow this user to write there"
        )
    return ConfigError(f"{origin}: cannot make a socket at {path}: {error.strerror}")
