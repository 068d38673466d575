"""Having requests executed: inline by the leader, measured, or by a request thread; the one place that runs, counts and
logs a request.

Rules: whatever a request raises, or the server itself while it runs and records one, ends at :meth:`Dispatch._perform`
and costs that job only. Behind a call that has cost the lead (``lead``), ``LeadLost`` is raised, so that nothing on the
way back to the loop touches what belongs to the leader.

:meth:`Dispatch.execute`, :meth:`~Dispatch.execute_inline` and what is said to be so are for the leader only;
:meth:`~Dispatch.run_in_thread` and :meth:`~Dispatch.wait_for_client` for the thread that executes the job;
:meth:`~Dispatch.take_lead` for the watchdog.
"""

from collections.abc import Callable
from time import monotonic, sleep
from typing import Any, Final, NoReturn

from spawning.http.line import RequestLine
from spawning.logs.access import AccessLog, Entry
from spawning.worker.alarm import Alarm
from spawning.worker.bug import tell_of_bug
from spawning.worker.context import Context
from spawning.worker.executor import Executor
from spawning.worker.lead import Lead
from spawning.worker.output import Output
from spawning.worker.overdue import Overdue
from spawning.worker.roles import Job, LeadLost
from spawning.worker.routes import Routes
from spawning.worker.sensor import Sensor
from spawning.worker.tally import SWIFT
from spawning.worker.trials import Trials
from spawning.wsgi.exchange import ENDED, Exchange, WSGIApplication
from spawning.wsgi.not_ready import NotReady
from spawning.wsgi.responder import ClientGone

WATCHED: Final = 0.02  # seconds that the watchdog looks closely, from the beginning of a suspicious call
ALARM_AFTER: Final = 0.02  # seconds after which a call that lasts wakes the watchdog
ALARM_EVERY: Final = 0.005  # seconds, at least, between two times that the alarm is put off
# While all threads are busy nothing is executed inline, and what the leader reads only waits. So many requests keep the
# threads busy for longer than it rests, however short they are, and it does not compete with them for the lock.
PLENTY: Final = 64  # waiting requests
REST: Final = 0.0005  # seconds between polls


