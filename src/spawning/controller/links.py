"""The controller's ends of all channels, and waiting for one of them to say something."""

import contextlib
import select
from collections.abc import Sequence

from spawning.controller.fleet import Source
from spawning.ipc.channel import Channel
from spawning.ipc.messages import Message
from spawning.logs.log import Log
from spawning.logs.setup import fields

log = Log("spawning.controller")


class Links:
    """Channels by the name of who is at the other end. Nothing blocks but :meth:`wait`. For the main thread alone.

    :param wakeup: a descriptor that ends the wait as well.
    """

    def __init__(self, wakeup: int) -> None:
        self._channels: dict[Source, Channel] = {}
        self._sources: dict[int, Source] = {}
        self._poll = select.poll()
        self._poll.register(wakeup, select.POLLIN)

    def watch(self, fd: int) -> None:
        """Have one more descriptor end the wait when it is readable; it is none of a channel's."""
        self._poll.register(fd, select.POLLIN)

    def add(self, source: Source, channel: Channel) -> None:
        channel.sock.setblocking(False)
        self._channels[source] = channel
        self._sources[channel.fileno()] = source
        self._poll.register(channel.fileno(), select.POLLIN)

    def drop(self, source: Source) -> None:
        """Close a channel, if it is still there; its other end sees the end of the file."""
        channel = self._channels.pop(source, None)
        if channel is not None:
            self._poll.unregister(channel.fileno())
            del self._sources[channel.fileno()]
            channel.close()

    def close(self) -> None:
        for source in self.sources():
            self.drop(source)

    def descriptors(self) -> dict[Source, int]:
        """Give the descriptor of each channel."""
        return {source: channel.fileno() for source, channel in self._channels.items()}

    def sources(self) -> list[Source]:
        return list(self._channels)

    def send(self, source: Source, message: Message, fds: Sequence[int] = ()) -> None:
        """Send a message; whether it arrives shows in what the other end does.

        A peer that is gone is reported by its exit, one that does not read is killed when its time is over.
        """
        channel = self._channels.get(source)
        if channel is not None:
            with contextlib.suppress(BlockingIOError):
                channel.send(message, fds)

    def wait(self, seconds: float | None) -> list[Source]:
        """Wait until somebody has said something, somebody wakes us or the time is over (None: for ever)."""
        ready = self._poll.poll(None if seconds is None else seconds * 1000)
        return [self._sources[fd] for fd, _ in ready if fd in self._sources]

    def receive(self, source: Source) -> list[Message | None]:
        """Give all that has been said; None stands for the end of the channel, which is closed then."""
        said: list[Message | None] = []
        channel = self._channels.get(source)
        with contextlib.suppress(BlockingIOError):
            while channel is not None:
                try:
                    message, _ = channel.receive()
                except ValueError as error:  # from code that is not ours and has got hold of the descriptor
                    log.warning("message not understood %s", fields(source=source, reason=error))
                    continue
                said.append(message)
                if message is None:
                    self.drop(source)
                    break
        return said
