"""Greenlets (``-t 0``): each request that waits has one of its own, all of them in the main thread.

gevent's hub is the greenlet that all others leave the thread to when they wait; it polls what they wait for. One
greenlet leads: it runs the loop, and waits for the loop's epoll descriptor, which is itself pollable, like any other
(:meth:`Greenlets._poll`). It executes requests inline, so one that does not wait costs no greenlet. When a call waits,
the hub has the thread while the token is in the box (``lead``): then a new greenlet leads as soon as anything has
happened, and the old one is that request's, and ends with it. Nobody runs beside anybody: between two places where a
greenlet waits, everything is as with one thread.

What a worker's main thread does otherwise is done by a thread of the system's here, the *attendant*: it must go on when
a greenlet does not yield, above all to say so (``unyielding``). It knows of greenlets only what any thread may look at,
and posts what concerns them to the loop.

Only this module, and what is at its side for ``-t 0``, imports gevent.
"""

import gc
import os
import select
import signal
import traceback
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from sys import getrefcount
from time import monotonic
from types import FrameType
from typing import Any, Final, cast

from gevent import Greenlet, getcurrent, spawn
from gevent._hub_local import set_hub, set_loop
from gevent.event import Event
from gevent.hub import get_hub
from gevent.lock import BoundedSemaphore
from greenlet import greenlet

from spawning.logs.setup import finish
from spawning.primitives import Bell, allocate_lock, current_frames, get_ident, get_native_id, start_new_thread
from spawning.worker.context import Context
from spawning.worker.executor import Executor, Poll, RunExchange, Runner
from spawning.worker.roles import Job
from spawning.worker.vanished import Vanished
from spawning.wsgi.exchange import Exchange, WSGIApplication

LAST: Final = 1.0  # seconds for the greenlet that runs to yield, when the worker is given up
SIGNAL: Final = signal.SIGRTMAX  # for what concerns the running greenlet; hardly an application uses it
EVENTS: Final = 16  # that the loop handles at a time, so that the others have their turns
_READ: Final = 1  # an event of gevent's loop


class RequestGreenlet(Greenlet):  # type: ignore[type-arg] # it takes no arguments
    """Leads until a call of the application waits, and ends with that; or executes one job.

    :ivar job: what it executes; None while it leads.
    :ivar in_tunnel: its job does not count.
    :ivar begun: it has been switched to.
    """

    def __init__(self, greenlets: "Greenlets", job: Job | None, number: int) -> None:
        super().__init__()
        self.job = job
        self.in_tunnel = False
        self.begun = False
        self.native_id = greenlets.native_id
        self._greenlets = greenlets
        self._number = number

    @property
    def name(self) -> str:
        return f"greenlet {self._number}"

    def wake(self) -> None:
        self._greenlets.start(self)

    def is_current(self) -> bool:
        return getcurrent() is self

    def stack(self) -> str:
        return self._greenlets.stack(self)

    def _run(self) -> None:
        self.begun = True
        self._greenlets.work(self)


