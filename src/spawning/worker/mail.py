"""Waking the leader: what any thread wants it to do, and the descriptor that ends its poll."""

import contextlib
import os
from collections import deque
from collections.abc import Callable

Action = Callable[[], object]


class Mail:
    """Actions for the leader. :meth:`post` and :meth:`wake` from any thread, the rest for the leader.

    :ivar fd: readable when the leader is to look.
    """

    def __init__(self) -> None:
        self.fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._actions: deque[Action] = deque()

    def post(self, action: Action) -> None:
        """Have the leader do something soon."""
        self._actions.append(action)
        os.eventfd_write(self.fd, 1)

    def wake(self) -> None:
        """Make the leader look around."""
        os.eventfd_write(self.fd, 1)

    def open(self) -> int:
        """Note that the leader looks: what is posted from now on wakes it again.

        :returns: how many actions there are to be taken now.
        """
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self.fd)
        return len(self._actions)

    def take(self) -> Action | None:
        """Take the next action out; None: there is none."""
        return self._actions.popleft() if self._actions else None

    @property
    def empty(self) -> bool:
        return not self._actions
