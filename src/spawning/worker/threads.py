"""Request threads: created on demand, used last idle first, so that few are warm.

Every thread of a worker but the main one is a request thread; one of them leads (``lead``), the others run jobs that
were handed over, or wait for one. At most ``limit`` execute jobs; the leader is one more while it polls.

One thread is woken at a time: it wakes the next one when it has the interpreter lock. Until then the next one could
not run either, and a thread that finishes a job meanwhile takes the next without being woken (``docs/design/0012``).

``lock`` guards ``_idle``, ``_ready`` and ``_starting`` as well as what is said in ``executor``.
"""

import select
from collections import deque
from collections.abc import Callable

from spawning.errors import ProtocolError
from spawning.logs.log import Log
from spawning.primitives import ServerThread, allocate_lock, get_ident
from spawning.worker.context import Context
from spawning.worker.executor import Executor, Poll, RunExchange, Runner, stack_of
from spawning.worker.policy import Policy
from spawning.worker.roles import Job

log = Log("spawning.worker")


class Beside(ServerThread):
    """Runs one function of the application, which is no request.

    :param function: raises nothing.
    """

    def __init__(self, function: Callable[[], None]) -> None:
        super().__init__("disconnected client")
        self._function = function

    def run(self) -> None:
        self._function()


class RequestThread(ServerThread):
    """A thread with a mailbox for one task; the lock is the bell.

    :ivar job: the job that it executes; any thread may read it. None while idle or leading.
    :ivar in_tunnel: its job does not count; with the lock of the executor.
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

    def is_current(self) -> bool:
        return self.ident == get_ident()

    def stack(self) -> str:
        return stack_of(self.ident)

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


class Threads(Executor):
    """The request threads of a worker. See the modules for who may call what.

    :param context: of the worker.
    """

    threaded = True
    ident = staticmethod(get_ident)
    make_bell = staticmethod(allocate_lock)

    def __init__(self, context: Context) -> None:
        super().__init__(context, context.settings.threadpool_workers, context.settings.max_tunnels)
        self.policy = Policy(siblings=context.settings.num_processes > 1)
        self.all: list[RequestThread] = []
        self._starting = False  # a thread has been woken for a job, and has not begun with it
        self._ready: deque[Job] = deque()  # to be executed next
        self._short_of_threads = False
        self._idle: list[RequestThread] = []

    @property
    def runners(self) -> list[Runner]:
        return list(self.all)

    def serve(self, attend: Callable[[], None]) -> None:
        self.start()
        attend()

    def poll(self, epoll: select.epoll) -> Poll:
        return epoll.poll

    # -- jobs ---------------------------------------------------------------------------------------------------------

    def hand_over(self, job: Job) -> bool:
        """Have a job executed by an idle or new thread; False: all are busy, it waits for one. Leader only."""
        context = self._context
        with self.lock:
            if context.full or self.holding:
                self.waiting.put(job)
                return False
            self.executing = executing = self.executing + 1  # as _count() does, without a call
            context.full = executing >= self.limit
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
                # The first thread to be idle again says so; the leader has yet to see what the others would tell it.
                tell = context.full and context.crowded
                self.executing = executing = self.executing - 1
                context.full = executing >= self.limit
                if executing == 0 and (self.holding or context.closing):
                    tell = True
            thread.job = job = self._ready.popleft() if self._ready else None
            if job is None:
                self._idle.append(thread)
        if tell:
            context.mail.wake()
        return job

    def sweep(self) -> None:
        """Do nothing: what waits in a thread cannot be woken."""

    def start_beside(self, function: Callable[[], None]) -> None:
        Beside(function).start()

    def stay_in_child(self) -> None:
        """Do nothing: only the thread that forks exists there."""

    def around(self, run: RunExchange) -> RunExchange:
        return run

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

    def release(self, runner: Runner) -> None:
        """Put a reserved thread back, which is not needed."""
        assert isinstance(runner, RequestThread)
        with self.lock:
            self._idle.append(runner)

    # -- threads ------------------------------------------------------------------------------------------------------

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
