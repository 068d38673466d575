"""What the rooms of a worker see of each other.

The loop knows descriptors and :class:`Pollable`; dispatch knows :class:`Job`; a connection has its requests executed by
a :class:`Dispatcher`. A connection of HTTP/1 is both its own pollable and its own job, so nothing is allocated for
this; where a connection carries several requests at a time, it is a pollable and each of its streams is a job.
"""

from typing import Any, Protocol

from spawning.errors import ProtocolError
from spawning.http.line import RequestLine
from spawning.ipc.messages import Handoff
from spawning.logs.access import Entry
from spawning.worker.output import Output
from spawning.worker.sensor import Sensor
from spawning.worker.tally import Counts
from spawning.wsgi.exchange import Exchange


class LeadLost(BaseException):
    """The thread that ran the loop does not lead any more: it has finished the request that cost it the lead.

    Raised behind a finished request, by ``dispatch`` alone, and caught by ``loop`` alone. Not an ``Exception``: a
    boundary on the way must not take it for a failure.
    """


class Pollable(Protocol):
    """A descriptor with an owner, which the loop looks after. Leader only.

    :ivar fd: its descriptor; -1 when it is closed.
    :ivar deadline: (monotonic seconds) when something has to have happened.
    :ivar ended: the other side will send nothing more, an event has said.
    :ivar address: of the peer, for people.
    """

    fd: int
    deadline: float
    ended: bool
    address: str

    @property
    def idle(self) -> bool:
        """Whether nothing is under way, and nothing of a request has arrived."""

    def on_event(self) -> None:
        """Look at the descriptor, because something has happened there. Raises LeadLost."""

    def on_deadline(self) -> None:
        """Act on the deadline, if it has passed; once a second."""

    def forget(self) -> None:
        """Forget what is remembered for a next request, which has not come for a while."""

    def freeze(self) -> None:
        """Begin nothing more, because the worker retires, unless something is arriving."""

    def depart(self) -> None:
        """Be sent to another worker, if it is frozen."""

    def close_if_idle(self, fresh_too: bool) -> None:
        """Close, unless a request is arriving or under way: the worker stops, or wants room. Raises LeadLost.

        :param fresh_too: also when no request has ever come.
        """

    def abandon(self) -> None:
        """Be closed abruptly, whatever the state: a bug has been found there."""

    def disown(self) -> None:
        """Close the descriptor, in a process that the application has forked: the other end notices nothing."""


class Leaver(Protocol):
    """A connection that may be sent to another worker. Leader only."""

    @property
    def fd(self) -> int:
        """The descriptor that is sent."""

    @property
    def leaving(self) -> bool:
        """Whether it is frozen, to be sent to another worker."""

    def luggage(self) -> Handoff:
        """Return what the next worker has to know."""

    def has_left(self) -> None:
        """Let go of the descriptor: another worker has it."""

    def abandon(self) -> None:
        """Be closed abruptly, whatever the state."""


class Connection(Pollable, Leaver, Protocol):
    """A pollable with a client at the other end: it is accepted, and may move to another worker. Leader only.

    :ivar registered: its events are reported.
    """

    registered: bool

    def register(self) -> None:
        """Have its events reported, once and for all."""

    def take_up(self, unread: bytes, deadline: float) -> None:
        """Go on where another worker has left off. Raises LeadLost.

        :param unread: bytes that the other worker has received of further requests.
        :param deadline: (monotonic seconds) as it was there.
        """


class Registry(Protocol):
    """Where pollables are known, by their descriptors."""

    def register(self, fd: int) -> None:
        """Report events of a connection, once and for all. Its owner.

        :raises OSError: the kernel has no room for it.
        """

    def unregister(self, fd: int) -> None:
        """Report no events any more. Leader only."""

    def replace(self, fd: int, pollable: Pollable) -> None:
        """Have another pollable look after a descriptor from now on. Leader only."""

    def forget(self, fd: int) -> None:
        """Drop a connection whose socket is about to be closed. Its owner."""


class Job(Protocol):
    """A complete request: what is executed. For the thread that executes it, but ``exchange`` and ``address``.

    :ivar exchange: of the request.
    :ivar sensor: of its route.
    :ivar line: its request line.
    :ivar swift: where it is counted, if somebody wants it counted and it is swift (``tally``).
    :ivar entry: what the access log says of it.
    :ivar sent: bytes of content sent.
    :ivar address: of the client.
    :ivar ended: the client will send nothing more: it has gone, or half of the way.
    """

    exchange: Exchange
    sensor: Sensor
    line: RequestLine
    swift: Counts
    entry: Entry
    sent: int
    address: str
    ended: bool

    @property
    def executing(self) -> bool:
        """Whether it is with a thread, or waits for one. Any thread."""

    def register(self) -> None:
        """Have events reported: from now on another thread may own it."""

    def finish(self) -> bool:
        """Go on behind the response; the leader. True: the next request is to be read (:meth:`go_on`)."""

    def finish_in_thread(self) -> bool:
        """Go on behind the response, in a thread that does not lead. True: the next request has been read already."""

    def go_on(self) -> None:
        """Serve what arrived while a thread owned it; the leader. Raises LeadLost."""

    def refuse(self, error: ProtocolError) -> None:
        """Answer in the application's place, because nobody can execute it."""

    def abandon(self) -> None:
        """Be ended abruptly: a bug has been found there."""


class Dispatcher(Protocol):
    """The room that has requests executed."""

    def sensor(self, line: RequestLine) -> Sensor:
        """Return the sensor of a request line's route, which is kept with the line."""

    def execute(self, job: Job) -> bool:
        """Execute a request, or have it executed. The leader.

        :returns: True when the response is finished and the job goes on reading.
        :raises LeadLost: it is finished, and another thread leads.
        """

    def execute_inline(self, job: Job) -> bool:
        """Execute a request in this thread, the leader; as :meth:`execute`. Before ``inline_until`` of the sensor, and
        while not all threads are busy, a job may call this directly.
        """

    def resume(self, job: Job) -> None:
        """Execute a request that has waited, and what has come behind it. The leader. Raises LeadLost."""

    def note_refused(self, entry: Entry, environ: dict[str, Any], status: int, sent: int) -> None:
        """Count and log a request that was refused before anything was executed. Any thread.

        :param entry: what is known of it.
        :param environ: likewise.
        :param status: of the answer.
        :param sent: bytes of its content.
        """

    def begin_tunnel(self, job: Job) -> bool:
        """Let a job hold its thread for as long as its client stays (``tunnelling``). Any thread of the application.

        :returns: False when as many do as may.
        """

    def wait_for_client(self, output: Output) -> None:
        """Wait, in the thread that executes a request, until its client has taken enough.

        :raises ClientGone: it has gone.
        """
