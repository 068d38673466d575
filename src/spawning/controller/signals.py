"""Signals and wake-ups: they only enqueue and wake, decisions are made in the controller's loop.

The interpreter writes the number of each signal that arrives to a socket (``signal.set_wakeup_fd``) that the loop
polls; another thread wakes the loop by writing a zero. A full socket loses nothing that matters: the loop is awake
then, and each wake-up makes it look at everything.
"""

import contextlib
import math
import signal
import socket
from collections.abc import Iterable, Iterator
from types import FrameType
from typing import Self

ECHO_SECONDS = 0.3  # in which a second interrupt is the first one once more


class Wakeup:
    """The socket that ends the loop's wait. Made, drained and closed by the main thread; any thread may wake."""

    def __init__(self) -> None:
        self._near, self._far = socket.socketpair()
        self._near.setblocking(False)
        self._far.setblocking(False)
        self._previous: dict[int, signal._HANDLER] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, self._previous)  # what comes now must not end us in another way
        signal.set_wakeup_fd(-1)
        for signum, handler in self._previous.items():
            signal.signal(signum, handler)
        self._near.close()
        self._far.close()

    def listen(self, signums: Iterable[int]) -> None:
        """Turn these signals into entries of :meth:`drain`. Only from the main thread."""
        signal.set_wakeup_fd(self._far.fileno(), warn_on_full_buffer=False)
        for signum in signums:
            self._previous[signum] = signal.signal(signum, _noted)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, self._previous)  # held back by an upgrade until now

    def fileno(self) -> int:
        """Return what to poll for reading."""
        return self._near.fileno()

    def wake(self) -> None:
        """Wake the loop, from any thread."""
        with contextlib.suppress(BlockingIOError):  # full: it is awake
            self._far.send(b"\0")

    def drain(self) -> list[int]:
        """Return the numbers of the signals that have arrived, in order."""
        arrived = bytearray()
        with contextlib.suppress(BlockingIOError):
            while data := self._near.recv(4096):
                arrived += data
        return [number for number in arrived if number]


@contextlib.contextmanager
def held_back(signums: Iterable[int]) -> Iterator[None]:
    """Block signals in this thread meanwhile; what arrives is delivered afterwards."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signums)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class Interrupts:
    """Which interrupts (SIGINT) a person has sent: wrappers and ``timeout`` send each one to the process and then to
    its group, so a second one right behind the first is the same.
    """

    def __init__(self) -> None:
        self._counted_at = -math.inf

    def count(self, now: float) -> bool:
        """Whether an interrupt counts.

        :param now: (monotonic seconds) when it is dealt with.
        """
        if now - self._counted_at < ECHO_SECONDS:
            return False
        self._counted_at = now
        return True


def _noted(signum: int, frame: FrameType | None) -> None:
    """Do nothing: the number is in the socket already. (A signal without any handler would not be written there.)"""
