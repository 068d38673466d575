"""Clients that have gone while the application waits, in the middle of a response: it is told there (``-t 0``).

A generator of events waits for the next one, perhaps for ever, and only a block of it would find out that nobody wants
it any more. A greenlet that waits can be woken with an exception, as gevent's own time-outs do it, so ``ClientGone`` is
raised where it waits, and what it has returned is closed.

That is done only while the application makes blocks of a response that has begun. What it does before is its business,
although nobody may be left to hear of it: half of an order must not be lost with a connection. The end of what a client
sends is all that can be seen of its going; so one that gets something all the time, and has only ended its half, gets
the rest.
"""

from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any, Final, Protocol

from spawning.worker.output import Output
from spawning.worker.roles import Job
from spawning.wsgi.exchange import Exchange
from spawning.wsgi.responder import ClientGone

_MAKES_BLOCKS: Final = Exchange._send_blocks.__code__
_WAITS_FOR_CLIENT: Final = Output.wait.__code__


class Waiting(Protocol):
    """A greenlet with a job."""

    job: Job | None

    @property
    def gr_frame(self) -> FrameType | None: ...

    def throw(self, error: BaseException) -> object: ...


class Vanished:
    """The jobs whose clients send nothing more. Leader only, but for what the hub does.

    :param run_in_hub: has something called by the hub.
    """

    def __init__(self, run_in_hub: Callable[..., Any]) -> None:
        self._run_in_hub = run_in_hub
        self._seen: dict[Job, int] = {}  # what had been sent by then

    def look(self, greenlets: Sequence[Waiting]) -> None:
        """Wake what waits for nobody: a second after that was first seen, if nothing has been sent meanwhile.

        :param greenlets: all that execute jobs.
        """
        seen: dict[Job, int] = {}
        for greenlet in greenlets:
            job = greenlet.job
            if job is None or not job.ended:
                continue
            seen[job] = job.sent
            if self._seen.get(job) == job.sent and _makes_blocks(greenlet):
                self._run_in_hub(self._tell, greenlet, job)
        self._seen = seen

    def _tell(self, greenlet: Waiting, job: Job) -> None:
        """Raise where it waits, if it still does. The hub."""
        if greenlet.job is job and job.executing and _makes_blocks(greenlet):
            greenlet.throw(ClientGone("the client has closed the connection"))


def _makes_blocks(greenlet: Waiting) -> bool:
    """Whether a greenlet waits where the application makes a block of a response, not for the client to take one."""
    frame = greenlet.gr_frame
    while frame is not None and frame.f_code is not _WAITS_FOR_CLIENT:
        if frame.f_code is _MAKES_BLOCKS:
            return True
        frame = frame.f_back
    return False
