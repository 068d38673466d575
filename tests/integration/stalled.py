"""A pipe whose reader is the test, which stops and goes on reading when it likes."""

import contextlib
import os
import select
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from integration.server import DEADLINE


class Stalled:
    """A FIFO that is open at both ends here, so whoever opens it does not wait.

    :param path: where to make it.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)
        self._read = b""
        self._filling = 0

    def __enter__(self) -> Self:
        os.mkfifo(self.path)
        self._fd = os.open(self.path, os.O_RDWR | os.O_NONBLOCK)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._fd)

    def fill(self) -> None:
        """Read nothing from now on: fill it, so that the next write of anybody waits."""
        while True:
            try:
                self._filling += os.write(self._fd, b"\0" * select.PIPE_BUF)
            except BlockingIOError:
                return

    def read_until(self, text: str, count: int = 1, timeout: float = DEADLINE) -> list[str]:
        """Go on reading until there are `count` lines with this text; return all lines so far.

        :raises AssertionError: they have not come within `timeout` seconds.
        """
        return self.read_while(lambda: sum(text in line for line in self.lines()) < count, timeout)

    def read_while(self, probe: Callable[[], object], timeout: float = DEADLINE) -> list[str]:
        """Go on reading as long as the answer of `probe` is true; return all lines so far.

        :raises AssertionError: it still is after `timeout` seconds.
        """
        deadline = time.monotonic() + timeout
        while probe():
            assert time.monotonic() < deadline, "still reading:\n" + "\n".join(self.lines()[-20:])
            if select.select([self._fd], [], [], 0.02)[0]:
                self._take()
        return self.lines()

    def read_rest(self) -> list[str]:
        """Read what is there; return all lines so far. For when nobody writes any more."""
        with contextlib.suppress(BlockingIOError):
            while True:
                self._take()
        return self.lines()

    def lines(self) -> list[str]:
        """List the whole lines that were read."""
        return self._read.decode().split("\n")[:-1]

    def _take(self) -> None:
        self._read += os.read(self._fd, 1 << 20).replace(b"\0", b"")
