"""The lead passes from one thread to another, at whatever moment; nobody loses it, and nothing runs twice."""

from collections.abc import Callable

import pytest

from spawning.worker.threads import RequestThread
from unit.crew import Crew, Held, Job, leading
from unit.interleave import Running, Stop, eventually, stopping


def settled(crew: Crew) -> None:
    """Check that exactly one thread leads, that nothing executes, and that the next job is executed."""
    eventually(lambda: crew.threads.executing == 0, "nothing executes")
    job = Job("the next one")
    crew.execute(job)
    job.wait()
    assert job.threads == [leading(crew)]
    assert (crew.lead.box, crew.wrong, crew.failures) == ([], [], [])


def test_a_call_that_is_held_up_loses_the_lead_and_finishes_as_a_request_thread_does() -> None:
    call = Held()
    with Crew() as crew:
        job = Job(call=call)
        crew.execute(job)
        call.wait()
        old = crew.lead.leader
        assert Running(crew.lead.take).result() is job
        assert crew.lead.leader is not old
        assert crew.threads.executing == 1
        assert Running(crew.lead.take).result() is None  # the new leader is inside of no call
        call.leave()
        job.wait()
        settled(crew)
        assert (job.executions, job.events) == (1, ["finish_in_thread"])


@pytest.mark.parametrize("line", ["self.box = []", "old, self.leader", "note_held_up"])
def test_the_old_leader_waits_until_the_lead_has_passed_completely(line: str) -> None:
    """The watchdog has taken the token and no more, when the call ends."""
    call = Held()
    middle = Stop("Lead._pop", line)
    settling = Stop("Lead.settle", "with self._change")
    with stopping(middle, settling), Crew() as crew:
        counted: list[int] = []
        job = Job(call=call, at_end=lambda: counted.append(crew.threads.executing))
        crew.execute(job)
        call.wait()
        watchdog = Running(crew.lead.take)
        middle.wait()
        call.leave()
        settling.wait()
        settling.go_on()
        assert job.events == []
        middle.go_on()
        assert watchdog.result() is job
        job.wait()
        settled(crew)
        assert counted == [1]
        assert (job.executions, job.events) == (1, ["finish_in_thread"])


def test_a_call_that_ends_just_before_the_token_is_taken_keeps_the_lead() -> None:
    call = Held()
    before = Stop("Lead._pop", "job = self.box.pop()")
    with stopping(before), Crew() as crew:
        job = Job(call=call)
        crew.execute(job)
        call.wait()
        leader = crew.lead.leader
        watchdog = Running(crew.lead.take)
        before.wait()
        call.leave()
        job.wait()
        before.go_on()
        assert watchdog.result() is None
        settled(crew)
        assert crew.lead.leader is leader
        assert job.events == ["finish"]


def test_the_token_of_a_later_call_is_of_that_call() -> None:
    """The one that held the leader up has ended, and another one has begun, when the watchdog takes the token."""
    first, second = Held(), Held()
    before = Stop("Lead._pop", "job = self.box.pop()")
    with stopping(before), Crew() as crew:
        jobs = [Job(call=first), Job(call=second)]
        for job in jobs:
            crew.execute(job)
        first.wait()
        watchdog = Running(crew.lead.take)
        before.wait()
        first.leave()
        second.wait()
        before.go_on()
        assert watchdog.result() is jobs[1]
        second.leave()
        jobs[1].wait()
        settled(crew)
        assert [job.events for job in jobs] == [["finish"], ["finish_in_thread"]]


def test_two_that_take_the_lead_at_a_time_get_it_once() -> None:
    """The watchdog, and the leader itself, which is about to wait for its client."""
    before = Stop("Lead.take", "job = self._pop(successor)")
    with stopping(before), Crew() as crew:
        watchdog: list[Running] = []

        def call() -> None:
            watchdog.append(Running(crew.lead.take))
            before.wait()
            assert crew.lead.give_up()
            before.go_on()
            assert watchdog[0].result() is None

        job = Job(call=call)
        crew.execute(job)
        job.wait()
        settled(crew)
        assert (job.executions, job.events) == (1, ["finish_in_thread"])


def cannot_start(_thread: RequestThread) -> None:
    raise RuntimeError("can't start new thread")


def test_where_no_thread_can_be_started_nobody_loses_the_lead(monkeypatch: pytest.MonkeyPatch) -> None:
    with Crew() as crew:
        given: list[bool] = []

        def call() -> None:
            given.append(crew.lead.give_up())

        job = Job(call=call)
        with monkeypatch.context() as patch:
            patch.setattr(RequestThread, "start", cannot_start)
            crew.execute(job)
            job.wait()
        assert (given, job.events) == ([False], ["finish"])
        assert crew.threads.executing == 0
        assert len(crew.threads.all) == 1
        settled(crew)


@pytest.mark.parametrize(
    "steal",
    [lambda crew, job: crew.done(lambda: crew.dispatch.execute(job)), lambda crew, _: crew.threads.started()],
    ids=["hand_over", "started"],
)
def test_a_reserved_thread_is_nobody_elses(steal: Callable[[Crew, Job], object]) -> None:
    """A job that is handed over while the watchdog has a successor in hand gets another thread."""
    call = Held()
    with Crew() as crew:
        reserved = Running(crew.threads.reserve).result()
        assert reserved is not None
        job = Job("handed over", "waits", call)
        steal(crew, job)
        if not job.events:
            crew.execute(job)
        call.wait()
        assert reserved not in job.threads
        call.leave()
        job.wait()
        Running(crew.threads.release, reserved).result()
        eventually(lambda: crew.threads.executing == 0, "nothing executes")
        settled(crew)
        assert len(crew.threads.all) == 3  # the leader, the one that was reserved, and that of the job


def test_a_released_thread_executes_the_next_job() -> None:
    with Crew() as crew:
        reserved = Running(crew.threads.reserve).result()
        assert reserved is not None
        Running(crew.threads.release, reserved).result()
        job = Job("handed over", "waits")
        crew.execute(job)
        job.wait()
        assert job.threads == [reserved]
        settled(crew)
