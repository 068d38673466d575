"""The event loop of a worker: poll, mail, sweep, retire, stop.

One thread at a time runs it, the leader (``lead``). It knows descriptors and pollables (``roles``), and neither HTTP
nor what threads do. Everything here is for the leader only, but :meth:`Loop.retire` and its like may be posted by any
thread (``mail``).

What one pollable, one posted action or one event raises costs that one alone. ``LeadLost`` is no failure: it ends
:meth:`Loop.lead`, and the next leader goes on with what is left: polled events in ``_events``, an iterator, and actions
in the mail.
"""

import os
from collections.abc import Callable, Iterator
from time import monotonic, time
from typing import Final

from spawning.ipc.channel import Channel
from spawning.logs.log import Log
from spawning.worker.accepting import LOOKS, ON, Accepting
from spawning.worker.bug import tell_of_bug
from spawning.worker.context import Context
from spawning.worker.dispatch import Dispatch
from spawning.worker.executor import Runner
from spawning.worker.handoff import HandoffSocket
from spawning.worker.listener import Listeners
from spawning.worker.poller import ENDED, Poller
from spawning.worker.roles import LeadLost, Pollable

SWEEP_EVERY: Final = 1.0  # seconds between looks at the deadlines
FAREWELL: Final = 5.0  # seconds that an idle connection is kept when the controller has died
REMEMBER: Final = 2.0  # seconds that an idle connection remembers its last request, to read an equal one faster
FRESH_GRACE: Final = 0.5  # seconds that a new connection may take to send its request when the worker stops

log = Log("spawning.worker")


