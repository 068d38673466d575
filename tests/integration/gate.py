"""A gate between a test and requests under way in a server: who has entered is counted, and leaves when told to.

Two FIFOs in a directory. The application (``apps/basics.py``, ``/hold?gate=DIR``) writes a byte to ``entered`` and then
reads one from ``leave``; the test does the opposite. So a test knows that a request is executing, without any clock.
"""

import os
import select
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from integration.server import DEADLINE


class Gate:
    """The test's side. It holds both FIFOs open for reading and writing, so that no ``open`` waits for another."""

    def __init__(self, directory: Path) -> None:
        self.target = f"/hold?gate={directory}"
        self.paths = directory / "entered", directory / "leave"

    def __enter__(self) -> Self:
        for path in self.paths:
            os.mkfifo(path)
        self._entered, self._leave = (os.open(path, os.O_RDWR | os.O_NONBLOCK) for path in self.paths)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._entered)
        os.close(self._leave)
        for path in self.paths:
            path.unlink()

    def wait_entered(self, count: int = 1, timeout: float = DEADLINE) -> None:
        """Wait until `count` more requests have entered the application.

        :raises AssertionError: they have not within `timeout` seconds.
        """
        deadline, seen = time.monotonic() + timeout, 0
        while seen < count:
            ready, _, _ = select.select([self._entered], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, f"{seen} of {count} requests have entered"
            seen += len(os.read(self._entered, count - seen))

    def open(self, count: int = 1) -> None:
        """Let `count` requests leave."""
        os.write(self._leave, b"." * count)
