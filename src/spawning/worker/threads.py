"""Request threads: created on demand, used last idle first, so that few are warm.

Every thread of a worker but the main one is a request thread; one of them leads (``loop.Loop.lead``), the others run
requests that were handed over, or wait for one. At most ``limit`` execute requests; the leader is one more while it
polls.

One thread is woken at a time: it wakes the next one when it has the interpreter lock. Until then that one could not run
either, and a thread that finishes a request meanwhile takes the next without being woken (``docs/design/0012``).

``lock`` guards ``_idle``, ``_ready``, ``_starting``, ``waiting`` and ``executing``. It is taken for requests that are
handed over, never for inline ones. ``executing`` counts handed-over and taken-over requests; only whoever leads (or
takes the lead) raises it, so a leader may read it without the lock: at worst it sees a thread as busy that has just
finished, and looks again under the lock.
"""

import logging
from collections import deque
from typing import TYPE_CHECKING

from spawning.errors import ProtocolError
from spawning.primitives import ServerThread, allocate_lock
from spawning.worker.accepting import CROWDED
from spawning.worker.connection import Connection
from spawning.worker.waiting import Waiting

if TYPE_CHECKING:
    from spawning.worker.loop import Loop

log = logging.getLogger("spawning.worker")


class RequestThread(ServerThread):
    """A thread with a mailbox for one task; the lock is the bell.

    :ivar connection: what it executes, for whoever wants to know; None while idle or leading.
    """

    def __init__(self, threads: "Threads", number: int) -> None:
        super().__init__(f"request thread {number}")
        self._threads = threads
        self._bell = allocate_lock()
        self._bell.acquire()
        self.connection: Connection | None = None

    def wake(self) -> None:
        """Begin with ``connection``; None is the lead. The thread must be idle or not started.

        :raises RuntimeError: it cannot be started.
        """
        if self.ident is None:
            self._bell.release()
            self.start()
        else:
            self._bell.release()

    def run(self) -> None:
        try:
            self._work(self._threads.loop)
        except BaseException:  # boundary: without its leader a worker would serve nobody, and nobody would notice
            log.exception("this is a bug in Spawning; the worker ends")
            self._threads.loop.fail()

    def _work(self, loop: "Loop") -> None:
        policy = loop.policy
        policy.follow()
        while True:
            self._bell.acquire()
            connection = self.connection
            if connection is None:
                policy.lead()
                if not loop.lead(self):
                    return
                policy.follow()
                connection = self._threads.next(self)  # it lost the lead, and has finished the request of that moment
            else:
                self._threads.started()
            while connection is not None:
                loop.execute_in_thread(connection)
                connection = self._threads.next(self)


