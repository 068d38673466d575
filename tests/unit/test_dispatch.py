"""Whatever one job raises, or the server while it serves that job, costs that job alone, however it is run."""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest

from spawning.logs.access import AccessLog
from spawning.logs.streams import open_file
from spawning.worker.alarm import Alarm
from spawning.worker.output import HIGH_WATER, BytesSegment, Output
from spawning.worker.roles import LeadLost
from spawning.worker.threads import RequestThread
from spawning.wsgi.responder import ClientGone
from unit.crew import Crew, Held, Job, leading
from unit.interleave import DEADLINE, eventually


def try_out(crew: Crew, job: Job) -> None:
    """Keep a job back until the threads have run dry, and execute it then. The leader."""
    call = Held()
    busy = Job("busy", "waits", call)
    crew.carry_out(busy)
    call.wait()
    crew.carry_out(job)
    call.leave()
    eventually(lambda: not crew.threads.executing, "the threads have run dry")
    crew.dispatch.before_poll()


def ways(crew: Crew) -> dict[str, Callable[[Job], None]]:
    """List the ways in which a job comes to be executed."""

    def overdue(job: Job) -> None:
        def order() -> None:
            with crew.threads.lock:
                crew.threads.waiting.put(job)
            crew.context.now += 1000
            crew.dispatch.before_poll()

        crew.do(order)

    def trial(job: Job) -> None:
        crew.do(lambda: try_out(crew, job))

    return {
        "inline": crew.execute, "measured": crew.execute, "waits": crew.execute, "trial": trial, "overdue": overdue,
    }  # fmt: skip


WAYS = ("inline", "measured", "waits", "trial", "overdue")


def serves_on(crew: Crew, thread: Any) -> None:
    """Check that nothing is left of a job, and that the thread which executed it executes the next one."""
    eventually(lambda: crew.threads.executing == 0, "nothing executes")
    assert (crew.lead.box, crew.wrong, crew.failures) == ([], [], [])
    leads = thread is crew.lead.leader
    job = Job("the next one", "inline" if leads else "waits")
    crew.execute(job)
    job.wait()
    assert job.threads == [thread]
    assert job.events[-1] == "finish" if leads else "finish_in_thread"
    assert not crew.failures


@contextmanager
def broken_run(_job: Job, crew: Crew, _patch: pytest.MonkeyPatch) -> Iterator[None]:
    def run(exchange: Any, application: Any) -> None:
        exchange.environ["crew.job"].execute()
        raise SystemExit("a bug in the server's own code")

    before = crew.dispatch.run_exchange
    crew.dispatch.run_exchange = run
    yield
    crew.dispatch.run_exchange = before


@contextmanager
def broken_line(job: Job, _crew: Crew, _patch: pytest.MonkeyPatch) -> Iterator[None]:
    """The access log cannot make a line of it."""
    job.entry = cast("Any", None)
    yield


@contextmanager
def broken_records(job: Job, crew: Crew, patch: pytest.MonkeyPatch) -> Iterator[None]:
    """Neither the request nor what is done about it can be told."""

    def factory(*_arguments: Any, **_more: Any) -> Any:
        raise SystemExit("no records")

    job.entry = cast("Any", None)
    before = logging.getLogRecordFactory()
    logging.setLogRecordFactory(factory)
    yield
    logging.setLogRecordFactory(before)


@contextmanager
def broken_end(job: Job, _crew: Crew, _patch: pytest.MonkeyPatch) -> Iterator[None]:
    job.failing |= {"finish": LookupError("a bug"), "finish_in_thread": KeyboardInterrupt()}
    yield


@contextmanager
def nothing_reported(job: Job, _crew: Crew, _patch: pytest.MonkeyPatch) -> Iterator[None]:
    job.failing["register"] = OSError(28, "No space left on device")
    yield


@contextmanager
def broken_alarm(_job: Job, _crew: Crew, patch: pytest.MonkeyPatch) -> Iterator[None]:
    def fail(_alarm: object) -> None:
        raise OSError("no timer")

    with patch.context() as inner:
        inner.setattr(Alarm, "set", fail)
        yield


