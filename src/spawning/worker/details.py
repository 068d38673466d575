"""What the threads or greenlets of a worker are doing: read from outside, while they do it.

Asked for on demand (``AskDetails``), and for the log when a request lasts too long. Main thread only; nothing here
costs a request anything. All of it may have changed a moment later: code that acts on it looks again.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from spawning.ipc.messages import Details
from spawning.worker.dispatch import Dispatch
from spawning.worker.executor import Runner
from spawning.worker.roles import Job
from spawning.wsgi.exchange import Exchange
from spawning.wsgi.names import method_of, path_of


@dataclass(frozen=True, slots=True)
class Execution:
    """A request in the hands of a thread or greenlet.

    :param seconds: since the application was called.
    """

    runner: Runner
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
        """Where it is, as a traceback shows it; empty when it has ended."""
        return self.runner.stack()


def executions(dispatch: Dispatch, now: float) -> Iterator[Execution]:
    """Yield every request that is executed: inline, handed over or taken over; not those whose turn has not come.

    :param now: monotonic seconds.
    """
    lead = dispatch.lead
    for runner in dispatch.executor.runners:
        job = runner.job
        if job is None and runner is lead.leader:
            job = next(iter(lead.box), None)
        if job is None or not job.executing:
            continue
        exchange = job.exchange
        if exchange.started:
            yield Execution(runner, job, exchange, now - exchange.started)


def queued(dispatch: Dispatch) -> list[Exchange]:
    """Return every complete request that waits for a thread."""
    return [job.exchange for job in dispatch.executor.queued()]


def details(dispatch: Dispatch, question: int, stacks: bool, now: float) -> Details:
    """Answer ``AskDetails``.

    :param now: monotonic seconds.
    """
    requests = [
        {
            "thread": each.runner.name,
            "method": each.method,
            "path": each.path,
            "address": each.job.address,
            "seconds": round(each.seconds, 3),
            "tunnel": each.is_tunnel,
        }
        for each in executions(dispatch, now)
    ]
    return Details(question, requests, dispatch.executor.stacks() if stacks else {})
