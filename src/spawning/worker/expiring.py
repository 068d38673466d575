"""Deadlines of a connection: what a client has not done in time, and what is made of that."""

from spawning.errors import ProtocolError
from spawning.worker.lifecycle import CLOSED, EXECUTING, FLUSHING, LEAVING, READING, TUNNEL
from spawning.worker.output import unsent
from spawning.worker.refusing import Refusing


class Expiring(Refusing):
    """See the module.

    :ivar unheard_since: (monotonic seconds) when something on its way to the client was first seen.
    """

    __slots__ = ("unheard_since",)

    unheard_since: float

    def on_deadline(self) -> None:
        """Act on the deadline, if it has passed; leader only, once a second."""
        state = self.state  # before the deadline, which an owner renews before it gives the connection back
        if self.deadline >= self.context.polled:  # what has come since then is yet to be read
            return
        if (state is EXECUTING or state is TUNNEL) and self.output is None:
            self.look_at_link()
        elif state is READING and not self.reader.idle:
            what = "body" if self.reader.reading_body else "head"
            self.refuse(ProtocolError(408, f"the request's {what} took too long"))
        elif state is EXECUTING or state is FLUSHING:
            self._look_for_progress()
        elif state is not CLOSED and state is not LEAVING:  # on its way it is not read, so a request may be waiting
            self.close()

    def look_at_link(self) -> None:
        """Hang up on a client that has acknowledged nothing for too long of what is on its way to it: its link is down.

        It sends no FIN then, and what a stream of events sends fits into the kernel's buffer for hours.
        """
        now = self.context.now
        if not unsent(self.stream):
            self.unheard_since = 0.0
            return
        self.unheard_since = self.unheard_since or now  # or earlier, but it was not on its way for long then
        if now - max(self.unheard_since, now - self.stream.silent_for()) > self.context.settings.response_timeout:
            self.stream.hang_up()

    def _look_for_progress(self) -> None:
        """Drop a client that has taken nothing of what is kept for it, or on average too little."""
        output = self.output
        if output is None or output.empty:
            return
        if output.taken(self.stream) and self.may_take_more(output.total_taken):
            return
        if self.state is FLUSHING:
            self.abort()
        else:
            output.give_up()

    def may_take_more(self, taken: int) -> bool:
        """Set the deadline for taking more of a response, as for sending more of a body."""
        settings = self.context.settings
        self.deadline = self.context.now + settings.response_timeout
        rate = settings.min_response_rate
        if rate:
            self.deadline = min(self.deadline, self.kept_since + settings.response_timeout + taken / rate)
        return self.deadline > self.context.now
