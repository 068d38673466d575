"""What the server needs of ``threading``, ``_thread``, ``socket`` and ``time``, bound before the application is there.

An application may replace these names for the whole process, also in the middle of a view (``import grequests``, which
has gevent patch; ``pytest-socket``). The server goes on with what is bound here, and makes threads and conditions that
look nothing up in a module that may have been replaced.

Rules: nothing here knows any other part of Spawning. Names are imported from here, never looked up in ``threading``.
"""

import gc
import sys
import threading
from _thread import LockType, allocate_lock, get_ident, get_native_id, start_new_thread
from collections.abc import Callable
from contextlib import suppress
from socket import SocketType, socket
from time import monotonic, sleep
from types import FrameType, TracebackType
from typing import Protocol

__all__ = [
    "Bell", "Condition", "LockType", "ServerThread", "SocketType", "allocate_lock", "get_ident", "get_native_id",
    "monotonic", "open_socket", "sleep", "socket", "start_new_thread",
]  # fmt: skip


def open_socket(descriptor: int, *, blocking: bool) -> socket:
    """Make a socket object of an open descriptor.

    It says itself whether it blocks: otherwise ``socket.setdefaulttimeout`` in the application would say it. That holds
    for all who share the open socket, in whichever process.
    """
    made = socket(fileno=descriptor)
    made.setblocking(blocking)
    return made


class ServerThread(threading.Thread):
    """A thread of the server, in which an application may run.

    The interpreter does not wait for it at its end. Yet it is no daemon, because the threads that an application starts
    in it would become daemons as well, which are cut off when a worker leaves. So it is started without the help of
    ``threading``, in whose ``_active`` it is entered by hand, so that ``threading.current_thread()`` finds it.
    """

    def __init__(self, name: str) -> None:
        # It wants to have hooks for exceptions, which may be None; here it would not call them.
        with suppress(RuntimeError):
            super().__init__(name=name, daemon=False)
        self._running = allocate_lock()  # until the end of the thread

    def start(self) -> None:
        """Start it.

        :raises RuntimeError: the system gives no more threads.
        """
        self._running.acquire()
        try:
            self._ident = start_new_thread(self._begin, ())
        except BaseException:
            self._running.release()
            raise

    def _begin(self) -> None:
        ident = self._ident = get_ident()
        self._native_id = get_native_id()
        self._started.set()  # type: ignore[attr-defined]
        threading._active[ident] = self  # type: ignore[attr-defined]
        try:
            _follow_hooks()
            self.run()
        finally:
            threading._active.pop(ident, None)  # type: ignore[attr-defined]
            self._running.release()

    def _after_fork(self, new_ident: int | None = None) -> None:
        """Be this thread in a forked process (called by Python 3.13 and newer).

        What ``threading.Thread`` does there asks the handle of the thread, which only its own ``start`` makes.
        """
        self._started._at_fork_reinit()  # type: ignore[attr-defined]
        if new_ident is not None:
            self._ident = new_ident

    def become_daemon(self) -> None:
        """Be a daemon from now on, also while it runs: nobody is to wait for it at the end of the process.

        Gevent does so in the place of ``threading``, for each thread that is none, and asks its handle, as above.
        """
        self._daemonic = True

    def is_alive(self) -> bool:
        """Whether it has been started and has not ended."""
        return self.ident is not None and self._running.locked()

    def join(self, timeout: float | None = None) -> None:
        """Wait for its end, at most so many seconds."""
        if self._running.acquire(timeout=-1 if timeout is None else max(0.0, timeout)):
            self._running.release()


def _follow_hooks() -> None:
    """Trace and profile this thread as any other. A hook that raises is taken away by the interpreter: here, where that
    costs no thread.
    """
    with suppress(Exception):
        trace, profile = threading.gettrace(), threading.getprofile()
        if trace is not None:
            sys.settrace(trace)
        if profile is not None:
            sys.setprofile(profile)
        _nothing()


def _nothing() -> None:
    """Be called, which is what hooks are told of."""


class Bell(Protocol):
    """What waits acquires it, what wakes releases it: a lock, or something like one that does not hold the thread."""

    def acquire(self) -> bool: ...

    def release(self) -> object: ...


class Condition:
    """A lock, and waiting for what it guards to change: the part of ``threading.Condition`` that the server uses."""

    __slots__ = ("_lock", "_waiting")

    def __init__(self) -> None:
        self._lock = allocate_lock()
        self._waiting: list[Bell] = []

    def __enter__(self) -> bool:
        return self._lock.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.release()

    def wait(self, make_bell: Callable[[], Bell] = allocate_lock) -> None:
        """Release the lock, wait for :meth:`notify_all`, and take the lock again. With the lock.

        :param make_bell: makes what is waited on.
        """
        bell = make_bell()
        bell.acquire()
        self._waiting.append(bell)
        self._lock.release()
        try:
            bell.acquire()
        finally:
            self._lock.acquire()

    def notify_all(self) -> None:
        """Wake all that wait. With the lock."""
        waiting = self._waiting
        self._waiting = []
        for bell in waiting:
            bell.release()


def current_frames() -> dict[int, FrameType]:
    """Return the innermost frame of each thread, by its identifier.

    CPython before 3.11.9 waits for ever when its garbage collector runs in the middle of this and switches to a thread
    that ends (gh-106883); Debian 12 has 3.11.2. So it does not run meanwhile.
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        return sys._current_frames()
    finally:
        if collecting:
            gc.enable()
