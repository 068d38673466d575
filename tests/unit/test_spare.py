"""The spare fork server: when another one is started behind one that has died. Its use: ``test_developing.py``."""

import math
import os
import signal

from spawning.controller.spare import LONGEST_PAUSE, PAUSE, Spare


def test_who_dies_is_replaced_later_each_time() -> None:
    spare, now, pauses = Spare(), 0.0, []
    for _ in range(10):
        due = spare.look(wanted=True, now=now)
        pauses.append(due - now)
        now = due
        assert spare.look(wanted=True, now=now) == math.inf
        pid, status = killed(spare)
        assert spare.exited(pid, status)
        assert not spare.exited(pid, status)
    assert pauses == [min(PAUSE * 2**count, LONGEST_PAUSE) for count in range(10)]


def test_one_that_is_used_ends_the_waiting() -> None:
    spare = Spare()
    spare.look(wanted=True, now=0.0)
    spare.look(wanted=True, now=PAUSE)
    assert spare.exited(*killed(spare))
    spare.look(wanted=True, now=10.0)
    spare.look(wanted=True, now=10.0 + 2 * PAUSE)
    started = spare.take()
    started.channel.close()
    os.kill(started.pid, signal.SIGKILL)
    os.waitpid(started.pid, 0)
    assert spare.look(wanted=True, now=20.0) == 20.0 + PAUSE
    spare.look(wanted=False, now=20.0)


def killed(spare: Spare) -> tuple[int, int]:
    """Kill the spare; return its pid and its status."""
    started = spare._started
    assert started is not None
    os.kill(started.pid, signal.SIGKILL)
    return os.waitpid(started.pid, 0)
