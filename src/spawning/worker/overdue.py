"""Requests that have waited too long for a thread (``--queue-timeout``): the leader answers them with 503.

Nothing of it costs a request anything that does not wait, or a worker that has no such timeout.
"""

from collections.abc import Callable
from time import monotonic

from spawning.logs.log import Log
from spawning.worker.context import Context
from spawning.worker.executor import Executor
from spawning.worker.roles import Job
from spawning.wsgi.exchange import WSGIApplication
from spawning.wsgi.overloaded import Overloaded

log = Log("spawning.worker")


class Overdue:
    """Leader only.

    :param context: of the worker.
    :param executor: where requests wait.
    :param refuse: answers a job with this application.

    :ivar count: requests answered so far.
    """

    def __init__(self, context: Context, executor: Executor, refuse: Callable[[Job, WSGIApplication], None]) -> None:
        self.count = 0
        self._told = 0
        self._context = context
        self._executor = executor
        self._refuse = refuse
        self._timeout = context.settings.queue_timeout
        self._answer = Overloaded(self._timeout)

    def answer(self) -> None:
        """Answer what is overdue. Raises LeadLost."""
        if not self._timeout:
            return
        while (overdue := self._executor.take_overdue(self._context.now - self._timeout)) is not None:
            job, since = overdue
            self.count += 1
            job.exchange.started = since
            self._refuse(job, self._answer)

    def seconds_left(self) -> float:
        """Return how long (seconds) until the next one will be overdue; infinite if none will."""
        if not self._timeout:
            return float("inf")
        return max(0.0, self._executor.waiting_since() + self._timeout - monotonic())

    def tell(self) -> None:
        """Log how many there have been since the last time; once a second."""
        if self.count != self._told:
            log.warning(
                "requests waited too long for a thread count=%d seconds=%g", self.count - self._told, self._timeout
            )
            self._told = self.count