TROUBLES = [
    (broken_run, "inline measured waits trial"),  # what is overdue is answered without
    (broken_line, "inline measured waits trial overdue"),
    (broken_records, "inline measured waits trial overdue"),
    (broken_end, "inline measured waits trial overdue"),
    (nothing_reported, "waits trial"),
    (broken_alarm, "inline measured"),
]


@pytest.mark.parametrize(
    ("trouble", "way"),
    [pytest.param(trouble, way, id=f"{trouble.__name__}-{way}") for trouble, ways in TROUBLES for way in ways.split()],
)
def test_whatever_is_raised_costs_one_job(
    trouble: Any, way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Crew(access_log=AccessLog(open_file(str(tmp_path / "log"))), queue_timeout=1.0) as crew:
        job = Job(kind=way)
        with trouble(job, crew, monkeypatch):
            ways(crew)[way](job)
            eventually(lambda: "abandon" in job.events, "the job is abandoned")
            eventually(lambda: crew.threads.executing == 0, "nothing executes")
        assert job.events.count("abandon") == 1
        assert job.executions <= 1
        crew.done(lambda: None)
        serves_on(crew, job.threads[0] if job.threads else crew.lead.leader)


@pytest.mark.parametrize("way", ["inline", "measured", "trial"])
def test_a_taken_over_job_that_raises_costs_itself(way: str) -> None:
    """As in a thread, since the old leader is one by then; the new leader executes what follows."""
    with Crew() as crew:

        def call() -> None:
            assert crew.lead.give_up()
            raise SystemExit

        job = Job(kind=way, call=call, failing={"finish_in_thread": LookupError("a bug")})
        ways(crew)[way](job)
        eventually(lambda: "abandon" in job.events, "the job is abandoned")
        eventually(lambda: crew.threads.executing == 0, "nothing executes")
        assert leading(crew) is not job.threads[0]
        serves_on(crew, crew.lead.leader)
        serves_on(crew, job.threads[0])


@pytest.mark.parametrize("way", ["inline", "measured", "trial"])
def test_the_loop_hears_that_the_lead_is_lost(way: str) -> None:
    with Crew() as crew:
        job = Job(kind=way, call=crew.lead.give_up)
        execute = partial(try_out, crew) if way == "trial" else crew.dispatch.execute
        with pytest.raises(LeadLost):
            crew.done(lambda: execute(job))
        job.wait()
        assert job.events[-1] == "finish_in_thread"
        assert job.sensor.ends == 0  # a call that was taken over is not measured


# Waiting for a client ------------------------------------------------------------------------------------------------


def full_output() -> Output:
    output = Output()
    output.put(BytesSegment(b"x" * (HIGH_WATER + 1), 0))
    return output


def test_who_waits_for_its_client_does_not_count_and_does_not_lead() -> None:
    output = full_output()
    with Crew(threads=2) as crew:
        told: list[str] = []

        def call() -> None:
            try:
                crew.dispatch.wait_for_client(output)
            except ClientGone:
                told.append("gone")

        job = Job(call=call)
        crew.execute(job)
        eventually(lambda: crew.threads.excused == 1, "a job is excused")
        assert crew.threads.limit == 3
        for kind in ("inline", "waits", "waits"):
            other = Job(kind=kind)
            crew.execute(other)
            other.wait()
        output.give_up()
        job.wait()
        assert told == ["gone"]
        eventually(lambda: crew.threads.executing == 0, "nothing executes")
        assert (crew.threads.excused, crew.threads.limit, crew.wrong) == (0, 2, [])


def test_a_leader_without_a_successor_does_not_wait_for_a_client_that_only_it_serves(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    output = full_output()
    with Crew() as crew:
        told: list[str] = []

        def call() -> None:
            with pytest.raises(ClientGone, match="no thread is left"):
                crew.dispatch.wait_for_client(output)
            told.append("gone")

        def cannot(_thread: RequestThread) -> None:
            raise RuntimeError("can't start new thread")

        job = Job(call=call)
        with monkeypatch.context() as patch:
            patch.setattr(RequestThread, "start", cannot)
            crew.execute(job)
            assert job.done.wait(DEADLINE)
        assert (told, job.events) == (["gone"], ["finish"])
        serves_on(crew, crew.lead.leader)


# Tunnels -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["inline", "measured", "waits"])
def test_a_tunnel_does_not_lead_and_does_not_count(kind: str) -> None:
    held = Held()
    with Crew(threads=1) as crew:
        began: list[bool] = []

        def call() -> None:
            began.append(crew.dispatch.begin_tunnel(job))
            held()

        job = Job("tunnel", kind, call)
        crew.execute(job)
        held.wait()
        assert (began, crew.threads.tunnels, crew.threads.executing) == ([True], 1, 0)
        for other_kind in ("inline", "waits", "trial", "waits"):  # a trial finds that nothing executes beside it
            other = Job(kind=other_kind)
            crew.execute(other)
            other.wait()
        held.leave()
        job.wait()
        eventually(lambda: crew.threads.tunnels == 0, "the tunnel has ended")
        eventually(lambda: crew.threads.executing == 0, "nothing executes")
        last = Job(kind="waits")
        crew.execute(last)
        last.wait()
        assert (crew.threads.limit, crew.context.full, crew.wrong, crew.failures) == (1, False, [], [])


def test_a_tunnel_may_be_begun_by_another_thread_of_the_application() -> None:
    with Crew(threads=1) as crew:
        began: list[bool] = []

        def call() -> None:
            thread = threading.Thread(target=lambda: began.append(crew.dispatch.begin_tunnel(job)))
            thread.start()
            thread.join(DEADLINE)

        job = Job("tunnel", "inline", call)
        crew.execute(job)
        job.wait()
        assert began == [True]
        eventually(lambda: crew.threads.tunnels == 0, "the tunnel has ended")
        assert (crew.threads.executing, crew.wrong) == (0, [])


def test_there_are_as_many_tunnels_as_there_may_be() -> None:
    held = Held()
    with Crew(threads=1, max_tunnels=1) as crew:
        began: list[bool] = []

        def first_call() -> None:
            began.append(crew.dispatch.begin_tunnel(first))
            held()

        first = Job("first", "waits", first_call)
        crew.execute(first)
        held.wait()
        second = Job("second", "waits", lambda: began.append(crew.dispatch.begin_tunnel(second)))
        crew.execute(second)
        second.wait()
        assert began == [True, False]
        held.leave()
        first.wait()
        eventually(lambda: crew.threads.tunnels == 0, "the tunnel has ended")
        third = Job("third", "waits", lambda: began.append(crew.dispatch.begin_tunnel(third)))
        crew.execute(third)
        third.wait()
        assert began == [True, False, True]


def test_what_waits_for_a_thread_is_executed_beside_a_tunnel() -> None:
    entered, leave = Held(), Held()
    with Crew(threads=1) as crew:

        def call() -> None:
            entered()
            assert crew.dispatch.begin_tunnel(job)
            leave()

        job, other = Job("tunnel", "waits", call), Job("other", "waits")
        crew.execute(job)
        entered.wait()
        crew.execute(other)
        eventually(lambda: crew.threads.waiting.size == 1, "the other waits")
        entered.leave()
        leave.wait()
        crew.done(crew.dispatch.before_poll)
        other.wait()
        leave.leave()
        job.wait()


def test_a_leader_without_a_successor_begins_no_tunnel(monkeypatch: pytest.MonkeyPatch) -> None:
    with Crew(threads=2) as crew:
        began: list[bool] = []

        def cannot(_thread: RequestThread) -> None:
            raise RuntimeError("can't start new thread")

        job = Job(call=lambda: began.append(crew.dispatch.begin_tunnel(job)))
        with monkeypatch.context() as patch:
            patch.setattr(RequestThread, "start", cannot)
            crew.execute(job)
            job.wait()
        assert (began, crew.threads.tunnels) == ([False], 0)
