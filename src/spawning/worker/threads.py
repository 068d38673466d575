"""Request threads: created on demand, used last idle first, so that few are warm.

Every thread of a worker but the main one is a request thread; one of them leads (``loop.Loop.lead``), the others run
requests that were handed over, or wait for one. At most ``limit`` execute requests; the leader is one more while it
polls.

``lock`` guards ``_idle``, ``waiting`` and ``executing``. It is taken for requests that are handed over, never for
inline ones. ``executing`` counts handed-over and taken-over requests; only whoever leads (or takes the lead) raises it,
so a leader may read it without the lock: at worst it sees a thread as busy that has just finished, and looks again
under the lock.
"""

import logging
import threading
from typing import TYPE_CHECKING

from spawning.worker.accepting import CROWDED
from spawning.worker.connection import Connection
from spawning.worker.waiting import Waiting

if TYPE_CHECKING:
    from spawning.worker.loop import Loop

log = logging.getLogger("spawning.worker")


class RequestThread(threading.Thread):
    """A thread with a mailbox for one task; the lock is the bell.

    :ivar connection: what it executes, for whoever wants to know; None while idle or leading.
    """

    def __init__(self, threads: "Threads", number: int) -> None:
        super().__init__(name=f"request thread {number}", daemon=True)
        self._threads = threads
        self._bell = threading.Lock()
        self._bell.acquire()
        self.connection: Connection | None = None

    def give(self, connection: Connection | None) -> None:
        """Hand over a request; None hands over the lead. The thread must be idle or not started."""
        self.connection = connection
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
        while True:
            self._bell.acquire()
            connection = self.connection
            if connection is None:
                if not loop.lead(self):
                    return
                connection = self._threads.next(self)  # it lost the lead, and has finished the request of that moment
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
        self.lock = threading.Lock()
        self.executing = 0
        self.full = False
        self.holding = False
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
            thread = self._idle.pop() if self._idle else None
        (thread or self._new()).give(connection)
        return True

    def hand_over_lead(self, connection: Connection, old: RequestThread) -> None:
        """Make another thread lead, since `old` is held up by the request of `connection`.

        Called by whoever took the token that makes this happen once (``Loop.box``).
        """
        with self.lock:
            self.executing += 1
            self.full = self.executing >= self.limit
            old.connection = connection
            thread = self._idle.pop() if self._idle else None
        (thread or self._new()).give(None)

    def start(self) -> None:
        """Make the first leader."""
        self._new().give(None)

    def queue(self, connection: Connection) -> None:
        """Take the next request of a connection, which a request thread has read; its turn is behind those that wait.

        That thread must ask for its own next request afterwards.
        """
        with self.lock:
            self.read += 1
            self.waiting.put(connection)

    def next(self, thread: RequestThread) -> Connection | None:
        """Give `thread`, which has finished a request, a waiting one; None: it is idle from now on."""
        with self.lock:
            if self.waiting.size and not self.holding:
                thread.connection = connection = self.waiting.take()
                return connection
            self.executing -= 1
            # The first thread to be idle again says so; the leader has yet to see what the others would tell it.
            tell = (self.full and self.loop.accepting.state is CROWDED) or (
                self.executing == 0 and (self.holding or self.loop.closing)
            )
            self.full = False
            thread.connection = None
            self._idle.append(thread)
        if tell:
            self.loop.wake()
        return None

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

    def _new(self) -> RequestThread:
        thread = RequestThread(self, len(self.all) + 1)
        self.all.append(thread)
        return thread
