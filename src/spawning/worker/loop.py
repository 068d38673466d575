"""The event loop of a worker, and who runs it.

One thread at a time is the **leader**: it polls, accepts, reads, parses, and decides where each request is executed.
The others are request threads (``threads``), and the main thread is the watchdog (``watchdog``).

The concurrency argument. There is one *token* for the lead. While the leader polls and reads it has the token in its
hands, so to speak: nobody can take it. Before it calls the application inline it puts the token into the ``box``, a
list; afterwards it pops it again. Taking the lead from a leader that is held up means popping the token too. A list's
``append`` and ``pop`` are atomic, so exactly one of the two succeeds: either the leader goes on leading, or it finds
the box empty, finishes its response as an ordinary request thread would, and touches nothing of the loop any more. Each
term has a box of its own, so a token cannot be mistaken for that of a later leader. Events that the old leader had
polled and not yet handled are in ``_events``, an iterator, from which the new leader goes on.

Everything in :class:`Loop` is for the leader only, but ``post`` and ``wake`` (any thread), ``register`` and ``forget``
(the owner of the connection; single dictionary and system calls), ``execute_in_thread`` and what the watchdog reads.
"""

import contextlib
import os
import select
import socket
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from time import monotonic, sleep, time
from typing import Final

from spawning.http.request import Limits
from spawning.http.response import Clock
from spawning.ipc.channel import Channel
from spawning.logs.access import AccessLog
from spawning.logs.log import Log
from spawning.settings import Settings
from spawning.worker.accepting import CROWDED, FULL, ON, SIBLINGS_FIRST, Accepting
from spawning.worker.alarm import Alarm
from spawning.worker.closing import READ_SIZE
from spawning.worker.connection import Connection
from spawning.worker.handoff import HandoffSocket
from spawning.worker.overdue import Overdue
from spawning.worker.policy import Policy
from spawning.worker.routes import Routes
from spawning.worker.states import READING
from spawning.worker.syscalls import Receiver
from spawning.worker.threads import RequestThread, Threads
from spawning.worker.transport import Transport
from spawning.worker.trials import Trials
from spawning.worker.waiting import Waiting
from spawning.wsgi.bridge import Exchange, WSGIApplication
from spawning.wsgi.environ import EnvironBase
from spawning.wsgi.not_ready import NotReady

SWEEP_EVERY: Final = 1.0  # seconds between looks at the deadlines
FAREWELL: Final = 5.0  # seconds that an idle connection is kept when the controller has died
WATCHED: Final = 0.02  # seconds that the watchdog looks closely, from the beginning of a suspicious call
ALARM_AFTER: Final = 0.02  # seconds after which a call that lasts wakes the watchdog
ALARM_EVERY: Final = 0.005  # seconds, at least, between two times that the alarm is put off
REMEMBER: Final = 2.0  # seconds that an idle connection remembers its last request, to read an equal one faster
# While all threads are busy nothing is executed inline, and what the leader reads only waits. So many requests keep the
# threads busy for longer than it rests, however short they are, and it does not compete with them for the lock.
PLENTY: Final = 64  # waiting requests
REST: Final = 0.0005  # seconds between polls
FRESH_GRACE: Final = 0.5  # seconds that a new connection may take to send its request when the worker stops
_EVENTS: Final = select.EPOLLIN | select.EPOLLOUT | select.EPOLLRDHUP | select.EPOLLET
_END: Final = select.EPOLLRDHUP  # the client will send nothing more; the greatest of the bits that are reported

log = Log("spawning.worker")


