"""Complete requests that wait for a request thread: who is next, and who has waited too long.

First come, first served, but health checks go first: the program that asks decides whether this worker lives, and
the answer must not depend on how many others are waiting. They never wait too long either.
"""

from collections import deque
from collections.abc import Iterable
from time import monotonic

from spawning.worker.roles import Job
from spawning.worker.tally import Tally
from spawning.wsgi.environ import path_info


class Waiting:
    """See the module. Guarded by the lock of ``Threads``; anybody may look at ``size``.

    :param health_paths: percent-encoded, with or without a query.
    :param timed: remember since when each waits (``--queue-timeout``).
    :param tally: is told how long each has waited.

    :ivar size: requests that wait.
    """

    def __init__(self, health_paths: Iterable[str] = (), *, timed: bool = False, tally: Tally | None = None) -> None:
        self.size = 0
        self._health_paths = frozenset(path_info(path) for path in health_paths)
        self._timed = timed or tally is not None
        self._tally = tally
        self._first: deque[Job] = deque()
        self._others: deque[tuple[Job, float]] = deque()

    def put(self, job: Job) -> None:
        """Add a job."""
        self.size += 1
        if self._health_paths and job.line.path in self._health_paths:
            self._first.append(job)
        else:
            self._others.append((job, monotonic() if self._timed else 0.0))

    def take(self) -> Job:
        """Remove the job whose turn it is; there must be one."""
        self.size -= 1
        if self._first:
            return self._first.popleft()
        job, since = self._others.popleft()
        if self._tally is not None:
            self._tally.count_wait(monotonic() - since)
        return job

    def take_overdue(self, before: float) -> tuple[Job, float] | None:
        """Remove a job that waits since before that time, and return it with that time."""
        if not self._others or self._others[0][1] >= before:
            return None
        self.size -= 1
        job, since = self._others.popleft()
        if self._tally is not None:
            self._tally.count_wait(monotonic() - since)
        return job, since

    def jobs(self) -> list[Job]:
        """Return those that wait, in order."""
        return [*self._first, *(job for job, _ in self._others)]

    @property
    def since(self) -> float:
        """Since when the one waits that will be overdue next (monotonic seconds); infinite if none will."""
        return self._others[0][1] if self._others else float("inf")