class Greenlets(Executor):
    """See the module.

    :param context: of the worker.

    :ivar native_id: of the thread that all of them share.
    :ivar turns: that the loop has had.
    """

    threaded = False

    def __init__(self, context: Context) -> None:
        super().__init__(context, context.settings.max_green, context.settings.max_green)
        self.turns = 0
        self.native_id = get_native_id()
        self._thread = get_ident()
        self._hub = get_hub()
        # Else an application's sys.exit() in a greenlet of its own would be raised here.
        self._hub.handle_system_error = _ignore  # type: ignore[method-assign,assignment]
        self._number = 0
        self._running: set[RequestGreenlet] = set()
        self._end = Event()
        self._run_in_hub = self._hub.loop.run_callback
        self._vanished = Vanished(self._run_in_hub)
        self._strikes: deque[Callable[[], object]] = deque()
        signal.signal(SIGNAL, self._on_signal)
        # The loop, as the hub sees it. A leader that may have more to do than one event is looked at as soon as the hub
        # has the thread again: if it waits inside a call, nothing else might happen for long.
        self._look: Any = None
        self._leader: RequestGreenlet | None = None  # while it waits for events
        self._successor: RequestGreenlet | None = None  # is about to lead
        self._watcher: Any = None
        self._timer: Any = None
        self._due = 0.0  # (monotonic seconds) when the timer goes off

    @property
    def runners(self) -> list[Runner]:
        return list(self._running)

    def serve(self, attend: Callable[[], None]) -> None:
        attendant = _Attendant(attend, self.end)
        attendant.start()
        self.reserve().wake()
        self._end.wait()
        attendant.left.release()
        attendant.join()

    def end(self) -> None:
        """Have the main greenlet return from :meth:`serve`, whatever is under way. Any thread."""
        self._context.post(self._end.set)

    # -- the lead -----------------------------------------------------------------------------------------------------

    def reserve(self) -> RequestGreenlet:
        return self._new(None)

    def release(self, runner: Runner) -> None:
        """Do nothing: it has not begun, and costs nothing."""

    def make_bell(self) -> Bell:
        return BoundedSemaphore()

    def around(self, run: RunExchange) -> RunExchange:
        self._inner = run
        return self._run_exchange

    def _run_exchange(self, exchange: Exchange, application: WSGIApplication) -> None:
        """Run an exchange with the application; a greenlet that it goes on to refer to leads no more.

        What it has left behind, such as a time-out that was not cancelled, would strike other requests in the same
        greenlet.
        """
        me = getcurrent()
        before = getrefcount(me)
        self._inner(exchange, application)
        if getrefcount(me) > before:
            self.take_lead()

    def poll(self, epoll: select.epoll) -> Poll:
        if self._watcher is None:
            self._watcher = self._hub.loop.io(epoll.fileno(), _READ)
            self._watcher.start(self._on_events)
            self._epoll = epoll.poll
        return self._poll

    def _poll(self, seconds: float) -> list[tuple[int, int]]:
        """Let the others run until something has happened, or for so many seconds."""
        now = monotonic()
        if not now < self._due <= now + seconds:  # one that goes off early does no harm, and is not set anew each time
            self._set_timer(now, seconds)
        if self._look is not None:
            self._look.stop()
            self._look = None
        self._leader = cast(RequestGreenlet, getcurrent())
        # boundary: it may have executed a request before, and now gets the time-out that the application set there
        with suppress(BaseException):
            self._hub.switch()
        self._leader = None
        self.turns += 1
        events: list[tuple[int, int]] = self._epoll(0, EVENTS)
        if len(events) > 1 or self.waiting.size or not self._due:
            self._look = self._run_in_hub(self._on_events)
        return events

    def _set_timer(self, now: float, seconds: float) -> None:
        if self._timer is not None:
            self._timer.close()
        self._due = now + seconds
        self._timer = self._hub.loop.timer(seconds)
        self._timer.start(self._on_time, update=True)

    def _on_time(self) -> None:
        self._due = 0.0
        self._on_events()

    def _on_events(self) -> None:
        """Switch to the leader, or have another greenlet lead, if the leader waits inside the application. The hub."""
        leader = self._leader
        if leader is not None:
            leader.switch()
        elif self._successor is None:
            self.take_lead()

    # -- jobs ---------------------------------------------------------------------------------------------------------

    def hand_over(self, job: Job) -> bool:
        with self.lock:
            if self._context.full:
                self.waiting.put(job)
                return False
            self._count(1)
        self.start(self._new(job))
        return True

    def ident(self) -> int:
        return id(getcurrent())

    def note_held_up(self, runner: Runner, job: Job) -> None:
        super().note_held_up(runner, job)
        with suppress(OSError):  # the kernel has no room: nobody will tell that the client goes
            job.register()

    def sweep(self) -> None:
        self._vanished.look([greenlet for greenlet in self._running if greenlet.job is not None])

    def start_beside(self, function: Callable[[], None]) -> None:
        spawn(function)

    def stay_in_child(self) -> None:
        """Make a hub of its own in a process that the application has forked, on a loop without any watchers: what that
        process waits for must not let requests go on that are the worker's.
        """
        with suppress(Exception):  # boundary: as in ``children``
            self._hub.loop.destroy()
        set_loop(None)  # type: ignore[arg-type]
        set_hub(None)  # type: ignore[arg-type]
        get_hub()

    def _new(self, job: Job | None) -> RequestGreenlet:
        self._number += 1
        return RequestGreenlet(self, job, self._number)

    def start(self, greenlet: RequestGreenlet) -> None:
        """Have a greenlet run soon."""
        if greenlet.job is None:
            self._successor = greenlet
        self._running.add(greenlet)
        greenlet.start()

    def work(self, greenlet: RequestGreenlet) -> None:
        """Lead, or execute a job, until there is no more to do; that greenlet."""
        try:
            if greenlet.job is not None:
                self.run(greenlet.job)
            else:
                self._successor = None
                self._look = self._run_in_hub(self._on_events)
                if not self.lead(greenlet):
                    self._end.set()
                    return
        except BaseException:  # boundary: without its loop a worker would serve nobody, and nobody would notice
            self.fail()
            self._end.set()
        finally:
            self._running.discard(greenlet)
        self._go_on(greenlet)

    def _go_on(self, ended: RequestGreenlet) -> None:
        """Have the next job executed, behind one that has ended."""
        context = self._context
        with self.lock:
            if ended.in_tunnel:  # it has not been counted
                self.tunnels -= 1
                return
            if self.waiting.size and self.executing <= self.limit:
                job = self.waiting.take()
            else:
                was_full = context.full
                self._count(-1)
                if (was_full and context.crowded) or (self.executing == 0 and context.closing):
                    context.mail.wake()
                return
        self.start(self._new(job))

    # -- interrupting -------------------------------------------------------------------------------------------------

    def throw(self, action: Callable[[], object]) -> None:
        """Have something called by the hub, where nothing else runs. Any thread."""
        self._context.post(partial(self._run_in_hub, action))

    def strike(self, action: Callable[[], object]) -> None:
        """Have something called in whichever greenlet is running, also one that does not yield. Any thread."""
        self._strikes.append(action)
        signal.pthread_kill(self._thread, SIGNAL)

    def _on_signal(self, _signal: int, _frame: FrameType | None) -> None:
        while self._strikes:
            self._strikes.popleft()()

    # -- looking from outside: any thread -----------------------------------------------------------------------------

    @property
    def yielding(self) -> bool:
        """Whether the hub has the thread: it waits for events, or chooses what runs next."""
        return _runs(self._hub)

    def running(self) -> RequestGreenlet | None:
        """Return the request's greenlet that has the thread, if one has."""
        return next((each for each in list(self._running) if each.begun and _runs(each)), None)

    def frame(self) -> FrameType | None:
        """Return where the thread is."""
        return current_frames().get(self._thread)

    def stacks(self) -> dict[str, str]:
        """Return where all threads and greenlets are, those of the application too; equal ones together."""
        names: dict[str, list[str]] = {}
        for each in [each for each in gc.get_objects() if isinstance(each, greenlet)]:
            if each.gr_frame is not None:
                stack = self.stack(each)
                names.setdefault(stack, []).append(getattr(each, "name", type(each).__name__))
        return {**super().stacks(), **{_together(sorted(each)): stack for stack, each in names.items()}}

    def stack(self, greenlet: Any) -> str:
        """Return where a greenlet is, as a traceback shows it; empty when it has ended."""
        frame = self.frame() if _runs(greenlet) else greenlet.gr_frame
        return "".join(traceback.format_stack(frame)) if frame is not None else ""


