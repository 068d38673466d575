"""The judgement whether a route waits: what turns it, what does not, and how often it is tried anew. In numbers."""

import pytest

from spawning.worker.judge import HORIZON, SAMPLE_EVERY, Evidence, Judge

NOW = 1000.0  # monotonic seconds


def taken_over(waits: bool, seconds: float = 0.01, now: float = NOW) -> Evidence:
    return Evidence(now, seconds, waited=waits, taken_over=True)


def measured(seconds: float, wait: float = 0.0, calls: int = 1, now: float = NOW) -> Evidence:
    """What is seen of a call that lasts so long, and waits so much of it."""
    return Evidence(now, seconds, wait, wait > 0, calls)


def waiting() -> Judge:
    """Make a judge that has seen calls wait until it judged so."""
    judge = Judge(enabled=True)
    for _ in range(4):
        assert judge.inline
        judge.consider(taken_over(True))
    assert not judge.inline
    return judge


def known(now: float = NOW) -> Judge:
    """Make a judge that has seen enough calls compute."""
    judge = Judge(enabled=True)
    for calls in range(1, 9):
        assert judge.suspicious
        judge.consider(measured(0.0001, calls=calls, now=now))
    assert not judge.suspicious
    return judge


def test_calls_are_inline_at_first_and_measured_at_once() -> None:
    judge = Judge(enabled=True)
    assert judge.inline
    assert judge.due == judge.inline_until == 0
    assert judge.suspicious


@pytest.mark.parametrize("calls", [1, 2, 3])
def test_a_few_calls_that_wait_prove_nothing(calls: int) -> None:
    judge = Judge(enabled=True)
    for _ in range(calls):
        judge.consider(taken_over(True))
    assert judge.inline


def test_calls_that_keep_waiting_are_handed_over_until_a_trial() -> None:
    judge = waiting()
    assert (judge.inline_until, judge.due) == (0.0, NOW + 0.25)
    assert judge.suspicious


def test_a_few_calls_that_wait_among_many_that_do_not_prove_nothing() -> None:
    judge = known()
    for second in range(1, 50):
        now = NOW + second
        judge.consider(taken_over(True, 0.005, now))
        judge.consider(measured(0.0005, calls=1000 * second, now=now + 0.6))  # stands for a thousand, half a second
        assert judge.inline


@pytest.mark.parametrize(
    ("wait", "inline"), [(0.0, True), (0.0004, True), (0.0029, True), (0.0031, False), (0.004, False), (0.01, False)]
)
def test_a_route_waits_if_its_calls_do_for_a_good_part_of_their_time(wait: float, inline: bool) -> None:
    judge = Judge(enabled=True)
    for call in range(1, 20):
        judge.consider(measured(0.01, wait, call, NOW + call))
    assert judge.inline is inline


@pytest.mark.parametrize(("seconds", "inline"), [(0.004, False), (0.013, False), (0.014, True), (10.0, True)])
def test_waiting_counts_within_the_first_milliseconds_of_a_call(seconds: float, inline: bool) -> None:
    judge = Judge(enabled=True)
    for call in range(1, 20):
        judge.consider(measured(seconds, seconds, call, NOW + 20 * call))
    assert judge.inline is inline
    assert (0.3 * seconds < HORIZON) is not inline


@pytest.mark.parametrize("seconds", [0.001, 0.05, 1.0])
def test_calls_that_are_taken_over_and_compute_stay_inline(seconds: float) -> None:
    judge = Judge(enabled=True)
    for _ in range(100):
        judge.consider(taken_over(False, seconds))
    assert judge.inline


@pytest.mark.parametrize(
    "evidence",
    [
        Evidence(NOW, 0.004, 0.004, waited=True, alone=False),  # others want the interpreter lock as well
        Evidence(NOW, 0.004, 0.004, waited=False),  # it was preempted
        Evidence(NOW, 0.004, 0.004, waited=True, alone=False, disturbed=True),
    ],
)
def test_what_only_looks_like_waiting_does_not_count(evidence: Evidence) -> None:
    judge = Judge(enabled=True)
    for calls in range(1, 21):
        judge.consider(evidence._replace(calls=calls))
    assert judge.inline
    assert not judge.suspicious


def test_a_call_that_was_disturbed_is_not_counted_at_all_and_the_next_one_is_measured() -> None:
    judge = Judge(enabled=True)
    for calls in range(1, 100):
        judge.consider(Evidence(NOW, 0.004, 0.004, waited=True, calls=calls, disturbed=True))
    assert judge.inline
    assert judge.suspicious
    assert judge.due == 0


def test_a_measured_call_stands_for_those_before_it_as_far_as_there_was_time_for_them() -> None:
    judge = known()
    judge.consider(measured(0.0005, calls=10, now=NOW + 1))
    for _ in range(3):  # within no time, so each stands for itself
        judge.consider(measured(0.0005, 0.0005, 1_000_000, NOW + 1))
    judge.consider(measured(0.0005, 0.0005, 1_000_001, NOW + 1))
    assert judge.inline is False
    patient = known()
    patient.consider(measured(0.0005, calls=1000, now=NOW + 0.2))  # a fifth of a second at most, whatever the count
    for calls in range(1001, 1005):
        patient.consider(measured(0.0005, 0.0005, calls, NOW + 0.2))
    assert patient.inline


def test_a_call_that_took_no_time_stands_for_itself() -> None:
    judge = Judge(enabled=True)
    judge.consider(measured(0.0, calls=1000))
    assert judge.inline


@pytest.mark.parametrize(("seconds", "until"), [(0.0009, NOW + SAMPLE_EVERY), (0.001, 0.0), (0.1, 0.0)])
def test_each_long_call_is_measured_and_not_each_short_one(seconds: float, until: float) -> None:
    judge = Judge(enabled=True)
    judge.consider(measured(seconds))
    assert judge.inline
    assert (judge.inline_until, judge.due) == (until, NOW + SAMPLE_EVERY)


def test_with_one_thread_nothing_is_measured_or_handed_over() -> None:
    judge = Judge(enabled=False)
    for _ in range(100):
        judge.consider(taken_over(True))
    assert judge.inline
    assert judge.due == judge.inline_until == float("inf")


def test_failed_trials_double_the_pause_up_to_a_limit() -> None:
    judge = waiting()
    pauses = []
    for trial in range(6):
        if trial % 2:
            judge.trial_failed(NOW)
        else:
            judge.consider(taken_over(True))
        pauses.append(judge.due - NOW)
    assert pauses == [0.5, 1.0, 2.0, 4.0, 4.0, 4.0]


def test_a_few_trials_in_a_row_that_compute_bring_calls_back_inline() -> None:
    judge = waiting()
    for computes in (True, True, False, True, True):
        judge.consider(taken_over(not computes, now=NOW + 1))
        assert not judge.inline
        assert judge.due >= NOW + 1
    judge.consider(measured(0.0001, now=NOW + 2))
    assert judge.inline
    assert judge.inline_until == NOW + 2
    assert judge.suspicious  # nothing of what was seen before counts


def test_one_call_that_waits_makes_a_known_route_suspicious_until_others_have_computed_for_a_while() -> None:
    judge = known()
    judge.consider(taken_over(True))
    judge.consider(measured(0.0001, calls=10))
    assert judge.suspicious
    for _ in range(20):
        judge.consider(taken_over(False, 0.05))
    assert not judge.suspicious
