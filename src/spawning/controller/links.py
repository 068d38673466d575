"""The controller's ends of all channels: saying something, and waiting for one of them to say something.

Rules: nothing blocks but :meth:`Links.wait`. What a channel does not take is kept and sent, in order, when it does: its
other end may be stopped for a while, or the system out of descriptors. So no order is ever lost as long as its channel
is there. What only serves a person's curiosity, or can be said again, is kept up to a bound.
"""

import errno
import os
import select
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from spawning.controller.records import Source
from spawning.ipc.channel import Channel
from spawning.ipc.messages import Announce, AskDetails, Message, OpenConsole, ReopenLog, decode, encode
from spawning.logs.log import Log
from spawning.logs.setup import fields

MOST_WAITING = 100  # messages kept for one channel before those that can be done without are dropped
RETRY = 0.1  # seconds; between attempts to send what the system has no resources for
_DISPENSABLE = (Announce, AskDetails, OpenConsole, ReopenLog)
SHORTAGES = frozenset(
    {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.ETOOMANYREFS, errno.ENOSPC, errno.EAGAIN}
)

log = Log("spawning.controller")


class Unsent(NamedTuple):
    """A message that waits for its channel, as text, and the descriptors beside it, which are its own."""

    source: Source
    message: str
    fds: list[int]


@dataclass(slots=True, eq=False)
class _Link:
    """One channel. `waiting` are messages with their descriptors; `short`: it is not the channel that is full."""

    channel: Channel
    waiting: deque[tuple[Message, list[int]]] = field(default_factory=deque)
    short: bool = False


class Links:
    """Channels by the name of who is at the other end. For the main thread alone.

    :param wakeup: a descriptor that ends the wait as well.
    """

    def __init__(self, wakeup: int) -> None:
        self._links: dict[Source, _Link] = {}
        self._sources: dict[int, Source] = {}
        self._poll = select.poll()
        self._poll.register(wakeup, select.POLLIN)

    def watch(self, fd: int) -> None:
        """Have one more descriptor end the wait when it is readable; it is none of a channel's."""
        self._poll.register(fd, select.POLLIN)

    def add(self, source: Source, channel: Channel) -> None:
        channel.sock.setblocking(False)
        self._links[source] = _Link(channel)
        self._sources[channel.fileno()] = source
        self._poll.register(channel.fileno(), select.POLLIN)

    def drop(self, source: Source) -> None:
        """Close a channel, if it is still there; its other end sees the end of the file."""
        link = self._links.pop(source, None)
        if link is not None:
            self._poll.unregister(link.channel.fileno())
            del self._sources[link.channel.fileno()]
            link.channel.close()
            for _, fds in link.waiting:
                _close(fds)

    def is_behind(self, source: Source) -> bool:
        """Whether something waits to be sent, because its channel is full: who can do without more is told nothing."""
        link = self._links.get(source)
        return link is not None and bool(link.waiting)

    def close(self) -> None:
        for source in self.sources():
            self.drop(source)

    def descriptors(self) -> dict[Source, int]:
        """Return the descriptor of each channel."""
        return {source: link.channel.fileno() for source, link in self._links.items()}

    def sources(self) -> list[Source]:
        return list(self._links)

    # Saying ----------------------------------------------------------------------------------------------------------

    def send(self, source: Source, message: Message, fds: Sequence[int] = ()) -> None:
        """Send a message, now or as soon as its channel takes it; whether it arrives shows in what the other end does.

        A peer that is gone is reported by its exit, one that does not read is killed when its time is over.

        :param fds: stay open here and are the caller's.
        :raises OSError: no descriptor is left for keeping `fds`; nothing is sent then.
        """
        link = self._links.get(source)
        if link is not None and (link.waiting or not self._sent(link, message, fds)):
            self._keep(source, link, message, fds)

    def unsent(self) -> list[Unsent]:
        """List what waits to be sent, for the program that takes the place of this one."""
        return [
            Unsent(source, encode(message).decode(), fds)
            for source, link in self._links.items()
            for message, fds in link.waiting
        ]

    def restore(self, unsent: Sequence[Unsent]) -> None:
        """Go on with what the program before this one could not send."""
        for source, message, fds in unsent:
            link = self._links[source]
            link.waiting.append((decode(message.encode()), fds))
            self._flush(link)

    def _keep(self, source: Source, link: _Link, message: Message, fds: Sequence[int]) -> None:
        if isinstance(message, _DISPENSABLE) and len(link.waiting) >= MOST_WAITING:
            log.debug("message dropped %s", fields(source=source, message=type(message).__name__))
            return
        kept: list[int] = []
        try:
            for fd in fds:
                kept.append(os.dup(fd))
        except OSError:
            _close(kept)
            raise
        link.waiting.append((message, kept))
        self._watch(link)

    def _flush(self, link: _Link) -> None:
        """Send what has waited, as far as the channel takes it."""
        link.short = False
        while link.waiting and self._sent(link, *link.waiting[0]):
            _, fds = link.waiting.popleft()
            _close(fds)
        self._watch(link)

    def _watch(self, link: _Link) -> None:
        """Wait for room in the channel, unless it is something else that is missing."""
        writing = select.POLLOUT if link.waiting and not link.short else 0
        self._poll.modify(link.channel.fileno(), select.POLLIN | writing)

    @staticmethod
    def _sent(link: _Link, message: Message, fds: Sequence[int]) -> bool:
        """Send; whether that is done with, be it that nobody is there any more."""
        try:
            link.channel.send(message, fds)
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno not in SHORTAGES:
                raise
            link.short = True
            return False
        return True

    # Listening -------------------------------------------------------------------------------------------------------

    def wait(self, seconds: float | None) -> list[Source]:
        """Wait until somebody has said something, somebody wakes us or the time is over (None: for ever)."""
        short = [link for link in self._links.values() if link.short]
        if short:
            seconds = RETRY if seconds is None else min(seconds, RETRY)
        ready = self._poll.poll(None if seconds is None else seconds * 1000)
        for link in short:
            self._flush(link)
        for fd, events in ready:
            if events & select.POLLOUT and fd in self._sources:
                self._flush(self._links[self._sources[fd]])
        return [self._sources[fd] for fd, events in ready if fd in self._sources and events & ~select.POLLOUT]

    def receive(self, source: Source) -> list[Message | None]:
        """Return all that has been said; None stands for the end of the channel, which is closed then."""
        said: list[Message | None] = []
        link = self._links.get(source)
        while link is not None:
            try:
                message, fds = link.channel.receive()
            except BlockingIOError:
                break
            except ValueError as error:  # from code that is not ours and has got hold of the descriptor
                log.warning("message not understood %s", fields(source=source, reason=error))
                continue
            _close(fds)  # nobody has any to send to the controller
            said.append(message)
            if message is None:
                self.drop(source)
                break
        return said


def _close(fds: Sequence[int]) -> None:
    for fd in fds:
        os.close(fd)