def _together(names: list[str]) -> str:
    """Name several greenlets.

    >>> _together(["greenlet 1", "greenlet 2", "greenlet 3", "greenlet 4"])
    'greenlet 1, greenlet 2, greenlet 3 and 1 more'
    """
    more = len(names) - 3
    return ", ".join(names[:3]) + (f" and {more} more" if more > 0 else "")


def _runs(greenlet: Any) -> bool:
    """Whether a greenlet that has begun has its thread. Any thread."""
    return greenlet.gr_frame is None and not greenlet.dead


class _Attendant:
    """Does what a main thread does otherwise; see ``Executor.serve``. ``threading`` does not know it, since that knows
    greenlets here.

    :param attend: all of that.
    :param end: has the main thread end.

    :ivar left: is released when it does.
    """

    def __init__(self, attend: Callable[[], None], end: Callable[[], None]) -> None:
        self.left = allocate_lock()
        self.left.acquire()
        self._running = allocate_lock()
        self._running.acquire()
        self._attend = attend
        self._end = end

    def start(self) -> None:
        """Start the thread.

        :raises RuntimeError: the system gives no more threads.
        """
        start_new_thread(self._run, ())

    def join(self) -> None:
        """Wait for its end."""
        self._running.acquire()

    def _run(self) -> None:
        try:
            self._attend()
        finally:
            self._end()
            if not self.left.acquire(timeout=LAST):
                finish()
                os._exit(1)
            self._running.release()


def _ignore(kind: type[BaseException], error: BaseException | None, trace: object = None, /) -> None:
    """Do nothing about an error that gevent would raise in the main greenlet, having printed it."""
