"""The pool: one thread is woken at a time, as many execute as may, and whoever cannot be started strands nobody."""

import pytest

from spawning.worker.threads import RequestThread
from unit.crew import Crew, Held, Job
from unit.interleave import Stop, eventually, stopping


def waiting_jobs(crew: Crew, count: int, call: Held) -> list[Job]:
    """Make jobs that are handed over, and have them be."""
    jobs = [Job(f"job {number}", "waits", call) for number in range(count)]
    for job in jobs:
        crew.done(lambda: crew.dispatch.execute(job))  # noqa: B023 - it is called at once
    return jobs


def wait_for_all(crew: Crew, jobs: list[Job]) -> None:
    for job in jobs:
        job.wait()
    eventually(lambda: crew.threads.executing == 0, "nothing executes")
    assert [job.executions for job in jobs] == [1] * len(jobs)
    assert (crew.wrong, crew.failures) == ([], [])


def test_one_thread_is_woken_at_a_time_and_wakes_the_next_one() -> None:
    call = Held()
    starting = Stop("RequestThread._work", "threads.started()")
    with stopping(starting), Crew(threads=3) as crew:
        jobs = waiting_jobs(crew, 3, call)
        starting.wait()
        assert len(crew.threads.all) == 2  # the leader, and the one that is about to begin
        assert [job.executions for job in jobs] == [0, 0, 0]
        assert crew.threads.queued() == jobs[1:]
        starting.go_on()
        eventually(lambda: [job.executions for job in jobs] == [1, 1, 1], "all are executed")
        assert len(crew.threads.all) == 4
        call.leave()
        wait_for_all(crew, jobs)


def test_a_thread_that_is_ready_takes_what_another_one_would_have_been_woken_for() -> None:
    first, call = Held(), Held()
    with Crew(threads=2) as crew:
        job = Job("first", "waits", first)
        crew.execute(job)
        first.wait()
        stop = Stop("RequestThread._work", "threads.started()")
        with stopping(stop):
            jobs = waiting_jobs(crew, 2, call)
            stop.wait()  # the second thread begins with the first of them …
            first.leave()
            eventually(lambda: jobs[1].executions == 1, "… and the first thread goes on with the second")
            assert jobs[1].threads == job.threads
        call.leave()
        wait_for_all(crew, [job, *jobs])
        assert len(crew.threads.all) == 3


def test_more_jobs_than_threads_wait_and_the_leader_leaves_clients_to_its_siblings() -> None:
    call = Held()
    with Crew(threads=2) as crew:
        jobs = waiting_jobs(crew, 4, call)
        eventually(lambda: [job.executions for job in jobs] == [1, 1, 0, 0], "two are executed")
        assert (crew.context.full, crew.context.crowded, crew.threads.waiting.size) == (True, True, 2)
        call.leave()
        wait_for_all(crew, jobs)
        assert not crew.context.full


def cannot(_thread: RequestThread) -> None:
    raise RuntimeError("can't start new thread")


def test_without_any_thread_a_job_is_refused_and_the_next_one_may_get_one(monkeypatch: pytest.MonkeyPatch) -> None:
    with Crew(threads=3) as crew:
        with monkeypatch.context() as patch:
            patch.setattr(RequestThread, "start", cannot)
            jobs = waiting_jobs(crew, 2, Held())
        assert [job.events for job in jobs] == [["register", "refuse 503"]] * 2
        assert (crew.threads.executing, len(crew.threads.all)) == (0, 1)
        later = Job("later", "waits")
        crew.execute(later)
        wait_for_all(crew, [later])


def test_without_a_further_thread_a_job_is_left_to_those_that_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    call = Held()
    with Crew(threads=3) as crew:
        first = Job("first", "waits", call)
        crew.execute(first)
        call.wait()
        with monkeypatch.context() as patch:
            patch.setattr(RequestThread, "start", cannot)
            jobs = waiting_jobs(crew, 2, call)
        assert crew.threads.executing == 3
        call.leave()
        wait_for_all(crew, [first, *jobs])
        assert {thread for job in jobs for thread in job.threads} == set(first.threads)


def test_a_job_that_is_excused_makes_room_for_another_up_to_a_number() -> None:
    call = Held()
    with Crew(threads=1, max_waiting_writers=1) as crew:
        jobs = waiting_jobs(crew, 2, call)
        call.wait()
        assert crew.threads.waiting.size == 1
        assert crew.threads.excuse(1)
        assert not crew.threads.excuse(1)  # as many as may be
        crew.done(crew.dispatch.before_poll)
        assert crew.threads.waiting.size == 0
        eventually(lambda: jobs[1].executions == 1, "the second is executed beside the first")
        assert crew.threads.excuse(-1)
        call.leave()
        wait_for_all(crew, jobs)
        assert (crew.threads.limit, crew.threads.excused) == (1, 0)


@pytest.mark.parametrize("waits", [True, False])
def test_who_is_excused_wakes_the_leader_if_something_waits(waits: bool) -> None:
    call = Held()
    with Crew(threads=1) as crew:
        jobs = waiting_jobs(crew, 2 if waits else 1, call)
        call.wait()
        woken: list[str] = []
        crew.context.mail.wake = lambda: woken.append("woken")  # type: ignore[method-assign]
        crew.context.crowded = False
        crew.threads.excuse(1)
        crew.threads.excuse(-1)
        assert woken == ["woken"] * waits
        call.leave()
        wait_for_all(crew, jobs)


def test_with_a_lowered_limit_threads_become_idle_until_no_more_execute_than_may() -> None:
    calls = [Held(), Held(), Held()]
    with Crew(threads=1) as crew:
        crew.threads.allow(1)
        jobs = [Job(f"job {number}", "waits", call) for number, call in enumerate(calls)]
        for job in jobs:
            crew.execute(job)
        calls[0].wait()
        calls[1].wait()
        crew.threads.allow(-1)  # the one that was excused counts again
        assert crew.context.full
        calls[0].leave()
        jobs[0].wait()
        eventually(lambda: crew.threads.executing == 1, "its thread is idle")
        assert (jobs[2].executions, crew.threads.waiting.size) == (0, 1)
        calls[1].leave()
        calls[2].leave()
        wait_for_all(crew, jobs)
        assert jobs[2].threads == jobs[1].threads


def test_while_jobs_are_kept_back_threads_run_dry() -> None:
    call = Held()
    with Crew(threads=2) as crew:
        jobs = waiting_jobs(crew, 1, call)
        call.wait()
        crew.threads.holding = True
        kept = waiting_jobs(crew, 1, call)
        call.leave()
        eventually(lambda: crew.threads.executing == 0, "the threads have run dry")
        assert kept[0].executions == 0
        crew.threads.holding = False
        crew.done(crew.dispatch.before_poll)
        wait_for_all(crew, jobs + kept)