class Threads:
    """The request threads of a worker. See the module for who may call what.

    :param loop: what they serve.
    :param limit: most requests executed at a time.
    :param waiting: requests that wait for a thread.

    :ivar full: ``limit`` requests are executed; only whoever may raise ``executing`` may rely on False.
    :ivar read: requests that request threads have read.
    :ivar holding: requests are kept back so that the threads run dry, for a trial (``sensor``).
    """

    def __init__(self, loop: "Loop", limit: int, waiting: Waiting) -> None:
        self.loop = loop
        self.limit = limit
        self.waiting = waiting
        self.lock = allocate_lock()
        self.executing = 0
        self.full = False
        self.holding = False
        self._starting = False  # a thread has been woken for a request, and has not begun with it
        self._ready: deque[Connection] = deque()  # to be executed next
        self._short_of_threads = False
        self.read = 0
        self.all: list[RequestThread] = []
        self._idle: list[RequestThread] = []

    def hand_over(self, connection: Connection) -> bool:
        """Have a request executed by an idle or new thread; False: all are busy, it waits for one. Leader only."""
        with self.lock:
            if self.full or self.holding:
                self.waiting.put(connection)
                return False
            self.executing += 1
            self.full = self.executing >= self.limit
            self._ready.append(connection)
            thread = self._to_wake()
        if thread is not None:
            self._wake(thread)
        return True

    def started(self) -> None:
        """Called by a thread that was woken for a request, before it executes it: now the next one may be woken."""
        with self.lock:
            self._starting = False
            thread = self._to_wake()
        if thread is not None:
            self._wake(thread)

    def _to_wake(self) -> RequestThread | None:
        """Choose the thread for the first ready request, unless one is waking up. With the lock."""
        if self._starting or not self._ready:
            return None
        self._starting = True
        thread = self._idle_or_new()
        thread.connection = self._ready.popleft()
        return thread

    def _wake(self, thread: RequestThread) -> None:
        try:
            thread.wake()
        except RuntimeError as error:  # the kernel gives no more threads, or has no memory for one
            self._cannot_start(thread, error)

    def _cannot_start(self, thread: RequestThread, error: RuntimeError) -> None:
        """Leave a request to the threads that execute others; if there are none, nobody can execute it."""
        connection = thread.connection
        assert connection is not None
        with self.lock:
            self._starting = False
            alone = self.executing == len(self._ready) + 1
            if alone:
                self.executing -= 1
                self.full = False
            else:
                self._ready.appendleft(connection)
        self._discard(thread, error)
        if alone:
            connection.refuse(ProtocolError(503, "no thread can be started for the request"))

    def hand_over_lead(self, connection: Connection, old: RequestThread) -> None:
        """Make another thread lead, since `old` is held up by the request of `connection`.

        Called by whoever took the token that makes this happen once (``Loop.box``).
        """
        with self.lock:
            self.executing += 1
            self.full = self.executing >= self.limit
            old.connection = connection
            thread = self._idle_or_new()
        thread.wake()

    def prepare(self) -> bool:
        """See to it that a thread is idle, for :meth:`hand_over_lead`; False: none can be started."""
        with self.lock:
            if self._idle:
                return True
            thread = self._idle_or_new()
        try:
            thread.start()
        except RuntimeError as error:
            self._discard(thread, error)
            return False
        with self.lock:
            self._idle.append(thread)
        return True

    def _discard(self, thread: RequestThread, error: RuntimeError) -> None:
        """Forget a thread that could not be started, and tell the log of the first one."""
        with self.lock:
            self.all.remove(thread)
        if not self._short_of_threads:
            self._short_of_threads = True
            log.error("no further request thread can be started threads=%d error=%s", len(self.all), error)

    def start(self) -> None:
        """Make the first leader."""
        self._idle_or_new().wake()

    def queue(self, connection: Connection) -> None:
        """Take the next request of a connection, which a request thread has read; its turn is behind those that wait.

        That thread must ask for its own next request afterwards.
        """
        with self.lock:
            self.read += 1
            self.waiting.put(connection)

    def next(self, thread: RequestThread) -> Connection | None:
        """Give `thread`, which has finished a request, another one; None: it is idle from now on."""
        tell = False
        with self.lock:
            if self.waiting.size and not self.holding:
                self._ready.append(self.waiting.take())
            else:
                self.executing -= 1
                # The first thread to be idle again says so; the leader has yet to see what the others would tell it.
                tell = (self.full and self.loop.accepting.state is CROWDED) or (
                    self.executing == 0 and (self.holding or self.loop.closing)
                )
                self.full = False
            thread.connection = connection = self._ready.popleft() if self._ready else None
            if connection is None:
                self._idle.append(thread)
        if tell:
            self.loop.wake()
        return connection

    def allow(self, count: int) -> None:
        """Allow for `count` more at a time. Leader only."""
        with self.lock:
            self.limit += count
            self.full = self.executing >= self.limit

    def take_waiting(self) -> Connection | None:
        """Give the leader a waiting request, if it may be executed."""
        with self.lock:
            return self.waiting.take() if self.waiting.size and not self.full else None

    def take_overdue(self, before: float) -> tuple[Connection, float] | None:
        """Give the leader a request that waits since before that time, and since when."""
        with self.lock:
            return self.waiting.take_overdue(before)

    def waiting_since(self) -> float:
        """Since when the request waits that will be overdue next; infinite if none will."""
        with self.lock:
            return self.waiting.since

    def _idle_or_new(self) -> RequestThread:
        """Give a thread for :meth:`RequestThread.wake`. With the lock."""
        if self._idle:
            return self._idle.pop()
        thread = RequestThread(self, len(self.all) + 1)
        self.all.append(thread)
        return thread
