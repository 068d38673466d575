"""A worker's main thread: the channel to the controller, the watchdog, the access log, the end.

It never touches a connection: what concerns the loop is posted to the leader. A closed channel means that the
controller is dead: the worker stops accepting, finishes what is under way, and exits.
"""

import contextlib
import os
import select
import signal
import socket
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from time import monotonic
from types import FrameType
from typing import Any, Final

from spawning.address import parse
from spawning.ipc.channel import Channel
from spawning.ipc.fence import attach
from spawning.ipc.messages import (
    Announce,
    AskDetails,
    EndStreams,
    Frozen,
    Message,
    OpenConsole,
    Ready,
    Renew,
    ReopenLog,
    ReopenStream,
    Report,
    Retire,
    Start,
    Stop,
    Unwell,
)
from spawning.logs.access import AccessLog
from spawning.logs.log import Log
from spawning.logs.setup import lost_lines, redirect
from spawning.net import tickets
from spawning.net.identity import HTTP_1_1, Identity, Material, context_of, pick_up, policy
from spawning.primitives import sleep
from spawning.settings import Settings
from spawning.settings.destination import is_file
from spawning.standard import occupy
from spawning.worker import children
from spawning.worker.bug import keep_recursion_limit, mend_recursion_limit
from spawning.worker.console import Backdoor
from spawning.worker.context import Context
from spawning.worker.descriptors import room_for_connections
from spawning.worker.details import details, executions, queued
from spawning.worker.dispatch import Dispatch
from spawning.worker.ending import Ending
from spawning.worker.handshake import Handshake
from spawning.worker.http1 import Http1
from spawning.worker.leaving import look_after_end
from spawning.worker.listener import Listener, Listeners
from spawning.worker.logfile import open_anew, open_log
from spawning.worker.loop import Loop
from spawning.worker.modes import mode
from spawning.worker.preamble import accepted
from spawning.worker.secured import Ferried, Secured
from spawning.worker.tally import errors
from spawning.worker.timeouts import Timeouts, nothing_but
from spawning.wsgi.environ import EnvironBase
from spawning.wsgi.errors import ErrorStream
from spawning.wsgi.exchange import WSGIApplication
from spawning.wsgi.forwarded import Trust
from spawning.wsgi.https import redirected
from spawning.wsgi.input import find_directory
from spawning.wsgi.mount import mounted
from spawning.wsgi.names import method_of, path_of, shown
from spawning.wsgi.request_id import id_at_end, identified

REPORT_EVERY: Final = 1.0  # seconds
ORPHAN_SECONDS: Final = 30.0  # seconds to finish when the controller is dead
PAUSE: Final = 0.05  # seconds behind a turn that has failed
_poll: Final = select.poll  # by this name, whatever the application makes of the module
LOG_AWAKE: Final = 0.05  # seconds between writes of the access log while requests come in

log = Log("spawning.worker")


def run(
    *,
    name: str,
    application: WSGIApplication,
    settings: Settings,
    channel: Channel,
    handoff: tuple[Channel, Channel],
    listeners: Sequence[tuple[str, socket.socket]],
    files: Sequence[str],
    opens_log: bool,
) -> int:
    """Serve until told to retire or stop.

    :param name: generation and number, ``"7.2"``.
    :param application: the WSGI application.
    :param settings: of the generation.
    :param channel: the worker's end.
    :param handoff: sending and receiving end of the handoff socket.
    :param listeners: the controller's listening sockets, non-blocking, each behind its address (``address.py``).
    :param files: reported with ``Ready``.
    :param opens_log: nobody hands this worker its access log.
    :returns: the exit status: 0, or 1 when requests had to be given up.
    """
    keep_recursion_limit()
    access_log = open_log(settings, opens_log)
    worker = Worker(name, application, settings, channel, handoff, listeners, access_log)
    status = worker.run(files)
    look_after_end(name, min(worker.ending.give_up_at, monotonic() + settings.deadman_timeout))
    return status


def _https_port(listeners: Sequence[tuple[str, socket.socket]]) -> int:
    """Return the port of the first listener that speaks TLS; 443 if a proxy does so in our place."""
    addresses = (parse(name) for name, _ in listeners)
    return next((each.port for each in addresses if each.secure and each.port), 443)


def _picked_up(fd: int) -> Material:
    try:
        return pick_up(fd)
    finally:
        os.close(fd)


def redirect_beside(message: ReopenStream, fds: Sequence[int]) -> None:
    """Have a stream of this process be the file that was handed on beside a message."""
    for fd in fds:
        redirect(message.stream, fd)
        os.close(fd)