class Loop:
    """See the module.

    :param application: the WSGI application.
    :param settings: of the generation.
    :param listeners: listening sockets, non-blocking.
    :param base: what every environ has.
    :param access_log: None switches it off.
    :param handoff: sending and receiving end of the handoff socket.
    :param room: most connections at a time.
    :param on_end: called once, by the leader, when the last connection of a retired worker is gone.

    :ivar box: holds the token while the leader is inside the application: the connection whose request it executes.
    :ivar calls: inline calls so far; with ``box`` it tells the watchdog whether a call lasts.
    :ivar routes: which of them wait.
    :ivar watched_until: (monotonic seconds) calls are watched closely (``watchdog``) until then.
    :ivar alarm: wakes the watchdog, unless it is put off by a further call.
    :ivar alarm_due: (monotonic seconds) the next call after this time puts the alarm off; 0: the alarm is not set.
    :ivar watchdog_dozes: it is to be woken when calls are to be watched closely.
    :ivar disturbed: counts the moments at which the main thread has taken the interpreter lock.
    :ivar contended: threads want the interpreter lock, since requests have been handed over a moment ago.
    :ivar closing: the worker has been retired or stopped.
    :ivar stopping: the worker has been stopped.
    :ivar failed: a bug has ended the loop.
    :ivar policy: how its threads are scheduled.
    """

    def __init__(
        self,
        application: WSGIApplication,
        settings: Settings,
        listeners: Sequence[socket.socket],
        base: EnvironBase,
        access_log: AccessLog | None,
        handoff: tuple[Channel, Channel],
        room: int,
        on_end: Callable[[], None],
    ) -> None:
        self.application = application
        self.settings = settings
        self.base = base
        self.access_log = access_log
        self.on_end = on_end
        self.clock = Clock(settings.server_header)
        self.receiver = Receiver(READ_SIZE)
        self.now = monotonic()
        self.idle_deadline = self.now + settings.keepalive_timeout
        self.keep_alive = not settings.no_keepalive and settings.keepalive_timeout > 0
        self.limits = _limits(settings)
        self.policy = Policy(siblings=settings.num_processes > 1)
        self.threads = Threads(self, settings.threadpool_workers, _waiting(settings))
        self.routes = Routes(enabled=settings.threadpool_workers > 1)
        self.disturbed = 0
        self.contended = False
        self.connections: dict[int, Connection] = {}
        self.box: list[Connection] = []
        self.leader: RequestThread | None = None
        self.calls = 0
        self.handed_over = 0
        self.errors = 0
        self.refused = 0
        self.closing = False
        self.stopping = False
        self.failed = False
        self.alarm = Alarm(ALARM_AFTER)
        self.alarm_due = 0.0
        self.watchdog_dozes = False
        self.watched_until = 0.0
        self.wake_watchdog: Callable[[], None] = _nothing
        self.run_exchange: Callable[[Exchange, WSGIApplication], None] = Exchange.run
        self._epoll = select.epoll()
        self._handoff = HandoffSocket(self, self._epoll, *handoff)
        self._events: Iterator[tuple[int, int]] = iter(())
        self._mail: deque[Callable[[], object]] = deque()
        self._wake_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._epoll.register(self._wake_fd, select.EPOLLIN)
        self.accepting = Accepting(self, self._epoll, listeners, self._handoff, room)
        self._change = threading.Lock()
        self._in_threads = 0
        self._trials = Trials(self)
        self._overdue = Overdue(self, settings.queue_timeout)
        self._next_sweep = 0.0
        self._stopped_at = float("inf")
        self._idle_until = 0.0

    # -- leading ------------------------------------------------------------------------------------------------------

    def lead(self, me: RequestThread) -> bool:
        """Run the loop until the lead is lost (True) or the worker has ended (False)."""
        box = self.box
        keepalive_timeout = self.settings.keepalive_timeout
        self.leader = me
        while True:
            for fd, events in self._events:
                connection = self.connections.get(fd)
                try:
                    if connection is None:
                        self._on_other_event(fd)
                    else:
                        if events >= _END:
                            connection.ended = True  # perhaps behind the last data, and no other event tells of it
                        if connection.state is READING:
                            connection.read()
                        else:
                            connection.on_event()
                except Exception:  # boundary: a bug that one connection has found must not cost the others theirs
                    self._drop(connection)
                if self.box is not box:
                    return True
            if not self._between_polls(box):
                return self.box is not box
            polled = self._epoll.poll(self._timeout())
            self.now = now = monotonic()
            self.idle_deadline = now + keepalive_timeout
            self.clock.set(time())
            in_threads = self.handed_over + self.threads.read
            self.contended = in_threads != self._in_threads
            self._in_threads = in_threads
            self._events = iter(polled)

    def _timeout(self) -> float:
        if self.threads.holding:
            return 0.005
        if self.accepting.state is CROWDED:
            return SIBLINGS_FIRST
        return min(SWEEP_EVERY, self._overdue.seconds_left()) if self.threads.waiting.size else SWEEP_EVERY

    def _drop(self, connection: Connection | None) -> None:
        log.exception("this is a bug in Spawning; a connection is closed")
        if connection is not None:
            self.connections.pop(connection.fd, None)
            connection.sock.close()

    def fail(self) -> None:
        """End the worker: the loop cannot go on, and the controller has others forked. Any thread."""
        self.failed = True
        self.on_end()

    def _between_polls(self, box: list[Connection]) -> bool:
        """Do what is not an event; False: stop leading, because the lead is lost or the worker has ended."""
        threads = self.threads
        if threads.holding and not self._trials.go_on(box):
            return False
        if threads.waiting.size and not self._serve_waiting(box):
            return False
        if self.now >= self._next_sweep:
            self._sweep()
            if self.box is not box:
                return False
        if self.accepting.state is not ON and not self.accepting.look():
            return False
        if self.closing and not self.connections and not threads.executing and not self._mail:
            self.on_end()
            return False
        return True

    def _on_other_event(self, fd: int) -> None:
        if fd == self._wake_fd:
            with contextlib.suppress(BlockingIOError):
                os.eventfd_read(fd)
            box = self.box
            mail = self._mail
            while mail:
                mail.popleft()()
                if self.box is not box:
                    self.wake()  # the rest is for the new leader
                    return
        elif fd == self._handoff.sending_fd:
            self._handoff.send()
        else:
            self.accepting.on_event(fd)

    def post(self, action: Callable[[], object]) -> None:
        """Have the leader do something soon. Any thread."""
        self._mail.append(action)
        self.wake()

    def wake(self) -> None:
        """Make the leader look around. Any thread."""
        os.eventfd_write(self._wake_fd, 1)

    @property
    def requests(self) -> int:
        """Requests whose execution has begun."""
        return self.calls + self.handed_over + self.threads.read

    # -- executing ----------------------------------------------------------------------------------------------------

    def execute(self, connection: Connection) -> bool:
        """Execute the request of a connection, or have it executed.

        A caller who has seen that the time is before ``inline_until`` of its sensor, and ``threads`` are not full, may
        call :meth:`execute_inline` instead.

        :returns: True when the response is finished, this thread still leads, and the connection is being read again.
        """
        threads = self.threads
        if not threads.full:
            sensor = connection.sensor
            if sensor.inline or (self.now >= sensor.due and not threads.executing):
                return self._execute_measured(connection)
            if self.now >= sensor.due and self.now >= self._trials.next:
                self._trials.hold(connection)
                return False
        self.handed_over += 1
        # From here on another thread may own the connection at any moment, so its events must be known by then.
        connection.register()
        if not threads.hand_over(connection) and not threads.holding:
            self.accepting.leave_to_siblings()
        return False

    def execute_inline(self, connection: Connection) -> bool:
        """Execute a request in this thread, the leader; returns as :meth:`execute`."""
        self.calls += 1
        connection.sensor.calls += 1
        exchange = connection.exchange
        exchange.started = self.now if self.access_log is None else monotonic()
        box = self.box
        box.append(connection)
        if self.now >= self.alarm_due:  # behind the box, in this order: see Watchdog.on_alarm()
            self.alarm_due = self.now + ALARM_EVERY
            self.alarm.set()
        self.run_exchange(exchange, self.application)
        head = exchange.head
        code = head.code if head is not None else 0
        if code >= 500:
            self.errors += 1
        if self.access_log is not None:
            self.access_log.record(connection.entry, exchange.environ, code, exchange.sent, exchange.started)
        try:
            box.pop()
        except IndexError:  # the lead was taken; from here on this is an ordinary request thread
            with self._change:
                pass  # whoever took it has put a new box in its place when this lock is free
            if connection.finish_in_thread():
                self.threads.queue(connection)
            return False
        return connection.finish()

    def _execute_measured(self, connection: Connection) -> bool:
        box = self.box
        sensor = connection.sensor
        alone = not self.threads.executing
        self.now = began = sensor.begin(self.disturbed)
        if sensor.suspicious:
            self.watched_until = began + WATCHED
            if self.watchdog_dozes:
                self.watchdog_dozes = False
                self.wake_watchdog()
        going_on = self.execute_inline(connection)
        if self.box is box:
            sensor.end(self.disturbed, alone)
        return going_on

    def execute_in_thread(self, connection: Connection) -> None:
        """Execute a request that was handed over. The request thread that owns it."""
        exchange = connection.exchange
        exchange.started = monotonic()
        self.run_exchange(exchange, self.application)
        head = exchange.head
        code = head.code if head is not None else 0
        if code >= 500:
            self.errors += 1
        if self.access_log is not None:
            self.access_log.record(connection.entry, exchange.environ, code, exchange.sent, exchange.started)
        if connection.finish_in_thread():
            self.threads.queue(connection)

    def relieve(self, count: int) -> None:
        """Allow for `count` threads more, in place of stuck ones; what waits for a thread gets them. Leader only."""
        self.threads.allow(count)  # before the next poll, _hand_out() gives them what waits

    def give_up_lead(self) -> None:
        """Called in a request that is going to wait for its client: if this thread leads, let another one lead."""
        leader = self.leader
        if leader is not None and leader.ident == threading.get_ident():
            self.take_lead()

    def take_lead(self) -> Connection | None:
        """If the leader is inside a call, let another thread lead. The watchdog, or the leader from inside the call.

        :returns: whose request that call serves; None if there is none, or no thread to lead.
        """
        if not self.threads.prepare():
            return None
        with self._change:
            try:
                connection = self.box.pop()
            except IndexError:
                return None
            self.box = []
            leader = self.leader
        assert leader is not None
        self.threads.hand_over_lead(connection, leader)
        return connection

    # -- waiting for a thread -----------------------------------------------------------------------------------------

    def _serve_waiting(self, box: list[Connection]) -> bool:
        """Answer what has waited too long, and have executed what can be. False: the lead is lost."""
        if not self._overdue.answer():
            return False
        threads = self.threads
        if threads.full and threads.waiting.size >= PLENTY:
            sleep(REST)
        return threads.full or threads.holding or self._hand_out(box)

    def _hand_out(self, box: list[Connection]) -> bool:
        """Have executed what waits although there are threads: it was kept back for a trial. False: the lead is lost.

        A trial that waits costs the lead, so the next leader comes here as well: nobody else would find the idle
        threads for these requests.
        """
        threads = self.threads
        while not threads.holding and (connection := threads.take_waiting()) is not None:
            self.handed_over -= 1  # execute() counts it once more
            if self.execute(connection):
                connection.go_on()
            if self.box is not box:
                return False
        return True

    # -- connections --------------------------------------------------------------------------------------------------

    def register(self, connection: Transport) -> None:
        """Report events of a connection, edge-triggered, once and for all. The owner of the connection."""
        self._epoll.register(connection.fd, _EVENTS)

    def unregister(self, connection: Transport) -> None:
        self._epoll.unregister(connection.fd)

    def hand_off(self, connection: Connection) -> None:
        """Send a frozen connection to a worker that serves."""
        self._handoff.put(connection)
        self._handoff.send()

    def forget(self, connection: Connection) -> None:
        """Drop a connection whose socket is about to be closed. The owner of the connection."""
        self.connections.pop(connection.fd, None)
        if (self.closing and not self.connections) or self.accepting.state is FULL:
            self.wake()

    # -- time and the end ---------------------------------------------------------------------------------------------

    def _sweep(self) -> None:
        now = self.now
        self._next_sweep = now + SWEEP_EVERY
        self.accepting.sweep()
        self._overdue.tell()
        idle_before = now - REMEMBER + self.settings.keepalive_timeout
        for connection in list(self.connections.values()):
            deadline = connection.deadline
            if deadline < now:
                connection.on_deadline()
            elif deadline < idle_before:
                connection.forget()
        if self.stopping:
            self.stop()  # once more, for what has become idle or was handed off meanwhile

    def retire(self) -> None:
        """Stop accepting and freeze what is between two requests. What is busy is frozen when its response is written;
        a request whose body is arriving is served here.
        """
        self.closing = True
        self.accepting.stop()
        for connection in list(self.connections.values()):
            connection.freeze()

    def announce_end(self) -> None:
        """Serve on, but close each connection behind its next response, and answer ``--ready-path`` with 503."""
        self.keep_alive = False
        if self.settings.ready_path is not None:
            self.application = NotReady(self.application, self.settings.ready_path)

    def leave(self) -> None:
        """Send the frozen connections away; after the controller has been told that they are frozen."""
        for connection in list(self.connections.values()):
            connection.depart()

    def stop(self) -> None:
        """Accept what the kernel has queued, then stop accepting, and close what is idle."""
        box = self.box
        self.stopping = True
        self.closing = True
        self.keep_alive = False
        self._stopped_at = min(self._stopped_at, self.now)
        if self.accepting.finish(self.settings.backlog):
            self._close_idle(box)
        else:
            self.post(self.stop)  # a request held this thread up; the new leader accepts the rest

    def stop_orphaned(self) -> None:
        """As :meth:`stop`, where nobody has asked for it: what is idle may ask once more, and learn that it closes."""
        self._idle_until = self.now + FAREWELL
        self.stop()

    def _close_idle(self, box: list[Connection]) -> None:
        if self.now < self._idle_until:
            return
        # A client that has just connected gets until the next sweep to send its request.
        fresh_too = self.now >= self._stopped_at + FRESH_GRACE
        for connection in list(self.connections.values()):
            connection.close_if_idle(fresh_too)
            if self.box is not box:
                return  # the next sweep of the new leader goes on


def _limits(settings: Settings) -> Limits:
    return Limits(
        settings.max_request_line,
        settings.max_head_bytes,
        settings.max_fields,
        settings.max_body_bytes,
        settings.allow_connect,
    )


def _waiting(settings: Settings) -> Waiting:
    paths = settings.health_paths if settings.ready_path is None else (*settings.health_paths, settings.ready_path)
    return Waiting(paths, timed=settings.queue_timeout > 0)


def _nothing() -> None:
    pass
