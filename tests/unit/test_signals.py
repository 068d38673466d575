"""Which interrupts count."""

import pytest

from spawning.controller.signals import ECHO_SECONDS, Interrupts


@pytest.mark.parametrize(
    ("times", "counted"),
    [
        ([5.0], [True]),
        ([5.0, 5.0], [True, False]),
        ([5.0, 5.0 + ECHO_SECONDS / 2, 5.0 + ECHO_SECONDS * 0.99], [True, False, False]),
        ([5.0, 5.0 + ECHO_SECONDS * 1.01], [True, True]),
        # who goes on pressing is heard: echoes are counted from the last interrupt that did count
        ([5.0, 5.2, 5.4, 5.6, 5.8], [True, False, True, False, True]),
        ([0.0], [True]),  # the machine has just been started
    ],
)
def test_an_interrupt_right_behind_another_is_the_same(times: list[float], counted: list[bool]) -> None:
    interrupts = Interrupts()
    assert [interrupts.count(each) for each in times] == counted