class Dispatch:
    """See the module.

    :param context: of the worker.
    :param application: the WSGI application.
    :param access_log: None switches it off.
    :param executor: what executes requests that are not run inline.

    :ivar calls: inline calls so far; with the box it tells the watchdog whether a call lasts.
    :ivar handed_over: jobs that the leader has handed over so far.
    :ivar disturbed: counts the moments at which the main thread has taken the interpreter lock.
    :ivar watched_until: (monotonic seconds) calls are watched closely (``watchdog``) until then.
    :ivar watchdog_dozes: it is to be woken when calls are to be watched closely.
    :ivar wake_watchdog: does so.
    :ivar alarm: wakes the watchdog, unless it is put off by a further call.
    :ivar alarm_due: (monotonic seconds) the next call after this time puts the alarm off; 0: the alarm is not set.
    :ivar run_exchange: runs an exchange with the application; may be replaced before anything is executed.
    """

    def __init__(
        self, context: Context, application: WSGIApplication, access_log: AccessLog | None, executor: Executor
    ) -> None:
        self.application = application
        self.executor = executor
        executor.run = self.run_in_thread
        self.lead = Lead(executor)
        executor.take_lead = self.lead.take
        self.calls = 0
        self.handed_over = 0
        self.disturbed = 0
        self.watched_until = 0.0
        self.watchdog_dozes = False
        self.wake_watchdog: Callable[[], None] = _nothing
        self.alarm = Alarm(ALARM_AFTER)
        self.alarm_due = 0.0
        self.run_exchange = executor.around(Exchange.run)
        self._context = context
        self._access_log = access_log
        self._tally = context.tally
        self._timed = access_log is not None or context.tally is not None
        self._routes = Routes(enabled=executor.threaded and executor.limit > 1)
        self._trials = Trials(self, context, executor)
        self._overdue = Overdue(context, executor, self._answer)

    @property
    def requests(self) -> int:
        """Requests whose execution has begun."""
        return self.calls + self.handed_over + self.executor.read

    def sensor(self, line: RequestLine) -> Sensor:
        """Return the sensor of a request line's route, which is kept with the line."""
        return self._routes.sensor(line)

    # -- executing ----------------------------------------------------------------------------------------------------

    def execute(self, job: Job) -> bool:
        """Execute a request, or have it executed; see ``roles``. Leader only."""
        context = self._context
        if not context.full:
            sensor = job.sensor
            if sensor.inline or (context.now >= sensor.due and not self.executor.executing):
                return self._execute_measured(job)
            if context.now >= sensor.due and context.now >= self._trials.next:
                self._trials.hold(job)
                return False
        # From here on another thread may own the job at any moment, so its events must be known by then.
        job.register()
        self.handed_over += 1
        if not self.executor.hand_over(job) and not self.executor.holding:
            context.crowded = True
        return False

    def execute_inline(self, job: Job) -> bool:
        """Execute a request in this thread, the leader; see ``roles``."""
        context = self._context
        self.calls += 1
        job.sensor.calls += 1
        job.exchange.started = monotonic() if self._timed else context.now
        box = self.lead.box
        box.append(job)
        try:
            if context.now >= self.alarm_due:  # behind the box, in this order: see Watchdog.on_alarm()
                self.alarm_due = context.now + ALARM_EVERY
                self.alarm.set()
            self._perform(job, self.run_exchange, self.application)
        finally:
            try:
                box.pop()
            except IndexError:
                self._lose_lead(job)
        return job.finish()

    def _execute_measured(self, job: Job) -> bool:
        sensor = job.sensor
        alone = not self.executor.executing
        self._context.now = began = sensor.begin(self.disturbed)
        if sensor.suspicious:
            self.watched_until = began + WATCHED
            if self.watchdog_dozes:
                self.watchdog_dozes = False
                self.wake_watchdog()
        going_on = self.execute_inline(job)
        sensor.end(self.disturbed, alone)
        return going_on

    def run_in_thread(self, job: Job) -> None:
        """Execute a request that was handed over; raises nothing. The request thread that owns it."""
        job.exchange.started = monotonic()
        self._perform(job, self.run_exchange, self.application)
        self._finish_in_thread(job)

    def _perform(
        self, job: Job, run: Callable[[Exchange, WSGIApplication], None], application: WSGIApplication
    ) -> None:
        """Run, count and log; raises nothing."""
        exchange = job.exchange
        try:
            run(exchange, application)
            head = exchange.head
            code = head.code if head is not None else 0
            tally = self._tally
            if tally is not None:
                seconds = monotonic() - exchange.started
                if seconds <= SWIFT:
                    job.swift[code] += 1
                    tally.seconds += seconds
                    tally.sent += job.sent
                else:
                    tally.count(job.line.method, code, seconds, job.sent)
            elif code >= 500:
                self._context.errors += 1
            if self._access_log is not None:
                self._access_log.record(job.entry, exchange.environ, code, job.sent, exchange.started)
        except BaseException:  # boundary: what the server does for one request must not cost the others theirs
            self._abandon(job)
        exchange.environ = ENDED  # it holds the exchange: only a garbage collection would take the two apart

    def note_refused(self, entry: Entry, environ: dict[str, Any], status: int, sent: int) -> None:
        """Count and log a request that was refused before anything was executed; see ``roles``. Any thread."""
        self._context.refused += 1
        if status >= 500:
            self._context.errors += 1
        if self._access_log is not None:
            self._access_log.record(entry, environ, status, sent, monotonic())

    def _answer(self, job: Job, application: WSGIApplication) -> None:
        """Answer a request in the application's place, and go on. Leader only. Raises LeadLost."""
        self._perform(job, Exchange.run, application)
        try:
            if job.finish():
                job.go_on()
        except LeadLost:
            raise
        except BaseException:  # boundary: as in _perform()
            self._abandon(job)

    def resume(self, job: Job) -> None:
        """Execute a request that has waited, and what has come behind it. Leader only. Raises LeadLost."""
        try:
            if self.execute(job):
                job.go_on()
        except LeadLost:
            raise
        except BaseException:  # boundary: as in _perform(); there is no event of a connection in which this could end
            self._abandon(job)

    def _lose_lead(self, job: Job) -> NoReturn:
        """Go on as a request thread, behind a call during which the lead was taken."""
        self.lead.settle()
        self._finish_in_thread(job)
        raise LeadLost

    def _finish_in_thread(self, job: Job) -> None:
        try:
            if job.finish_in_thread():
                self.executor.queue(job)
        except BaseException:  # boundary: as in _perform()
            self._abandon(job)

    def _abandon(self, job: Job) -> None:
        """End a job abruptly, from inside an ``except`` block. Its thread goes on, whatever happens here."""
        tell_of_bug("a connection is closed")
        try:
            job.abandon()
        except BaseException:  # boundary: as in _perform()
            tell_of_bug("a connection could not be closed")

    # -- the lead -----------------------------------------------------------------------------------------------------

    def take_lead(self) -> Job | None:
        """If the leader is inside a call, let another thread lead; see ``lead``. The watchdog."""
        return self.lead.take()

    def wait_for_client(self, output: Output) -> None:
        """Wait until a client has taken enough; see ``roles``. The thread that executes the request.

        Who waits for a client must not be the one who serves it, nor does it count as one of ``--threads`` meanwhile.

        :raises ClientGone: it has gone; or there is no other thread that could serve it.
        """
        if not self.lead.give_up():
            raise ClientGone("no thread is left to serve the client")
        executor = self.executor
        if not executor.excuse(1):
            output.wait(executor.make_bell)
            return
        try:
            output.wait(executor.make_bell)
        finally:
            executor.excuse(-1)

    def begin_tunnel(self, job: Job) -> bool:
        """Let a job hold its thread for as long as its client stays; see ``roles``. Any thread of the application, so
        perhaps not the leader that is inside the job's call.
        """
        lead = self.lead
        if job in lead.box:
            lead.take()
            if job in lead.box:
                return False  # no thread is left to serve the others
        lead.settle()  # the watchdog may have taken it, and be about to count the thread
        return self.executor.begin_tunnel(job)

    # -- between polls: leader only -----------------------------------------------------------------------------------

    def before_poll(self) -> None:
        """Go on with what waits for a thread, or for the threads to run dry: when ``threads`` says that something does.
        Raises LeadLost.
        """
        executor = self.executor
        if executor.holding:
            self._trials.go_on()
        if executor.waiting.size:
            self._overdue.answer()
            if executor.threaded and self._context.full and executor.waiting.size >= PLENTY:
                sleep(REST)
            if not self._context.full and not executor.holding:
                self._hand_out()

    def seconds_left(self) -> float:
        """Return how long (seconds) nothing has to be done here, if nothing happens; infinite if never."""
        if self.executor.holding:
            return 0.005
        return self._overdue.seconds_left() if self.executor.waiting.size else float("inf")

    def sweep(self) -> None:
        """Once a second: tell the log of what is overdue, and applications of clients that have gone."""
        self._overdue.tell()
        self.executor.sweep()
        self._context.disconnects.look(self.executor.start_beside)

    @property
    def idle(self) -> bool:
        """Whether no thread executes anything."""
        return not self.executor.executing

    def relieve(self, count: int) -> None:
        """Allow for `count` threads more, in place of stuck ones; what waits for a thread gets them."""
        self.executor.allow(count)  # before the next poll, _hand_out() gives them what waits

    def announce_end(self) -> None:
        """Answer ``--ready-path`` with 503 from now on."""
        ready_path = self._context.settings.ready_path
        if ready_path is not None:
            self.application = NotReady(self.application, ready_path)

    def _hand_out(self) -> None:
        """Have executed what waits although there are threads: it was kept back for a trial.

        A trial that waits costs the lead, so the next leader comes here as well: nobody else would find the idle
        threads for these requests.
        """
        executor = self.executor
        while not executor.holding and (job := executor.take_waiting()) is not None:
            self.handed_over -= 1  # execute() counts it once more
            self.resume(job)


def _nothing() -> None:
    pass
