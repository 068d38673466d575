"""Request threads: created on demand, used last idle first, so that few are warm.

Every thread of a worker but the main one is a request thread; one of them leads (``lead``), the others run jobs that
were handed over, or wait for one. At most ``limit`` execute jobs; the leader is one more while it polls. What it is to
run a job, or to lead, the pool is told when it starts.

One thread is woken at a time: it wakes the next one when it has the interpreter lock. Until then the next one could
not run either, and a thread that finishes a job meanwhile takes the next without being woken (``docs/design/0012``).

``lock`` guards ``_idle``, ``_ready``, ``_starting``, ``waiting`` and ``executing``. It is taken for jobs that are
handed over, never for inline ones. ``executing`` counts handed-over and taken-over jobs; only the thread that leads (or
takes the lead) raises it, so a leader may read it, and ``context.full``, without the lock: at worst it sees a thread as
busy that has just finished, and looks again under the lock.
"""

from collections import deque
from collections.abc import Callable

from spawning.errors import ProtocolError
from spawning.logs.log import Log
from spawning.primitives import ServerThread, allocate_lock
from spawning.worker.bug import tell_of_bug
from spawning.worker.context import Context
from spawning.worker.policy import Policy
from spawning.worker.roles import Job
from spawning.worker.waiting import Waiting

log = Log("spawning.worker")


class RequestThread(ServerThread):
    """A thread with a mailbox for one task; the lock is the bell.

    :ivar job: the job that it executes; any thread may read it. None while idle or leading.
    :ivar in_tunnel: its job does not count; with the lock of ``Threads``.
    """

    def __init__(self, threads: "Threads", number: int) -> None:
        super().__init__(f"request thread {number}")
        self._threads = threads
        self._bell = allocate_lock()
        self._bell.acquire()
        self.job: Job | None = None
        self.in_tunnel = False

    def wake(self) -> None:
        """Begin with ``job``; None is the lead. The thread must be idle or not started.

        :raises RuntimeError: it cannot be started.
        """
        if self.ident is None:
            self._bell.release()
            self.start()
        else:
            self._bell.release()

    def run(self) -> None:
        try:
            self._work(self._threads)
        except BaseException:  # boundary: without its leader a worker would serve nobody, and nobody would notice
            self._threads.fail()

    def _work(self, threads: "Threads") -> None:
        policy = threads.policy
        policy.follow()
        while True:
            self._bell.acquire()
            job = self.job
            if job is None:
                policy.lead()
                if not threads.lead(self):
                    return
                policy.follow()
                job = threads.next(self)  # it lost the lead, and has finished the job of that moment
            else:
                threads.started()
            while job is not None:
                threads.run(job)
                job = threads.next(self)


