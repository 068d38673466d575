"""A worker's threads without sockets: the real dispatch, lead and threads, and a loop that takes literal orders."""

import os
import queue
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

from spawning.errors import ProtocolError
from spawning.logs.access import NO_ENTRY
from spawning.settings import Settings
from spawning.worker.context import Context
from spawning.worker.dispatch import Dispatch
from spawning.worker.roles import LeadLost
from spawning.worker.tally import Counts
from spawning.worker.threads import RequestThread, Threads
from spawning.wsgi.exchange import Exchange
from unit.exchanges import GET, Recorder
from unit.interleave import DEADLINE, Running

FOREVER = float("inf")


class Route:
    """A sensor whose judgement is given: run inline, hand over, or try."""

    def __init__(self, kind: str) -> None:
        self.inline = kind in ("inline", "measured")
        self.inline_until = FOREVER if kind == "inline" else 0.0
        self.due = 0.0 if kind == "trial" else FOREVER
        self.suspicious = kind == "measured"
        self.calls = 0
        self.ends = 0
        self.taken = 0

    def begin(self, _disturbed: int) -> float:
        return 1.0

    def end(self, _disturbed: int, _alone: bool) -> None:
        self.ends += 1

    def trial_failed(self, _now: float) -> None: ...

    def taken_over(self, _waits: bool, _seconds: float) -> None:
        self.taken += 1


class Job:
    """A request that records what becomes of it.

    :param name: for the records.
    :param kind: what its route's sensor says.
    :param call: the application, for this request.
    :param failing: names of methods that raise, with what.
    :param at_end: called at the beginning of ``finish_in_thread``.
    """

    address = "192.0.2.1"
    ended = False
    sent = 0
    line = GET
    entry = NO_ENTRY
    swift: Counts

    def __init__(
        self,
        name: str = "job",
        kind: str = "inline",
        call: Callable[[], object] = lambda: None,
        failing: dict[str, BaseException] | None = None,
        at_end: Callable[[], object] = lambda: None,
    ) -> None:
        self.name = name
        self.sensor: Any = Route(kind)
        self.events: list[str] = []
        self.threads: list[threading.Thread] = []  # that have executed it
        self.done = threading.Event()
        self.executing = True
        self.responder = Recorder()
        self.environ: dict[str, Any] = {"REQUEST_METHOD": "GET", "PATH_INFO": "/", "crew.job": self}
        self.exchange = Exchange(self.responder, self.environ)
        self._call = call
        self.failing = dict(failing or {})
        self._at_end = at_end

    def execute(self) -> None:
        self.threads.append(threading.current_thread())
        self._call()

    def _note(self, event: str) -> None:
        self.events.append(event)
        if error := self.failing.get(event):
            raise error

    def register(self) -> None:
        self._note("register")

    def finish(self) -> bool:
        self._note("finish")
        self.done.set()
        return False

    def finish_in_thread(self) -> bool:
        self._at_end()
        self._note("finish_in_thread")
        self.done.set()
        return False

    def go_on(self) -> None:
        self._note("go_on")

    def refuse(self, error: ProtocolError) -> None:
        self._note(f"refuse {error.status}")
        self.done.set()

    def abandon(self) -> None:
        self._note("abandon")
        self.done.set()

    def wait(self) -> None:
        assert self.done.wait(DEADLINE), f"{self.name} does not end: {self.events}"

    @property
    def executions(self) -> int:
        return len(self.threads)


class Held:
    """A call that lasts until the test lets it end."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self._leave = threading.Event()

    def __call__(self) -> None:
        self.entered.set()
        assert self._leave.wait(DEADLINE)

    def wait(self) -> None:
        assert self.entered.wait(DEADLINE)

    def leave(self) -> None:
        self._leave.set()


def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    environ["crew.job"].execute()
    start_response("200 OK", [])
    return [b""]


def leading(crew: Any) -> threading.Thread:
    """Return the thread that leads."""
    leader = crew.dispatch.lead.leader
    assert isinstance(leader, threading.Thread)
    return leader


def end_threads(threads: Threads, order: Callable[[], object]) -> None:
    """End all threads; they lead one after the other, and the order has each of them end.

    :raises AssertionError: they do not: one waits for something that does not come, or holds a lock.
    """
    Running(_end, threads, order, time.monotonic() + DEADLINE).result()


def _end(threads: Threads, order: Callable[[], object], until: float) -> None:
    while alive := [thread.name for thread in threads.all if thread.is_alive()]:
        assert time.monotonic() < until, f"threads do not end: {alive}"
        thread = threads.reserve()
        assert thread is not None
        order()
        thread.wake()
        thread.join(DEADLINE)
        assert not thread.is_alive()


class Crew:
    """A worker's threads. Orders given to :meth:`do` are carried out by the leader, one after the other.

    :ivar failures: threads that a bug has ended.
    :ivar wrong: what a leader has done that was none.
    """

    def __init__(self, threads: int = 2, access_log: Any = None, **settings: Any) -> None:
        self.context = Context(Settings(threadpool_workers=threads, num_processes=1, **settings), None)
        self.threads = Threads(self.context)
        self.dispatch = Dispatch(self.context, application, access_log, self.threads)
        self.context.dispatcher = self.dispatch
        self.lead = self.dispatch.lead
        self.failures: list[threading.Thread] = []
        self.wrong: list[str] = []
        self.threads.lead = self._lead
        self.threads.failed = lambda: self.failures.append(threading.current_thread())
        self._orders: queue.SimpleQueue[Callable[[], object] | None] = queue.SimpleQueue()

    def __enter__(self) -> "Crew":
        self.threads.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._orders.put(None)
        end_threads(self.threads, lambda: self._orders.put(None))
        for fd in (self.context.mail.fd, self.dispatch.alarm.fd):
            os.close(fd)

    def do(self, order: Callable[[], object]) -> None:
        """Have the leader do something."""
        self._orders.put(order)

    def done(self, order: Callable[[], object]) -> Any:
        """Have the leader do something, and wait until it has; return or raise what it does."""
        outcome: queue.SimpleQueue[tuple[Any, BaseException | None]] = queue.SimpleQueue()

        def noted() -> None:
            try:
                outcome.put((order(), None))
            except BaseException as error:
                outcome.put((None, error))
                if isinstance(error, LeadLost):
                    raise

        self.do(noted)
        result, error = outcome.get(timeout=DEADLINE)
        if error is not None:
            raise error
        return result

    def execute(self, job: Job) -> None:
        """Have the leader execute a job, as the loop would."""
        self.do(lambda: self.carry_out(job))

    def carry_out(self, job: Job) -> None:
        """Execute a job, as the loop does. The leader."""
        if self.context.tally is not None:
            job.swift = self.context.tally.swift(job.line.method)
        try:
            if job.sensor.inline_until == FOREVER and not self.context.full:
                self.dispatch.execute_inline(job)
            else:
                self.dispatch.execute(job)
        except Exception:  # as the loop does: it costs the connection
            job.abandon()

    def _lead(self, me: RequestThread) -> bool:
        self.lead.leader = me
        try:
            while (order := self._orders.get()) is not None:
                if self.lead.leader is not me:
                    self.wrong.append("a thread leads that does not have the lead")
                order()
        except LeadLost:
            return True
        return False
