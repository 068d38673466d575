"""What the chaos of ``make soak`` counts as wrong."""

import pytest
from fuzz.chaos import excused, steps_back, terms_of
from fuzz.chaos_clients import Answer, Failure

LOG = """\
INFO worker started worker=1.1 pid=11
INFO worker started worker=1.2 pid=12
INFO ready url=http://127.0.0.1:1 generation=1 workers=2 threads=4
INFO reload started generation=2 trigger=SIGHUP
INFO worker started worker=1.3 pid=13
INFO worker started worker=2.1 pid=21
INFO reload finished generation=2 seconds=0.4
WARNING worker died worker=2.1 pid=21 signal=SIGKILL
INFO worker started worker=2.2 pid=22
INFO reload started generation=3 trigger=SIGHUP
INFO worker started worker=3.1 pid=31
ERROR reload refused generation=3 reason="it does not import"
INFO rollback started generation=1
INFO worker started worker=1.4 pid=14
INFO rollback finished generation=1 seconds=0.1
"""


def test_terms_are_numbered_by_cutover_and_a_generation_can_have_two() -> None:
    assert terms_of(LOG.splitlines()) == {11: 1, 12: 1, 13: 1, 21: 2, 22: 2, 14: 3}


@pytest.mark.parametrize(
    ("answers", "back"),
    [
        ([(0, 1, 11), (2, 3, 21), (4, 5, 14)], []),
        ([(0, 1, 11), (2, 3, 21), (4, 5, 12)], [(4, 5, 12)]),
        ([(2, 3, 21), (2.5, 5, 12)], []),  # both were under way
        ([(2, 3, 14), (4, 5, 22)], [(4, 5, 22)]),  # behind a rollback the code before is the newer one
    ],
)
def test_an_answer_is_older_by_the_order_of_cutovers(
    answers: list[tuple[float, float, int]], back: list[tuple[float, float, int]]
) -> None:
    terms = terms_of(LOG.splitlines())
    assert steps_back([Answer(*each) for each in answers], terms) == [Answer(*each) for each in back]


@pytest.mark.parametrize(("since", "at", "free"), [(1, 2, True), (3, 4, False), (0, 0.5, False), (1.6, 9, True)])
def test_a_failure_is_excused_by_a_worker_that_was_killed_meanwhile(since: float, at: float, free: bool) -> None:
    assert excused(Failure(since, at, "Closed"), [1.5]) == free
