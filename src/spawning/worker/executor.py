"""How the jobs of a worker are executed, and how its loop waits: what request threads and greenlets have in common.

An executor runs jobs beside the loop, at most ``limit`` at a time; what is more waits. What it is to run a job, or to
lead (to run the loop), it is told when the worker starts. There are two: ``threads``, and ``greenlets`` (``-t 0``).
Loop, connections and dispatch are the same with both.

``lock`` guards ``waiting`` and ``executing``. It is taken for jobs that are handed over, never for inline ones. Only
the thread that leads (or takes the lead) raises ``executing``, so a leader may read it, and ``context.full``, without
the lock: at worst it sees a job as under way that has just ended, and looks again under the lock.
"""

import select
import threading
import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar, Protocol

from spawning.primitives import Bell, allocate_lock, current_frames
from spawning.worker.bug import tell_of_bug
from spawning.worker.context import Context
from spawning.worker.roles import Job
from spawning.worker.waiting import Waiting
from spawning.wsgi.exchange import Exchange, WSGIApplication

Poll = Callable[[float], list[tuple[int, int]]]
RunExchange = Callable[[Exchange, WSGIApplication], None]


class Runner(Protocol):
    """What leads, or executes one job at a time: a thread or a greenlet. Looked at from any thread.

    :ivar job: that it executes; None: none, or it leads.
    :ivar in_tunnel: its job does not count; with the lock of the executor.
    """

    job: Job | None
    in_tunnel: bool

    @property
    def name(self) -> str: ...

    @property
    def native_id(self) -> int | None: ...

    def wake(self) -> None:
        """Begin with ``job``; None is the lead. It must be idle, or new."""

    def is_current(self) -> bool:
        """Whether it is this one that asks."""

    def stack(self) -> str:
        """Return where it is, as a traceback shows it, most recent call last; empty when it has ended."""


