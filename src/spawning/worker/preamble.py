"""A connection that has to begin with a PROXY header (``?proxy``), until that has come whole.

Then another one takes its place, which knows the client that the header has announced, and is as if the client had
connected itself.

A peer that sends something else is closed without an answer: what would be answered is not known to be HTTP.
"""

from dataclasses import replace
from typing import Final

from spawning.ipc.messages import Handoff
from spawning.logs.log import Log
from spawning.logs.setup import fields
from spawning.net.proxy_protocol import Announced, read
from spawning.worker.arrival import Arrival
from spawning.worker.context import Context
from spawning.worker.listener import Listener
from spawning.worker.roles import Connection
from spawning.worker.stream import Stream

log: Final = Log("spawning.worker")


def accepted(context: Context, listener: Listener, stream: Stream, address: str, port: str) -> Connection:
    """Make a connection that has just been accepted: of a peer that has to announce its client, or of any other."""
    if listener.proxies is not None and listener.proxies.peer(address):
        return Preamble(context, listener, stream, address, port)
    connection: Connection = listener.protocol(context, listener, stream, address, port)
    return connection


class Preamble(Arrival):
    """See the module."""

    __slots__ = ()

    def look(self) -> None:
        """Go on when the header is whole. Raises LeadLost."""
        try:
            announced = read(self.received)
        except ValueError as error:
            self._refuse(str(error))
            return
        if announced is not None:
            self._go_on(announced)

    def _refuse(self, reason: str) -> None:
        """Close, and say so: once as what may be a mistake in a configuration, afterwards for who looks for it."""
        tell = log.debug if self.listener.told else log.warning
        self.listener.told = True
        tell("connection closed, no PROXY header %s", fields(address=self.address or "unix", reason=reason))
        self.close()

    def _go_on(self, announced: Announced) -> None:
        """Make a connection of the client that the header announces, in the place of this one."""
        address, port = self.address, self.port
        if announced.address is not None:
            address, port = announced.address, announced.port
        listener = self.listener.saying(announced.environ)
        connection = self.give_way(listener.protocol, listener, address, port)
        unread = self.received[announced.length :]
        try:
            connection.take_up(unread, self.deadline)
            if not unread:
                connection.on_event()  # the end may have come along
        except Exception:
            connection.abandon()
            raise

    def luggage(self) -> Handoff:
        return replace(super().luggage(), fresh=True)
