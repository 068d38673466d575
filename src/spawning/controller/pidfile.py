"""The pidfile: says which process to signal, and keeps a second server from taking its place by mistake.

Who lives is said by a lock (flock), not by the number: after a reboot or in a container that starts anew, the number in
a file that was left behind is that of some other process. The controller holds the lock as long as it lives, also
through an exec; the kernel lets go of it when the process ends, however that happens. Nobody else inherits the
descriptor. A file without a lock is stale, whatever stands in it.

The lock belongs to the file and not to its name, so the holder looks whether the name still means that file.

Anybody who may read a file may lock it, and others are to read this one. So a lock of a user whom the file does not
belong to says nothing, unless it is the process's that the file names: it is stale, and put out of the way. Ours is
locked before anybody else can open it.

With ``--chuid`` the file stays root's, since root reads it to signal whom it names. Where the directory is root's as
well, it cannot be removed in the end; then it is emptied, and names nobody.
"""

import contextlib
import errno
import fcntl
import os
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Self

from spawning.errors import ConfigError

_TAKEN = (errno.EWOULDBLOCK, errno.EACCES)


class Pidfile:
    """A file with the pid of this process, one line. Exists from :meth:`write` to :meth:`remove`, also through an exec.

    :param path: where; a relative path is taken from the current directory, now.
    :param origin: where the path came from (``option --pidfile``), for messages.
    :param lock: ``fcntl.flock``.
    """

    def __init__(self, path: str, origin: str, lock: Callable[[int, int], None] = fcntl.flock) -> None:
        self.path = Path(path).absolute()
        self.fd = -1
        """The descriptor that has the lock; negative: none has."""
        self._origin = origin
        self._lock = lock

    @classmethod
    def handed_on(cls, path: str, fd: int) -> Self:
        """Go on with the pidfile of the program before this one.

        :param fd: has the lock. Negative when that program knew of no lock: then the file is locked now, if it is ours.
        """
        pidfile = cls(path, "option --pidfile")
        if fd < 0:
            with contextlib.suppress(ConfigError, OSError):
                fd = pidfile._claimed(0)
            if fd >= 0 and _number(fd) != os.getpid():
                os.close(fd)
                fd = -1
        pidfile.fd = fd
        return pidfile

    def write(self) -> None:
        """Write it whole or not at all; a stale one (nobody has its lock) is replaced.

        :raises ConfigError: it cannot be written, or belongs to a process that is alive.
        """
        try:
            stale = self._claimed(os.O_CREAT)
            try:
                self._replace()
            except OSError:
                if not os.fstat(stale).st_size:  # made a moment ago, to have something to lock
                    self.path.unlink()
                raise
            finally:
                os.close(stale)
        except OSError as error:
            raise self._unwritable(error) from None

    def remove(self) -> None:
        """Remove it, unless it has become another process's, or empty it if that is not allowed any more, and let go of
        the lock.
        """
        with contextlib.suppress(OSError):
            if self._is_named(self.fd) if self.fd >= 0 else self.path.read_text().strip() == str(os.getpid()):
                self._unlink()
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def _unlink(self) -> None:
        try:
            self.path.unlink()
        except PermissionError:
            if self.fd >= 0:
                os.ftruncate(self.fd, 0)

    def _claimed(self, create: int) -> int:
        """Lock what is there; return its descriptor. Nobody else replaces the file then.

        :param create: ``O_CREAT``: if nothing is there, make an empty file; 0: that is an error.
        :raises ConfigError: it belongs to a process that is alive.
        :raises OSError: it cannot be opened or locked.
        """
        while True:
            fd = os.open(self.path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | create, 0o600)
            try:
                self._lock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if self._is_named(fd):
                    return fd
            except OSError as error:
                taken, owner = error.errno in _TAKEN, _number(fd)
                harmless = taken and bool(create) and _is_of_a_stranger(fd)
                if harmless and self._is_named(fd):
                    self.path.unlink()
                os.close(fd)
                if harmless:
                    continue
                if taken:
                    raise self._taken(owner) from None
                raise
            os.close(fd)  # it was removed or replaced before we had the lock

    def _replace(self) -> None:
        """Put a locked file with our number in the place of what is there, at once."""
        fd, name = tempfile.mkstemp(prefix=f".{self.path.name}.", dir=self.path.parent)
        try:
            self._lock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.write(fd, f"{os.getpid()}\n".encode())
            os.fchmod(fd, 0o644)
            os.replace(name, self.path)
        except OSError:
            os.close(fd)
            os.unlink(name)
            raise
        self.fd = fd

    def _is_named(self, fd: int) -> bool:
        """Whether the path still leads to the open file."""
        try:
            return os.path.samestat(os.fstat(fd), self.path.lstat())
        except FileNotFoundError:
            return False

    def _taken(self, owner: int) -> ConfigError:
        who = f"process {owner}" if owner else "a process"
        return ConfigError(f"{self._origin}: {self.path} belongs to {who}, which is alive; stop it first")

    def _unwritable(self, error: OSError) -> ConfigError:
        return ConfigError(f"{self._origin}: cannot write {self.path}: {error.strerror}")


def _is_of_a_stranger(fd: int) -> bool:
    """Whether all that have locked an open file are users who are neither its owner, nor we, nor root, and it names
    none of them; False: or nobody can tell, as in another namespace of pids (``proc(5)``, /proc/locks).
    """
    status = os.fstat(fd)
    try:
        lines = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
        locks = [words for words in lines if words[1] == "FLOCK"]
        holders = {words[4] for words in locks if words[5].rpartition(":")[2] == str(status.st_ino)}
        if str(_number(fd)) in holders:
            return False
        owners = {_user(pid) for pid in holders}
    except (OSError, IndexError, ValueError):
        return False
    return bool(owners) and owners.isdisjoint({0, os.geteuid(), status.st_uid})


def _user(pid: str) -> int:
    """Return the user of a process."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next((int(line.split()[2]) for line in lines if line.startswith("Uid:")), 0)


def _number(fd: int) -> int:
    """Read the number in an open file; 0: there is none."""
    try:
        return int(os.pread(fd, 32, 0)) if stat.S_ISREG(os.fstat(fd).st_mode) else 0
    except ValueError:
        return 0