def _poll_for(*descriptors: int) -> select.poll:
    """Make what tells when one of them is readable."""
    made = _poll()
    for each in descriptors:
        made.register(each, select.POLLIN)
    return made


class Worker:
    """See the module and :func:`run`."""

    def __init__(
        self,
        name: str,
        application: WSGIApplication,
        settings: Settings,
        channel: Channel,
        handoff: tuple[Channel, Channel],
        listeners: Sequence[tuple[str, socket.socket]],
        access_log: AccessLog | None,
    ) -> None:
        self.name = name
        self._settings = settings
        self._channel = channel
        self._access_log = access_log
        self._handed: list[int] = []  # descriptors beside the message that was received last
        self._backdoor = Backdoor(
            name, settings.backdoor, {"application": application, "settings": settings, "worker": self}
        )
        application = redirected(mounted(application, settings.script_name), settings, _https_port(listeners))
        application = identified(application, settings.request_id_header)
        find_directory()
        context = self._context = Context(settings, access_log)
        executor, watchdog, call = mode(context, name)
        self._errors = ErrorStream(ident=executor.ident)
        secure = any(parse(each).secure for each, _ in listeners)
        room = room_for_connections(settings.max_connections, executor.limit, executor.threaded, secure)
        self._dispatch = context.dispatcher = Dispatch(context, application, self._access_log, executor)
        self._dispatch.wake_watchdog = self._wake
        self._watchdog = watchdog(self._dispatch)
        self._trust = Trust(settings.forwarded_allow_ips) if settings.forwarded_allow_ips else None
        self._proxies = Trust(settings.proxy_allow_ips)
        self._identity = Identity()
        own = Listeners([self._listener(name, sock) for name, sock in listeners], self._listener)
        self._loop = Loop(context, self._dispatch, own, handoff, room, self._on_end)
        self._wake_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._poll = _poll_for(channel.fileno(), self._wake_fd, self._dispatch.alarm.fd)
        self._timeouts = Timeouts(name, settings.request_timeout, call) if settings.request_timeout else None
        if self._timeouts is not None:
            self._dispatch.run_exchange = executor.around(self._timeouts.run)
        self._handlers: dict[type[Any], Callable[[Message], None]] = {
            Start: self._on_start,
            Renew: self._on_renew,
            Retire: self._on_retire,
            Announce: self._on_announce,
            Stop: self._on_stop,
            EndStreams: self._on_end_streams,
            ReopenLog: self._on_reopen,
            ReopenStream: self._on_reopen_stream,
            AskDetails: self._on_ask_details,
            OpenConsole: self._on_open_console,
        }
        self._ended = False
        self._status = 1
        self.ending = Ending(self._dispatch, self._loop)
        self._unwell = ""  # why it is to be replaced, which the controller has to be told
        self._relieved = 0  # stuck requests whose threads have been replaced
        self._next_report = 0.0
        self._next_flush = 0.0
        children.close_in_children(self._close_in_child)
        children.handles(self._on_term)

    def _listener(self, name: str, sock: socket.socket | None = None) -> Listener:
        address = parse(name)
        settings = self._settings
        server_name, server_port = address.server
        base = EnvironBase(
            server_name=server_name,
            server_port=server_port,
            multithread=settings.threadpool_workers != 1,
            multiprocess=settings.num_processes > 1,
            errors=self._errors,
            trust=self._trust,
            request_id_header=settings.request_id_header,
        )
        first, proxies = (accepted, self._proxies) if address.proxy else (None, None)
        if address.secure:
            base = base.saying({"wsgi.url_scheme": "https", "HTTPS": "on"})
            return Listener(name, sock, base, Handshake, first, proxies, self._identity, {HTTP_1_1: Secured}, Ferried)
        return Listener(name, sock, base, Http1, first, proxies)

    def run(self, files: Sequence[str]) -> int:
        """Serve; see :func:`run`."""
        signal.signal(signal.SIGTERM, self._on_term)
        self._channel.sock.setblocking(False)
        self._channel.send(Ready(list(files)))
        self._dispatch.executor.serve(self._attend)
        return self._status

    def _attend(self) -> None:
        """Do what there is for the main thread to do, until the worker has ended or what is left is given up."""
        while not (self._ended or self.ending.is_over()):
            try:
                self._turn()
            except BaseException:  # boundary: a signal handler of the application raises here, whatever thread it means
                self._tell_of_exception()
        if self._access_log is not None:
            self._access_log.end()
        self._errors.close()
        self._report()  # what has been counted since the last time
        self._status = int(self._loop.failed) if self._ended else self._name_stuck_requests()

    # -- one turn of the main thread ----------------------------------------------------------------------------------

    def _turn(self) -> None:
        before = monotonic()
        tick = self._watchdog.tick(before)
        if before >= self._next_report:
            self._report()
            self._look_after_process()
            self._next_report = before + REPORT_EVERY
            if self._timeouts is not None:
                self._look_for_stuck_requests(self._timeouts, before)
            self._ask_for_replacement()
        self.ending.look(before)
        soon = LOG_AWAKE if self._access_log is not None and self._access_log.waiting else REPORT_EVERY
        wait = max(0.0, min(tick, self._next_report - before, soon, self.ending.until - before))
        ready = self._poll.poll(wait * 1000)
        self._dispatch.disturbed += 1
        now = monotonic()
        if ready:
            self._on_ready([fd for fd, _ in ready], now)
        elif wait == tick:
            self._watchdog.look(now, wait, now - before - wait)
        if self._access_log is not None and now >= self._next_flush:
            self._access_log.flush()
            self._next_flush = now + LOG_AWAKE

    def _tell_of_exception(self) -> None:
        """Log what a turn has raised, and pause: the next one may do so as well."""
        with contextlib.suppress(BaseException):  # boundary: as for the turn itself
            mend_recursion_limit()
            log.exception("exception in the main thread, the worker goes on worker=%s", self.name)
            sleep(PAUSE)

    def _look_for_stuck_requests(self, timeouts: Timeouts, now: float) -> None:
        self._unwell = timeouts.look(now) or self._unwell
        stuck = timeouts.stuck
        if len(stuck) > self._relieved:
            self._context.post(partial(self._dispatch.relieve, len(stuck) - self._relieved))
            self._relieved = len(stuck)
        if self._context.closing and stuck and nothing_but(stuck, self._dispatch, self._loop):
            self.ending.give_up_at = now

    def _look_after_process(self) -> None:
        """Mend what a view has changed for all. What got the number of a descriptor that was closed has been moved."""
        mend_recursion_limit()
        with contextlib.suppress(OSError):  # no descriptor is left: the next time
            occupy()

    def _ask_for_replacement(self) -> None:
        if self._unwell:
            with contextlib.suppress(BlockingIOError):  # else the next time
                self._channel.send(Unwell(self._unwell))
                self._unwell = ""

    def _on_ready(self, descriptors: list[int], now: float) -> None:
        if self._dispatch.alarm.fd in descriptors:
            self._watchdog.on_alarm(now)
        if self._wake_fd in descriptors:
            os.eventfd_read(self._wake_fd)
        if self._channel.fileno() in descriptors:
            self._receive()

    def _wake(self) -> None:
        os.eventfd_write(self._wake_fd, 1)

    def _on_end(self) -> None:
        self._ended = True
        self._wake()

    # -- the controller -----------------------------------------------------------------------------------------------

    def _receive(self) -> None:
        try:
            message, self._handed = self._channel.receive()
        except BlockingIOError:
            return
        except ValueError as error:  # from a controller that is newer than this worker
            log.warning("message not understood worker=%s reason=%r", self.name, str(error))
            return
        if message is None:
            self._on_orphaned()
        else:
            self._handlers[type(message)](message)

    def _on_start(self, message: Message) -> None:
        assert isinstance(message, Start)
        if self._handed:  # a controller of an earlier version gives none
            self._context.fence = attach(self._handed[0])
            self._context.term = message.term
        if len(self._handed) > 1:
            self._identify(self._handed[1], message.tickets)
        self._context.post(self._loop.start)

    def _on_renew(self, message: Message) -> None:
        assert isinstance(message, Renew)
        if self._handed:
            self._identify(self._handed[0], message.tickets)

    def _identify(self, fd: int, keys: str) -> None:
        """Show clients these certificates from the next handshake on.

        :param fd: of what has been read, which is closed.
        :param keys: of session tickets.
        """
        material = _picked_up(fd)
        context = context_of(material, self._settings, {})
        if keys:
            tickets.share(context, tickets.of_policy(bytes.fromhex(keys), policy(material, self._settings)))
        self._identity.context = context

    def _on_retire(self, message: Message) -> None:
        assert isinstance(message, Retire)
        self.ending.leave(message.seconds, message.ferrying)
        self._context.post(self._loop.retire)
        self._context.post(self._acknowledge)
        self._context.post(self._loop.leave)
        self._context.post(self._report)  # whether there is anything left but ferries

    def _on_announce(self, _: Message) -> None:
        self._context.post(self._loop.announce_end)

    def _on_stop(self, message: Message) -> None:
        assert isinstance(message, Stop)
        self.ending.stop(message.seconds)
        self._context.post(self._loop.stop)
        self._context.post(self._acknowledge)

    def _on_end_streams(self, _: Message) -> None:
        self.ending.cut_streams()

    def _acknowledge(self) -> None:
        with contextlib.suppress(BlockingIOError):  # the controller does not read, and will go on without the answer
            self._channel.send(Frozen())

    def _on_reopen(self, _: Message) -> None:
        path = self._settings.access_log_file
        if self._access_log is None or not is_file(path):
            for descriptor in self._handed:
                os.close(descriptor)
        elif self._handed:
            self._access_log.use(self._handed[0])
        else:
            open_anew(self._access_log, path)

    def _on_reopen_stream(self, message: Message) -> None:
        assert isinstance(message, ReopenStream)
        redirect_beside(message, self._handed)

    def _on_ask_details(self, message: Message) -> None:
        assert isinstance(message, AskDetails)
        # A controller that does not read gets no answer, and tells its client so.
        with contextlib.suppress(BlockingIOError):
            self._channel.send(details(self._dispatch, message.question, message.stacks, monotonic()))

    def _on_open_console(self, _: Message) -> None:
        for fd in self._handed:
            self._backdoor.open(fd)

    def _on_orphaned(self) -> None:
        log.error("controller died worker=%s pid=%d", self.name, os.getpid())
        self._poll.unregister(self._channel.fileno())
        self.ending.stop(min(ORPHAN_SECONDS, self.ending.give_up_at - monotonic()))
        self._context.post(self._loop.stop_orphaned)

    def _on_term(self, _signal: int, _frame: FrameType | None) -> None:
        # The controller knows whether all are to end, since it has got the signal too, or this worker alone.
        self._unwell = "SIGTERM"
        self._next_report = 0.0
        self._wake()

    def _report(self) -> None:
        dispatch = self._dispatch
        executor = dispatch.executor
        report = Report(
            requests=dispatch.requests,
            errors=self._context.errors,
            executing=executor.executing + len(dispatch.lead.box),
            queued=executor.waiting.size,
            connections=self._loop.connections,
            inline=dispatch.calls,
            refused=self._context.refused,
            threads=len(executor.runners),
            tunnels=executor.tunnels,
            ferries=self._loop.ferries,
            lost=self._lost(),
        )
        if (tally := self._context.tally) is not None:
            statuses = tally.statuses()
            report = replace(
                report,
                errors=report.errors + errors(statuses),
                statuses=statuses,
                latency=tally.latency(),
                seconds=tally.seconds,
                waits=tally.waits,
                waited=tally.waited,
                prompt=tally.prompt(report.requests, report.queued),
                sent=tally.sent,
            )
        # A controller that is busy misses a report; the next one has the totals.
        with contextlib.suppress(BlockingIOError):
            self._channel.send(report)

    def _lost(self) -> dict[str, int]:
        """Return log to lines that could not be written, of those logs that have lost some."""
        lost = {"access": self._access_log.lost if self._access_log is not None else 0, "error": lost_lines()}
        return {name: count for name, count in lost.items() if count}

    # -- the end ------------------------------------------------------------------------------------------------------

    def _close_in_child(self) -> None:
        """Close what is this worker's, in a process that the application has forked; the rest is closed already."""
        self._dispatch.executor.stay_in_child()
        self._loop.close_in_child()
        self._backdoor.close_in_child()
        for fd in (self._context.mail.fd, self._wake_fd, self._dispatch.alarm.fd):
            os.close(fd)

    def _name_stuck_requests(self) -> int:
        """Log what could not be finished: request, age, and where its thread is. Return the exit status."""
        ended = self.ending.ended
        status = 0
        if ferries := self._loop.ferries:
            status = 1
            log.error("ferries cut, which others serve worker=%s ferries=%d", self.name, ferries)
        for each in executions(self._dispatch, monotonic()):
            if each.exchange in ended:
                log.debug("event stream or tunnel ended worker=%s path=%s", self.name, shown(each.path))
                continue
            status = 1
            log.error(
                "request given up worker=%s method=%s path=%s seconds=%.1f%s\n%s",
                self.name, each.method, shown(each.path), each.seconds, id_at_end(each.exchange.environ), each.stack,
            )  # fmt: skip
        for exchange in queued(self._dispatch):
            status = 1
            log.error(
                "request given up before a thread was free worker=%s method=%s path=%s",
                self.name, method_of(exchange.environ), shown(path_of(exchange.environ)),
            )  # fmt: skip
        return status
