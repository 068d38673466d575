"""What the application's code may change in its process while it is loaded, and what is done about it.

Restored: signal handlers that the server needs. Refused in one line: what cannot be served (the patches of gevent and
eventlet, descriptors of the server that were closed, a recursion limit that leaves no room). Told: connections that are
open afterwards, since all workers would share them. A process that the code forks does not come back from here.
"""

import contextlib
import os
import signal
import socket
import sys
from collections.abc import Iterator, Sequence
from importlib.machinery import ModuleSpec
from types import FrameType
from typing import Any, Final

from spawning.errors import EXIT_CLOSED, AppLoadError
from spawning.ipc.signals import FOR_THE_CONTROLLER, leave_to_the_controller
from spawning.worker.bug import LEAST_RECURSION, USUAL_RECURSION
from spawning.wsgi import forked

# An application may have its own use for these; if they are to end the process, it is the controller that they mean.
_FREE: Final = (signal.SIGUSR1, signal.SIGUSR2)

_PATCHERS: Final = {"gevent.monkey": "gevent", "eventlet.patcher": "eventlet"}
_CALLS: Final = {"gevent": "monkey.patch_all()", "eventlet": "monkey_patch()"}
_IMPORT_MACHINERY: Final = ("<frozen importlib", os.path.dirname(os.path.abspath(contextlib.__file__)) + "/importlib/")
_STREAMS: Final = (socket.SOCK_STREAM, socket.SOCK_SEQPACKET)

_set_handler = signal.signal
_get_handler = signal.getsignal
_socket = socket.socket


class PatchedError(AppLoadError):
    """The standard library is patched, so that not even the end of this process is what it was."""


class Surroundings:
    """The process as it was before the application's code ran.

    :param descriptors: those of the server that have to stay open.

    :ivar green: gevent has patched the standard library on behalf of the server (``-t 0``).
    """

    def __init__(self, descriptors: Sequence[int] = ()) -> None:
        self._pid = os.getpid()
        self._sockets = set(_open_sockets())
        self._importers: dict[str, str] = {}
        self._held: dict[int, tuple[int, int]] = {}
        self.green = False
        self.hold(descriptors)

    def hold(self, descriptors: Sequence[int]) -> None:
        """Add descriptors that have to stay open, and note in which process this is."""
        self._pid = os.getpid()
        self._held = {fd: _identity(fd) for fd in descriptors}

    @contextlib.contextmanager
    def kept(self) -> Iterator[None]:
        """Run the application's code, and have things as they must be afterwards.

        :raises AppLoadError: they cannot be.
        """
        noting = _Noting(self._importers)
        sys.meta_path.insert(0, noting)
        failure: BaseException | None = None
        try:
            yield
        except BaseException as error:
            failure = error
            raise
        finally:
            with contextlib.suppress(ValueError):
                sys.meta_path.remove(noting)
            self._look(failure)

    def new_connections(self) -> list[str]:
        """List the peers of stream connections that have been opened since."""
        opened = [(inode, fd) for inode, fd in _open_sockets().items() if inode not in self._sockets]
        return sorted(peer for _, fd in opened if (peer := _peer(fd)))

    def _look(self, failure: BaseException | None) -> None:
        if os.getpid() != self._pid:
            forked.leave(failure.__cause__ if isinstance(failure, AppLoadError) else failure)
        low = sys.getrecursionlimit()
        if low < LEAST_RECURSION:
            sys.setrecursionlimit(USUAL_RECURSION)
        if any(_identity(fd) != identity for fd, identity in self._held.items()):
            os._exit(EXIT_CLOSED)  # nobody can be told any more; see the status
        restore_handlers()
        if failure is not None:
            return
        if low < LEAST_RECURSION:
            raise AppLoadError(
                f"the application has set the recursion limit to {low} (sys.setrecursionlimit); less than"
                f" {LEAST_RECURSION} leaves no room for the server"
            )
        for name, package in _PATCHERS.items():
            if _has_patched(sys.modules.get(name)) and not (self.green and package == "gevent"):
                raise PatchedError(
                    f"{package} has patched the standard library during the import"
                    f"{self._where(package)}: Spawning serves with threads of the operating system, so leave out the"
                    f" {_CALLS[package]}, or serve with greenlets of gevent: -t 0"
                )

    def _where(self, package: str) -> str:
        place = self._importers.get(package)
        return f" ({place})" if place else ""


def restore_handlers() -> None:
    """Have the signals that mean the controller left to it, and clients that go away be no signal."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, FOR_THE_CONTROLLER)
    for signum in FOR_THE_CONTROLLER:
        handler = _get_handler(signum)
        if handler is not leave_to_the_controller and (signum not in _FREE or handler == signal.SIG_DFL):
            _set_handler(signum, leave_to_the_controller)
    _set_handler(signal.SIGPIPE, signal.SIG_IGN)


class _Noting:
    """A finder that finds nothing, and notes where gevent and eventlet are imported first."""

    def __init__(self, importers: dict[str, str]) -> None:
        self._importers = importers

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        package = "eventlet" if name == "eventlet" else _PATCHERS.get(name, "")
        if package and package not in self._importers:
            self._importers[package] = _importer(package, sys._getframe(1))
        return None


def _importer(package: str, frame: FrameType | None) -> str:
    """Name the file and line that import a package, from outside of it."""
    while frame is not None:
        inside = str(frame.f_globals.get("__name__", "")).partition(".")[0] == package
        if not inside and not frame.f_code.co_filename.startswith(_IMPORT_MACHINERY):
            return f"{frame.f_code.co_filename}, line {frame.f_lineno}"
        frame = frame.f_back
    return ""


def _has_patched(module: Any) -> bool:
    if module is None:
        return False
    asked = getattr(module, "is_anything_patched", None)  # gevent
    return bool(asked() if asked is not None else getattr(module, "already_patched", None))


def _identity(fd: int) -> tuple[int, int]:
    """Identify an open file, against another that has got its number; (0, 0) is none."""
    try:
        found = os.fstat(fd)
    except OSError:
        return 0, 0
    return found.st_dev, found.st_ino


def _open_sockets() -> dict[str, int]:
    """List the open sockets of this process: what identifies each, and its descriptor."""
    found: dict[str, int] = {}
    with contextlib.suppress(OSError):  # no /proc here
        for fd in os.listdir("/proc/self/fd"):
            with contextlib.suppress(OSError):  # that of the listing
                target = os.readlink(f"/proc/self/fd/{fd}")
                if target.startswith("socket:"):
                    found[target] = int(fd)
    return found


def _peer(fd: int) -> str:
    """Name whom a socket is connected to; empty if it is to nobody, or to this machine's nameless (``socketpair``)."""
    with contextlib.suppress(OSError), _socket(fileno=os.dup(fd)) as sock:
        if sock.type in _STREAMS:
            peer = sock.getpeername()
            if isinstance(peer, tuple):
                return f"[{peer[0]}]:{peer[1]}" if ":" in str(peer[0]) else f"{peer[0]}:{peer[1]}"
            return os.fsdecode(peer).replace("\0", "@")
    return ""
