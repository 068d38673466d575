"""Complete requests that wait for a request thread: who is next, and who has waited too long.

First come, first served, but health checks go first: whoever asks them decides whether this worker lives, and the
answer must not depend on how many others are waiting. They never wait too long either.
"""

from collections import deque
from collections.abc import Iterable
from time import monotonic
from typing import TYPE_CHECKING

from spawning.wsgi.environ import path_info

if TYPE_CHECKING:
    from spawning.worker.connection import Connection


class Waiting:
    """See the module. Guarded by the lock of ``Threads``; anybody may look at ``size``.

    :param health_paths: percent-encoded, with or without a query.
    :param timed: remember since when each waits (``--queue-timeout``).

    :ivar size: requests that wait.
    """

    def __init__(self, health_paths: Iterable[str] = (), *, timed: bool = False) -> None:
        self.size = 0
        self._health_paths = frozenset(path_info(path) for path in health_paths)
        self._timed = timed
        self._first: deque[Connection] = deque()
        self._others: deque[tuple[Connection, float]] = deque()

    def put(self, connection: "Connection") -> None:
        """Add a connection with a complete request."""
        self.size += 1
        if self._health_paths and connection.line.path in self._health_paths:
            self._first.append(connection)
        else:
            self._others.append((connection, monotonic() if self._timed else 0.0))

    def take(self) -> "Connection":
        """Remove the connection whose turn it is; there must be one."""
        self.size -= 1
        return self._first.popleft() if self._first else self._others.popleft()[0]

    def take_overdue(self, before: float) -> "tuple[Connection, float] | None":
        """Remove a connection that waits since before that time, and say since when."""
        if not self._others or self._others[0][1] >= before:
            return None
        self.size -= 1
        return self._others.popleft()

    @property
    def since(self) -> float:
        """Since when the one waits that will be overdue next (monotonic seconds); infinite if none will."""
        return self._others[0][1] if self._others else float("inf")
