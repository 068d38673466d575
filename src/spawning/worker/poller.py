"""Polling: the epoll instance of a worker, and the table of what is polled.

Connections are registered once, edge-triggered, for all that may happen; listeners and other descriptors as their
owners want. An event means "look"; one that was polled for a descriptor that has been closed since finds nobody, or
another connection that looks in vain.
"""

import select
from typing import Final

from spawning.worker.bug import tell_of_bug
from spawning.worker.context import Context
from spawning.worker.roles import Leaver, Pollable

_EVENTS: Final = select.EPOLLIN | select.EPOLLOUT | select.EPOLLRDHUP | select.EPOLLET
ENDED: Final = select.EPOLLRDHUP  # the other side will send nothing more; the greatest of the bits that are reported
_epoll: Final = select.epoll  # by this name: gevent takes it away


class Poller:
    """See the module. Leader only, but for :meth:`register` and :meth:`forget` (the owner of the connection; single
    dictionary and system calls).

    :ivar epoll: the instance, for descriptors that are no pollables.
    :ivar pollables: by descriptor.
    :ivar tells: the leader wants to be woken by each end, since it is waiting for room.
    """

    def __init__(self, context: Context) -> None:
        self.epoll = _epoll()
        self.pollables: dict[int, Pollable] = {}
        self.tells = False
        self._context = context
        self.epoll.register(context.mail.fd, select.EPOLLIN)

    def register(self, fd: int) -> None:
        """Report events of a connection, once and for all.

        :raises OSError: the kernel has no room for it (ENOSPC, ENOMEM).
        """
        self.epoll.register(fd, _EVENTS)

    def unregister(self, fd: int) -> None:
        self.epoll.unregister(fd)

    def replace(self, fd: int, pollable: Pollable) -> None:
        """Have another pollable look after a descriptor from now on; it stays registered, or not."""
        self.pollables[fd] = pollable

    def forget(self, fd: int) -> None:
        """Drop a connection whose socket is about to be closed."""
        self.pollables.pop(fd, None)
        if self.tells or (self._context.closing and not self.pollables):
            self._context.mail.wake()

    def drop(self, pollable: Pollable | Leaver) -> None:
        """Close a connection in which a bug was found; called where the exception is handled."""
        tell_of_bug("a connection is closed")
        pollable.abandon()
