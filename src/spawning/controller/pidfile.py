"""The pidfile: says which process to signal, and keeps a second server from taking its place by mistake."""

import contextlib
import os
import tempfile
from pathlib import Path

from spawning.errors import ConfigError


class Pidfile:
    """A file with the pid of this process, one line. Exists from :meth:`write` to :meth:`remove`, also through an exec.

    :param path: where; a relative path is taken from the current directory, now.
    :param origin: where the path came from (``option --pidfile``), for messages.
    """

    def __init__(self, path: str, origin: str) -> None:
        self.path = Path(path).absolute()
        self._origin = origin

    def write(self) -> None:
        """Write it whole or not at all; a stale one (its process is gone) is replaced.

        :raises ConfigError: it cannot be written, or belongs to a process that is alive.
        """
        owner = self._owner()
        if owner is not None and owner != os.getpid():
            raise ConfigError(f"{self._origin}: {self.path} belongs to process {owner}, which is alive; stop it first")
        try:
            handle, name = tempfile.mkstemp(prefix=f".{self.path.name}.", dir=self.path.parent)
        except OSError as error:
            raise self._unwritable(error) from None
        try:
            with open(handle, "w") as writer:
                writer.write(f"{os.getpid()}\n")
            os.chmod(name, 0o644)
            os.replace(name, self.path)
        except OSError as error:
            os.unlink(name)
            raise self._unwritable(error) from None

    def remove(self) -> None:
        """Remove it, unless it has become another process's."""
        with contextlib.suppress(OSError):
            if self.path.read_text().strip() == str(os.getpid()):
                self.path.unlink()

    def _owner(self) -> int | None:
        """Give the process that the file names, if there is such a process."""
        try:
            pid = int(self.path.read_text())
        except (FileNotFoundError, ValueError):
            return None
        except OSError as error:
            raise self._unwritable(error) from None
        return pid if pid > 0 and _is_alive(pid) else None

    def _unwritable(self, error: OSError) -> ConfigError:
        return ConfigError(f"{self._origin}: cannot write {self.path}: {error.strerror}")


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except PermissionError:  # another user's
        return True
    except (ProcessLookupError, OverflowError):
        return False
    return True
