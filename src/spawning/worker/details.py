"""What the threads of a worker are doing: read from outside, while they do it.

Asked for on demand (``AskDetails``), and for the log when a request lasts too long. Main thread only; nothing here
costs a request anything. What is read may have changed a moment later: whoever acts on it has to look again.
"""

import sys
import threading
import traceback
from collections.abc import Iterator
from dataclasses import dataclass

from spawning.ipc.messages import Details
from spawning.worker.connection import Connection
from spawning.worker.loop import Loop
from spawning.worker.states import EXECUTING
from spawning.worker.threads import RequestThread
from spawning.wsgi.bridge import Exchange


@dataclass(frozen=True, slots=True)
class Execution:
    """A request in the hands of a thread.

    :param seconds: since the application was called.
    """

    thread: RequestThread
    connection: Connection
    exchange: Exchange
    seconds: float

    @property
    def method(self) -> str:
        return method_of(self.exchange)

    @property
    def path(self) -> str:
        return path_of(self.exchange)

    @property
    def stack(self) -> str:
        """Where the thread is, as a traceback shows it; empty when it has ended."""
        return stack_of(self.thread.ident)


def method_of(exchange: Exchange) -> str:
    """Give the method, or an empty text when the application has taken it out of the environ."""
    return str(exchange.environ.get("REQUEST_METHOD", ""))


def path_of(exchange: Exchange) -> str:
    """Give the path alone: a query may hold what does not belong in a log."""
    return str(exchange.environ.get("PATH_INFO", ""))


def executions(loop: Loop, now: float) -> Iterator[Execution]:
    """Give every request that a thread executes: inline, handed over or taken over; not those that wait for a thread.

    :param now: monotonic seconds.
    """
    for thread in list(loop.threads.all):
        connection = thread.connection
        if connection is None and thread is loop.leader:
            connection = next(iter(loop.box), None)
        if connection is None or connection.state is not EXECUTING:
            continue
        exchange = connection.exchange
        if exchange.started:
            yield Execution(thread, connection, exchange, now - exchange.started)


def queued(loop: Loop) -> Iterator[Exchange]:
    """Give every complete request that waits for a thread."""
    for connection in list(loop.connections.values()):
        if connection.state is EXECUTING and not connection.exchange.started:
            yield connection.exchange


def details(loop: Loop, question: int, stacks: bool, now: float) -> Details:
    """Answer ``AskDetails``.

    :param now: monotonic seconds.
    """
    requests = [
        {
            "thread": each.thread.name,
            "method": each.method,
            "path": each.path,
            "address": each.connection.address,
            "seconds": round(each.seconds, 3),
        }
        for each in executions(loop, now)
    ]
    return Details(question, requests, _stacks() if stacks else {})


def stack_of(ident: int | None) -> str:
    """Give the stack of a thread as text, most recent call last; empty when there is no such thread."""
    frame = sys._current_frames().get(ident) if ident is not None else None
    return "".join(traceback.format_stack(frame)) if frame is not None else ""


def _stacks() -> dict[str, str]:
    """Give the stack of every thread of the process, the application's own included."""
    frames = sys._current_frames()
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    return {
        f"{names.get(ident, 'unknown thread')} ({ident})": "".join(traceback.format_stack(frame))
        for ident, frame in frames.items()
    }