class Loop:
    """See the module.

    :param context: of the worker.
    :param dispatch: executes requests.
    :param listeners: of the worker.
    :param handoff: sending and receiving end of the handoff socket.
    :param room: most connections at a time.
    :param on_end: called once, by the leader, when the last connection of a retired worker is gone.

    :ivar failed: a bug has ended the loop.
    """

    def __init__(
        self,
        context: Context,
        dispatch: Dispatch,
        listeners: Listeners,
        handoff: tuple[Channel, Channel],
        room: int,
        on_end: Callable[[], None],
    ) -> None:
        self.failed = False
        self._context = context
        self._dispatch = dispatch
        self._on_end = on_end
        self._poller = Poller(context)
        self._handoff = HandoffSocket(context, self._poller, listeners, *handoff)
        self._accepting = Accepting(context, self._poller, listeners.listening, self._handoff, room)
        self._events: Iterator[tuple[int, int]] = iter(())
        self._in_threads = 0  # jobs that have been handed over as of the last poll
        self._next_sweep = 0.0
        self._stopped_at = float("inf")
        self._idle_until = 0.0
        self._keepalive_timeout = context.settings.keepalive_timeout
        context.poller = self._poller
        context.hand_off = self._handoff.put
        context.stand_back = self.stand_back
        dispatch.executor.lead = self.lead
        dispatch.executor.failed = self.fail

    @property
    def connections(self) -> int:
        """How many are served here. Any thread."""
        return len(self._poller.pollables) - 2 * self._context.ferries

    @property
    def ferries(self) -> int:
        """How many are served elsewhere, through this worker. Any thread."""
        return self._context.ferries

    # -- leading ------------------------------------------------------------------------------------------------------

    def lead(self, me: Runner) -> bool:
        """Run the loop until the lead is lost (True) or the worker has ended (False)."""
        dispatch = self._dispatch
        dispatch.lead.leader = me
        executor = dispatch.executor
        context = self._context
        poll = executor.poll(self._poller.epoll)
        try:
            while True:
                self._handle_events()
                seconds = self._between_polls()
                if seconds is None:
                    return False
                polled = poll(seconds)
                context.now = context.polled = now = monotonic()
                context.idle_deadline = now + self._keepalive_timeout
                context.clock.set(time())
                in_threads = dispatch.handed_over + executor.read
                context.contended = in_threads != self._in_threads
                self._in_threads = in_threads
                self._events = iter(polled)
        except LeadLost:
            return True

    def _handle_events(self) -> None:
        pollables = self._poller.pollables
        for fd, events in self._events:
            pollable = pollables.get(fd)
            if pollable is None:
                self._on_other_event(fd)
                continue
            if events >= ENDED:
                pollable.ended = True  # perhaps behind the last data, and no other event tells of it
            try:
                pollable.on_event()
            except Exception:  # boundary: a bug that one connection has found must not cost the others theirs
                self._poller.drop(pollable)

    def _between_polls(self) -> float | None:
        """Do what is not an event. Raises LeadLost.

        :returns: how long (seconds) to wait for the next event; None: the worker has ended.
        """
        context = self._context
        dispatch = self._dispatch
        executor = dispatch.executor
        seconds = SWEEP_EVERY
        if executor.holding or executor.waiting.size:
            self._guarded(dispatch.before_poll)
        if context.now >= self._next_sweep:
            self._next_sweep = context.now + SWEEP_EVERY
            self._guarded(self._sweep)
        if context.crowded or self._accepting.state is not ON:
            self._guarded(self._accepting.look)
            seconds = LOOKS.get(self._accepting.state, SWEEP_EVERY)
        if context.closing and not self._poller.pollables and dispatch.idle and context.mail.empty:
            self._on_end()
            return None
        if executor.holding or executor.waiting.size:
            seconds = min(seconds, dispatch.seconds_left())
        return seconds

    def fail(self) -> None:
        """End the worker: the loop cannot go on, and the controller has others forked. Any thread."""
        self.failed = True
        self._on_end()

    def _on_other_event(self, fd: int) -> None:
        if fd == self._context.mail.fd:
            self._deliver()
        elif fd == self._handoff.sending_fd:
            self._guarded(self._handoff.send)
        else:
            self._guarded(self._accepting.on_event, fd)

    def _deliver(self) -> None:
        """Do what has been posted by now. Raises LeadLost; the rest is for the new leader then.

        What is posted meanwhile is done behind the next poll: a client whose turn is over posts that it goes on, and
        others have theirs first.
        """
        mail = self._context.mail
        try:
            for _ in range(mail.open()):
                action = mail.take()
                assert action is not None
                self._guarded(action)
        except LeadLost:
            if not mail.empty:
                mail.wake()
            raise

    def _guarded(self, action: Callable[..., object], *arguments: object) -> None:
        """Do something that must not end the loop, whatever it raises but LeadLost."""
        try:
            action(*arguments)
        except Exception:  # boundary: one action that fails must not strand those behind it
            tell_of_bug("the worker goes on")

    # -- time and the end ---------------------------------------------------------------------------------------------

    def _sweep(self) -> None:
        context = self._context
        self._accepting.sweep()
        self._handoff.sweep()
        self._dispatch.sweep()
        idle_before = context.polled - REMEMBER + self._keepalive_timeout
        self._for_each(_look_at_deadline, context.polled, idle_before)
        if context.stopping:
            self.stop()  # once more, for what has become idle or was handed off meanwhile

    def start(self) -> None:
        """Accept from now on."""
        self._accepting.start()

    def retire(self) -> None:
        """Stop accepting and freeze what is between two requests. What is busy is frozen when its response is written;
        a request whose body is arriving is served here.
        """
        self._context.closing = True
        self._accepting.stop()
        self._for_each(_freeze)

    def stand_back(self) -> None:
        """Retire, since others serve already: a leader has seen it (``ipc/fence.py``) before the main thread was told.
        The main thread will tell the controller.
        """
        if not self._context.closing:
            log.warning("worker has been succeeded before it knew, and moves its connections pid=%d", os.getpid())
            self.retire()
            self.leave()

    def announce_end(self) -> None:
        """Serve on, but close each connection behind its next response, and answer ``--ready-path`` with 503."""
        self._context.keep_alive = False
        self._dispatch.announce_end()

    def leave(self) -> None:
        """Send the frozen connections away; after the controller has been told that they are frozen."""
        self._for_each(_depart)

    def stop(self) -> None:
        """Accept what the kernel has queued, then stop accepting, and close what is idle. Raises LeadLost."""
        context = self._context
        context.stopping = True
        context.closing = True
        context.keep_alive = False
        self._stopped_at = min(self._stopped_at, context.now)
        try:
            self._accepting.finish(context.settings.backlog)
        except LeadLost:
            context.post(self.stop)  # the new leader accepts the rest
            raise
        self._close_idle()

    def stop_orphaned(self) -> None:
        """As :meth:`stop`, where nobody has asked for it: what is idle may ask once more, and learn that it closes."""
        self._idle_until = self._context.now + FAREWELL
        self.stop()

    def _close_idle(self) -> None:
        """Close what is idle. Raises LeadLost; the next sweep of the new leader goes on then."""
        now = self._context.now
        if now < self._idle_until:
            return
        # A client that has just connected gets until the next sweep to send its request.
        fresh_too = now >= self._stopped_at + FRESH_GRACE
        self._for_each(_close_if_idle, fresh_too)

    def close_in_child(self) -> None:
        """Close what is this worker's, in a process that the application has forked; there nothing goes on."""
        for pollable in list(self._poller.pollables.values()):
            pollable.disown()
        self._poller.epoll.close()

    def _for_each(self, action: Callable[..., None], *arguments: object) -> None:
        """Do something with each pollable; what one of them raises, but LeadLost, costs that one alone."""
        for pollable in list(self._poller.pollables.values()):
            try:
                action(pollable, *arguments)
            except Exception:  # boundary: as for events
                self._poller.drop(pollable)


def _look_at_deadline(pollable: Pollable, polled: float, idle_before: float) -> None:
    deadline = pollable.deadline
    if deadline < polled:
        pollable.on_deadline()
    elif deadline < idle_before:
        pollable.forget()


def _freeze(pollable: Pollable) -> None:
    pollable.freeze()


def _depart(pollable: Pollable) -> None:
    pollable.depart()


def _close_if_idle(pollable: Pollable, fresh_too: bool) -> None:
    pollable.close_if_idle(fresh_too)