class Executor(ABC):
    """See the module.

    :param context: of the worker; ``full`` is written here.
    :param limit: most jobs executed at a time.
    :param most_tunnels: that may be beside them.

    :cvar threaded: jobs run in threads of the operating system, beside the loop, and compete with it.
    :ivar lead: run the loop in the calling thread or greenlet; True when the lead is lost, False when the worker has
        ended.
    :ivar take_lead: let another one lead, if the leader is inside a call.
    :ivar run: execute a job in the calling thread or greenlet, all of it; raises nothing.
    :ivar failed: called when a bug has ended what the worker cannot do without.
    :ivar waiting: jobs whose turn has not come.
    :ivar executing: handed-over and taken-over jobs that are under way.
    :ivar read: jobs that were read by what executed the one before.
    :ivar excused: jobs that wait for their clients and do not count.
    :ivar tunnels: jobs that hold what executes them for as long as their clients stay, and do not count.
    :ivar holding: jobs are kept back so that the threads run dry, for a trial (``sensor``).
    """

    threaded: ClassVar[bool]

    lead: Callable[[Any], bool]
    take_lead: Callable[[], object]
    run: Callable[[Job], None]
    failed: Callable[[], None]

    def __init__(self, context: Context, limit: int, most_tunnels: int) -> None:
        self.limit = limit
        self.most_tunnels = most_tunnels
        self.waiting = _waiting(context)
        self.lock = allocate_lock()
        self.executing = 0
        self.holding = False
        self.read = 0
        self.excused = 0
        self.tunnels = 0
        self._context = context

    @property
    @abstractmethod
    def runners(self) -> Sequence[Runner]:
        """Those that execute, or may. Any thread; a copy."""

    @abstractmethod
    def serve(self, attend: Callable[[], None]) -> None:
        """Lead, and have jobs executed, until the worker ends. Main thread.

        :param attend: what is to be done meanwhile, in a thread that neither leads nor executes; it returns when the
            worker has ended, or when what is left is to be given up.
        """

    @abstractmethod
    def poll(self, epoll: select.epoll) -> Poll:
        """Return a function that waits for events, at most so many seconds, while jobs run. The leader calls it."""

    @abstractmethod
    def ident(self) -> int:
        """Identify the thread or greenlet that calls this."""

    @abstractmethod
    def make_bell(self) -> Bell:
        """Make a lock on which what executes a job may wait, for another to release it."""

    def stacks(self) -> dict[str, str]:
        """Return where everything in this process is: name to stack. Main thread."""
        names = {thread.ident: thread.name for thread in threading.enumerate()}
        return {
            f"{names.get(ident, 'unknown thread')} ({ident})": "".join(traceback.format_stack(frame))
            for ident, frame in current_frames().items()
        }

    # -- jobs ---------------------------------------------------------------------------------------------------------

    @abstractmethod
    def hand_over(self, job: Job) -> bool:
        """Have a job executed; False: there are as many as there may be, and it waits. Leader only."""

    @abstractmethod
    def sweep(self) -> None:
        """Look at what is under way, once a second. Leader only."""

    @abstractmethod
    def start_beside(self, function: Callable[[], None]) -> None:
        """Run what is the application's, and no request, in a thread or greenlet of its own. Leader only.

        :raises RuntimeError: the system gives no more threads.
        """

    @abstractmethod
    def stay_in_child(self) -> None:
        """Have nothing of this go on in a process that the application has forked; there, where it returns to."""

    @abstractmethod
    def around(self, run: RunExchange) -> RunExchange:
        """Return a function that runs exchanges as `run` does, with what has to be done around it."""

    def queue(self, job: Job) -> None:
        """Take a job that what executed the one before has read; its turn is behind those that wait.

        The thread that calls this must ask for its own next job afterwards.
        """
        with self.lock:
            self.read += 1
            self.waiting.put(job)

    def _count(self, more: int) -> None:
        """Count jobs that are executed. With the lock."""
        self.executing += more
        self._context.full = self.executing >= self.limit

    def allow(self, count: int) -> None:
        """Allow for `count` jobs more at a time, or fewer. Any thread."""
        with self.lock:
            self.limit += count
            self._count(0)

    def excuse(self, count: int) -> bool:
        """Let a job that waits for its client not count (1), or count again (-1).

        :returns: False when as many are excused as may be.
        """
        context = self._context
        with self.lock:
            if count > 0 and self.excused >= context.settings.max_waiting_writers:
                return False
            self.excused += count
            self.limit += count
            self._count(0)
            tell = count > 0 and (context.crowded or self.waiting.size)
        if tell:
            context.mail.wake()
        return True

    def begin_tunnel(self, job: Job) -> bool:
        """Let a job not count any more, until it ends. Any thread.

        :returns: False when as many do not as may be, or nothing executes the job.
        """
        with self.lock:
            runner = next((each for each in self.runners if each.job is job), None)
            if runner is None or self.tunnels >= self.most_tunnels:
                return False
            runner.in_tunnel = True
            self.tunnels += 1
            self._count(-1)
        self._context.mail.wake()  # another one may be executed in its place
        return True

    def take_waiting(self) -> Job | None:
        """Take out the waiting job whose turn it is, if it may be executed. Leader only."""
        with self.lock:
            return self.waiting.take() if self.waiting.size and not self._context.full else None

    def take_overdue(self, before: float) -> tuple[Job, float] | None:
        """Take out a job that waits since before that time, and since when. Leader only."""
        with self.lock:
            return self.waiting.take_overdue(before)

    def waiting_since(self) -> float:
        """Since when the job waits that will be overdue next; infinite if none will."""
        with self.lock:
            return self.waiting.since

    def queued(self) -> list[Job]:
        """Return the jobs that nothing has begun with. Any thread."""
        with self.lock:
            return self.waiting.jobs()

    # -- the lead -----------------------------------------------------------------------------------------------------

    @abstractmethod
    def reserve(self) -> Runner | None:
        """Return one that is idle, and keep it from everybody else; None: there is none.

        It begins to lead when it is woken, or is given back by :meth:`release`.
        """

    @abstractmethod
    def release(self, runner: Runner) -> None:
        """Put back what was reserved, and is not needed."""

    def note_held_up(self, runner: Runner, job: Job) -> None:
        """Count the old leader among those that execute: it is held up by a job, and another one leads."""
        with self.lock:
            self._count(1)
            runner.job = job

    def fail(self) -> None:
        """End the worker, from inside an ``except`` block: a bug has been met. Any thread."""
        tell_of_bug("the worker ends")
        self.failed()


def _waiting(context: Context) -> Waiting:
    settings = context.settings
    paths: Iterable[str] = settings.health_paths
    if settings.ready_path is not None:
        paths = (*settings.health_paths, settings.ready_path)
    return Waiting(paths, timed=settings.queue_timeout > 0, tally=context.tally)


def stack_of(ident: int | None) -> str:
    """Return the stack of a thread as text, most recent call last; empty when there is no such thread."""
    frame = current_frames().get(ident) if ident is not None else None
    return "".join(traceback.format_stack(frame)) if frame is not None else ""
