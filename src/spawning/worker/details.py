"""What the threads of a worker are doing: read from outside, while they do it.

Asked for on demand (``AskDetails``), and for the log when a request lasts too long. Main thread only; nothing here
costs a request anything. All of it may have changed a moment later: code that acts on it looks again.
"""

import sys
import threading
import traceback
from collections.abc import Iterator
from dataclasses import dataclass

from spawning.ipc.messages import Details
from spawning.worker.dispatch import Dispatch
from spawning.worker.roles import Job
from spawning.worker.threads import RequestThread
from spawning.wsgi.exchange import Exchange
from spawning.wsgi.names import method_of, path_of


@dataclass(frozen=True, slots=True)
class Execution:
    """A request in the hands of a thread.

    :param seconds: since the application was called.
    """

    thread: RequestThread
    job: Job
    exchange: Exchange
    seconds: float

    @property
    def method(self) -> str:
        return method_of(self.exchange.environ)

    @property
    def path(self) -> str:
        return path_of(self.exchange.environ)

    @property
    def is_tunnel(self) -> bool:
        """Whether the application has taken the connection."""
        return self.exchange.responder.is_tunnel

    @property
    def stack(self) -> str:
        """Where the thread is, as a traceback shows it; empty when it has ended."""
        return stack_of(self.thread.ident)


def executions(dispatch: Dispatch, now: float) -> Iterator[Execution]:
    """Yield every request that a thread executes: inline, handed over or taken over; not those that wait for a thread.

    :param now: monotonic seconds.
    """
    lead = dispatch.lead
    for thread in list(dispatch.threads.all):
        job = thread.job
        if job is None and thread is lead.leader:
            job = next(iter(lead.box), None)
        if job is None or not job.executing:
            continue
        exchange = job.exchange
        if exchange.started:
            yield Execution(thread, job, exchange, now - exchange.started)


def queued(dispatch: Dispatch) -> list[Exchange]:
    """Return every complete request that waits for a thread."""
    return [job.exchange for job in dispatch.threads.queued()]


def details(dispatch: Dispatch, question: int, stacks: bool, now: float) -> Details:
    """Answer ``AskDetails``.

    :param now: monotonic seconds.
    """
    requests = [
        {
            "thread": each.thread.name,
            "method": each.method,
            "path": each.path,
            "address": each.job.address,
            "seconds": round(each.seconds, 3),
            "tunnel": each.is_tunnel,
        }
        for each in executions(dispatch, now)
    ]
    return Details(question, requests, _stacks() if stacks else {})


def stack_of(ident: int | None) -> str:
    """Return the stack of a thread as text, most recent call last; empty when there is no such thread."""
    frame = sys._current_frames().get(ident) if ident is not None else None
    return "".join(traceback.format_stack(frame)) if frame is not None else ""


def _stacks() -> dict[str, str]:
    """Return the stack of every thread of the process, the application's own included."""
    frames = sys._current_frames()
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    return {
        f"{names.get(ident, 'unknown thread')} ({ident})": "".join(traceback.format_stack(frame))
        for ident, frame in frames.items()
    }
