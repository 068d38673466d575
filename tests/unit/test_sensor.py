"""The judgement whether a route waits: what turns it, what does not, and how often it is tried anew."""

import threading
from time import monotonic

from spawning.worker.sensor import Sensor


def waiting() -> Sensor:
    """Make a sensor that has seen calls wait until it judged so."""
    sensor = Sensor(enabled=True)
    for _ in range(100):
        if sensor.inline:
            sensor.taken_over(True, 0.01)
    assert not sensor.inline
    return sensor


def test_calls_are_inline_at_first_and_measured_at_once() -> None:
    sensor = Sensor(enabled=True)
    assert sensor.inline
    assert sensor.due == 0


def test_one_call_that_waits_proves_nothing() -> None:
    sensor = Sensor(enabled=True)
    sensor.taken_over(True, 0.01)
    assert sensor.inline


def test_a_few_calls_that_wait_among_many_that_do_not_prove_nothing() -> None:
    sensor = Sensor(enabled=True)
    for hundreds in range(1, 50):
        sensor.taken_over(True, 0.005)
        sensor.taken_over(False, 0.05)
        sensor.calls = 100 * hundreds
        sensor.begin(0)
        sensor.end(0, True)
    assert sensor.inline


def test_calls_that_keep_waiting_are_handed_over() -> None:
    assert waiting().inline_until == 0


def test_long_calls_that_compute_stay_inline() -> None:
    sensor = Sensor(enabled=True)
    for _ in range(100):
        sensor.taken_over(False, 0.05)
    assert sensor.inline


def test_measured_calls_that_compute_stay_inline() -> None:
    sensor = Sensor(enabled=True)
    for calls in range(50):
        sensor.calls = calls
        sensor.begin(0)
        sum(range(1000))
        sensor.end(0, True)
    assert sensor.inline
    assert sensor.due > 0


def test_each_long_call_is_measured_and_not_each_short_one() -> None:
    sensor = Sensor(enabled=True)
    compute(sensor, 1)
    assert sensor.inline_until > 0
    began = sensor.begin(0)
    while monotonic() < began + 0.0015:
        pass
    sensor.end(0, True)
    assert sensor.inline
    assert sensor.inline_until == 0


def test_waiting_beside_other_calls_is_not_counted() -> None:
    sensor = Sensor(enabled=True)
    pause = threading.Event()
    for calls in range(20):
        sensor.calls = calls
        sensor.begin(0)
        pause.wait(0.001)  # a voluntary switch
        sensor.end(0, False)
    assert sensor.inline


def test_waiting_alone_is() -> None:
    sensor = Sensor(enabled=True)
    pause = threading.Event()
    for calls in range(1000):  # a handful, but on a machine that lets a millisecond take a twentieth of a second
        if not sensor.inline:
            break
        sensor.calls = calls
        sensor.begin(0)
        pause.wait(0.001)
        sensor.end(0, True)
    assert not sensor.inline


def test_with_one_thread_nothing_is_measured_or_handed_over() -> None:
    sensor = Sensor(enabled=False)
    for _ in range(100):
        sensor.taken_over(True, 0.01)
    assert sensor.inline
    assert sensor.due == float("inf")


def test_failed_trials_double_the_pause_up_to_a_limit() -> None:
    sensor = waiting()
    pauses = []
    for _ in range(6):
        sensor.trial_failed(1000.0)
        pauses.append(sensor.due - 1000.0)
    assert pauses == [0.5, 1.0, 2.0, 4.0, 4.0, 4.0]


def test_a_few_trials_in_a_row_that_compute_bring_calls_back_inline() -> None:
    sensor = waiting()
    sensor.taken_over(False, 0.05)
    sensor.taken_over(False, 0.05)
    sensor.taken_over(True, 0.01)  # breaks the row
    sensor.taken_over(False, 0.05)
    sensor.taken_over(False, 0.05)
    assert not sensor.inline
    sensor.taken_over(False, 0.05)
    assert sensor.inline


def compute(sensor: Sensor, calls: int) -> None:
    """Have the sensor measure so many calls that compute."""
    for _ in range(calls):
        sensor.calls += 1
        sensor.begin(0)
        sensor.end(0, True)


def test_a_route_is_suspicious_until_some_calls_have_been_measured() -> None:
    sensor = Sensor(enabled=True)
    assert sensor.suspicious
    compute(sensor, 20)
    assert not sensor.suspicious


def test_one_call_that_waits_makes_a_known_route_suspicious_until_others_have_computed_for_a_while() -> None:
    sensor = Sensor(enabled=True)
    compute(sensor, 20)
    sensor.taken_over(True, 0.01)
    compute(sensor, 1)
    assert sensor.suspicious
    for _ in range(20):
        sensor.taken_over(False, 0.05)
    assert not sensor.suspicious


def test_a_trial_is_suspicious() -> None:
    assert waiting().suspicious