class Threads:
    """The request threads of a worker. See the module for who may call what.

    :param context: of the worker; ``full`` is written here.
    :param limit: most jobs executed at a time.
    :param waiting: jobs that wait for a thread.
    :param policy: how the threads are scheduled.

    :ivar lead: run the loop in the calling thread; True when that thread is an ordinary one again, False when it has to
        end.
    :ivar run: execute a job in the calling thread, all of it; raises nothing.
    :ivar failed: called when a bug has ended a thread; the worker cannot go on.
    :ivar read: jobs that request threads have read.
    :ivar excused: jobs that wait for their clients and do not count.
    :ivar tunnels: jobs that hold a thread for as long as their clients stay, and do not count.
    :ivar holding: jobs are kept back so that the threads run dry, for a trial (``sensor``).
    """

    lead: Callable[[RequestThread], bool]
    run: Callable[[Job], None]
    failed: Callable[[], None]

    def __init__(self, context: Context, limit: int, waiting: Waiting, policy: Policy) -> None:
        self.limit = limit
        self.waiting = waiting
        self.policy = policy
        self.lock = allocate_lock()
        self.executing = 0
        self.holding = False
        self.read = 0
        self.excused = 0
        self.tunnels = 0
        self.all: list[RequestThread] = []
        self._context = context
        self._starting = False  # a thread has been woken for a job, and has not begun with it
        self._ready: deque[Job] = deque()  # to be executed next
        self._short_of_threads = False
        self._idle: list[RequestThread] = []

    # -- jobs ---------------------------------------------------------------------------------------------------------

    def hand_over(self, job: Job) -> bool:
        """Have a job executed by an idle or new thread; False: all are busy, it waits for one. Leader only."""
        with self.lock:
            if self._context.full or self.holding:
                self.waiting.put(job)
                return False
            self._count(1)
            self._ready.append(job)
            thread = self._to_wake()
        if thread is not None:
            self._wake(thread)
        return True

    def started(self) -> None:
        """Called by a thread that was woken for a job, before it executes it: now the next one may be woken."""
        with self.lock:
            self._starting = False
            thread = self._to_wake()
        if thread is not None:
            self._wake(thread)

    def _count(self, more: int) -> None:
        """Count jobs that are executed. With the lock."""
        self.executing += more
        self._context.full = self.executing >= self.limit

    def _to_wake(self) -> RequestThread | None:
        """Choose the thread for the first ready job, unless one is waking up. With the lock."""
        if self._starting or not self._ready:
            return None
        self._starting = True
        thread = self._idle_or_new()
        thread.job = self._ready.popleft()
        return thread

    def _wake(self, thread: RequestThread) -> None:
        try:
            thread.wake()
        except RuntimeError as error:  # the kernel gives no more threads, or has no memory for one
            self._cannot_start(thread, error)

    def _cannot_start(self, thread: RequestThread, error: RuntimeError) -> None:
        """Leave a job to the threads that execute others; if there are none, nobody can execute it."""
        job = thread.job
        assert job is not None
        with self.lock:
            self._starting = False
            alone = self.executing == len(self._ready) + 1
            if alone:
                self._count(-1)
            else:
                self._ready.appendleft(job)
        self._discard(thread, error)
        if alone:
            job.refuse(ProtocolError(503, "no thread can be started for the request"))

    def queue(self, job: Job) -> None:
        """Take a request that a request thread has read; its turn is behind those that wait.

        That thread must ask for its own next job afterwards.
        """
        with self.lock:
            self.read += 1
            self.waiting.put(job)

    def next(self, thread: RequestThread) -> Job | None:
        """Return the next job for `thread`, which has finished one; None: it is idle from now on."""
        context = self._context
        tell = False
        with self.lock:
            if thread.in_tunnel:  # it has not been counted, and only the leader counts one more
                thread.in_tunnel = False
                self.tunnels -= 1
            elif self.waiting.size and not self.holding and self.executing <= self.limit:
                self._ready.append(self.waiting.take())
            else:
                was_full = context.full
                self._count(-1)
                # The first thread to be idle again says so; the leader has yet to see what the others would tell it.
                tell = (was_full and context.crowded) or (self.executing == 0 and (self.holding or context.closing))
            thread.job = job = self._ready.popleft() if self._ready else None
            if job is None:
                self._idle.append(thread)
        if tell:
            context.mail.wake()
        return job

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
        """Let a job not count any more, until its thread asks for the next one. Any thread.

        :returns: False when as many do not as may be (``--max-tunnels``), or no thread executes the job.
        """
        context = self._context
        with self.lock:
            thread = next((each for each in self.all if each.job is job), None)
            if thread is None or self.tunnels >= context.settings.max_tunnels:
                return False
            thread.in_tunnel = True
            self.tunnels += 1
            self._count(-1)
        context.mail.wake()  # another one may be executed in its place
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
        """Return the jobs that no thread has begun with. Any thread."""
        with self.lock:
            return [*self._ready, *self.waiting.jobs()]

    # -- the lead -----------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Make the first leader."""
        with self.lock:
            thread = self._idle_or_new()
        thread.wake()

    def reserve(self) -> RequestThread | None:
        """Return a thread that is started and idle, and keep it from everybody else; None: none can be started.

        It begins to lead when it is woken, or is given back by :meth:`release`.
        """
        with self.lock:
            thread = self._idle_or_new()
        if thread.ident is None:
            try:
                thread.start()
            except RuntimeError as error:
                self._discard(thread, error)
                return None
        return thread

    def release(self, thread: RequestThread) -> None:
        """Put a reserved thread back, which is not needed."""
        with self.lock:
            self._idle.append(thread)

    def note_held_up(self, thread: RequestThread, job: Job) -> None:
        """Count the old leader among the threads that execute: it is held up by a job, and another one leads."""
        with self.lock:
            self._count(1)
            thread.job = job

    # -- threads ------------------------------------------------------------------------------------------------------

    def fail(self) -> None:
        """End the worker, from inside an ``except`` block: a thread has met a bug. Any thread."""
        tell_of_bug("the worker ends")
        self.failed()

    def _discard(self, thread: RequestThread, error: RuntimeError) -> None:
        """Forget a thread that could not be started, and tell the log of the first one."""
        with self.lock:
            self.all.remove(thread)
        if not self._short_of_threads:
            self._short_of_threads = True
            log.error("no further request thread can be started threads=%d error=%s", len(self.all), error)

    def _idle_or_new(self) -> RequestThread:
        """Return a thread for :meth:`RequestThread.wake`. With the lock."""
        if self._idle:
            return self._idle.pop()
        thread = RequestThread(self, len(self.all) + 1)
        self.all.append(thread)
        return thread
