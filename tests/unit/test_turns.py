"""Whose turn it is: one client's requests do not keep others waiting, whoever executes them."""

import threading
from collections.abc import Iterable
from itertools import groupby
from time import monotonic
from typing import Any

import pytest

from spawning.worker.http1 import TURN_SECONDS
from unit.crew import Held
from unit.office import REQUEST, Office, answer, respond

CALL = 0.001  # seconds of a call that is measured each time


class Site:
    """An application that notes who has asked and which thread has executed it.

    ``/hold`` waits until the test lets it go on; ``/…`` computes for a while.
    """

    def __init__(self) -> None:
        self.held = Held()
        self.asked: list[str] = []
        self.threads: list[threading.Thread] = []

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if path == "/hold":
            self.held()
        else:
            until = monotonic() + CALL
            while monotonic() < until:
                pass
        self.asked.append(path)
        self.threads.append(threading.current_thread())
        return respond(start_response)


def test_the_time_of_a_turn_goes_by_although_each_call_is_measured() -> None:
    """The time is the wall's: a busy machine makes turns shorter in requests, never longer."""
    count = 40
    site = Site()
    with Office(site, threads=4) as office:
        ones, others = office.connect(), office.connect()
        with_both = threading.Event()
        office.context.post(lambda: with_both.wait(30))  # until both have asked, so that the leader finds both waiting
        ones.sendall(REQUEST % b"/ones" * count)
        others.sendall(REQUEST % b"/others" * count)
        with_both.set()
        for _ in range(count):
            assert answer(ones) == answer(others) == b"ok"
    first = site.asked.index("/others")
    last = len(site.asked) - site.asked[::-1].index("/ones")
    runs = [len(list(run)) for _, run in groupby(site.asked[first:last])]
    assert max(runs) <= TURN_SECONDS / CALL + 1


@pytest.mark.parametrize(
    ("computes", "threads", "by"), [(True, 4, "the leader"), (False, 4, "its thread"), (True, 1, "its thread")]
)
def test_behind_a_call_that_was_taken_over_the_leader_goes_on_unless_the_route_waits(
    computes: bool, threads: int, by: str
) -> None:
    """Else the client would have that thread for all that it has pipelined; where all threads are busy all have to wait
    for one.
    """
    site = Site()
    with Office(site, threads=threads) as office:
        client = office.connect()
        client.sendall(REQUEST % b"/hold" + REQUEST % b"/next")
        site.held.wait()
        (connection,) = office.connections
        assert office.dispatch.take_lead() is connection
        connection.sensor.inline = computes
        site.held.leave()
        assert [answer(client), answer(client)] == [b"ok", b"ok"]
        taken_over, behind = site.threads
        assert (behind is taken_over) == (by == "its thread")
        assert (behind is office.dispatch.lead.leader) == (by == "the leader")
