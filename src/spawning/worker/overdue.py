"""Requests that have waited too long for a thread (``--queue-timeout``): the leader answers them with 503.

Nothing of it costs a request anything that does not wait, or a worker that has no such timeout.
"""

from time import monotonic
from typing import TYPE_CHECKING

from spawning.logs.log import Log
from spawning.wsgi.overloaded import Overloaded

if TYPE_CHECKING:
    from spawning.worker.loop import Loop

log = Log("spawning.worker")


class Overdue:
    """Leader only.

    :param loop: the worker's.
    :param timeout: seconds that a request may wait; 0 is for ever.

    :ivar count: requests answered so far.
    """

    def __init__(self, loop: "Loop", timeout: float) -> None:
        self.count = 0
        self._told = 0
        self._loop = loop
        self._timeout = timeout
        self._answer = Overloaded(timeout)

    def answer(self) -> bool:
        """Answer what is overdue; False: the lead is lost."""
        if not self._timeout:
            return True
        loop = self._loop
        box = loop.box
        while (overdue := loop.threads.take_overdue(loop.now - self._timeout)) is not None:
            connection, since = overdue
            exchange = connection.exchange
            exchange.started = since
            exchange.run(self._answer)
            self.count += 1
            loop.errors += 1
            if loop.access_log is not None:
                loop.access_log.record(connection.entry, exchange.environ, 503, exchange.sent, since)
            if connection.finish():
                connection.go_on()
            if loop.box is not box:
                return False
        return True

    def seconds_left(self) -> float:
        """Say when the next one will be overdue; infinite if none will."""
        if not self._timeout:
            return float("inf")
        return max(0.0, self._loop.threads.waiting_since() + self._timeout - monotonic())

    def tell(self) -> None:
        """Tell the log how many there have been since the last time; once a second."""
        if self.count != self._told:
            log.warning(
                "requests waited too long for a thread count=%d seconds=%g", self.count - self._told, self._timeout
            )
            self._told = self.count
