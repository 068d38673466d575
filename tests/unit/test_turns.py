"""Whose turn it is: one client's requests do not keep others waiting, whoever executes them."""

import socket
import threading
from collections.abc import Iterable
from itertools import groupby
from time import monotonic
from typing import Any

import pytest

from spawning.worker.http1 import TURN_SECONDS
from unit.crew import Held, Route, leading
from unit.interleave import DEADLINE, Stop, eventually, stopping
from unit.office import REQUEST, Office, answer, respond

CALL = 0.001  # seconds of a call that is measured each time


class Site:
    """An application that notes who has asked and which thread has executed it.

    ``/hold`` waits until the test lets it go on; ``/…`` computes for a while. ``over`` is set behind so many calls.
    """

    def __init__(self, calls: int = 0) -> None:
        self.over = threading.Event()
        self._calls = calls
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
        if len(self.asked) == self._calls:
            self.over.set()
        return respond(start_response)


class Computes(Route):
    """A route whose calls are all measured, and whose judgement does not depend on how busy the machine is."""

    def __init__(self) -> None:
        super().__init__("measured")

    def begin(self, _disturbed: int) -> float:
        return monotonic()


def test_the_time_of_a_turn_goes_by_although_each_call_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time is the wall's: a busy machine makes turns shorter in requests, never longer."""
    count = 100
    site, route = Site(2 * count), Computes()
    with Office(site, threads=4) as office:
        monkeypatch.setattr(office.dispatch, "sensor", lambda _line: route)
        ones, others = office.connect(), office.connect()
        eventually(lambda: len(office.connections) == 2, "both are connected")
        with_both = threading.Event()
        office.context.post(lambda: with_both.wait(30))  # until both have asked, so that the leader finds both waiting
        ones.sendall(REQUEST % b"/ones" * count)
        others.sendall(REQUEST % b"/others" * count)
        with_both.set()
        assert site.over.wait(DEADLINE)  # meanwhile nobody else wants the interpreter lock
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
        assert (behind is leading(office)) == (by == "the leader")


@pytest.mark.parametrize("stops", [False, True])
def test_the_end_of_a_client_does_not_cost_it_what_it_has_pipelined(stops: bool) -> None:
    """A thread gives a connection back with requests that have been received; then the leader sees that no more
    come.
    """
    site = Site()
    line = "context.post(self.leave_late)" if stops else "context.post(self.go_on)"
    given_back = Stop("Http1.finish_in_thread", line)
    with stopping(given_back), Office(site, threads=4) as office:
        client = office.connect()
        client.sendall(REQUEST % b"/hold" + REQUEST % b"/next" * 2)
        site.held.wait()
        (connection,) = office.connections
        assert office.dispatch.take_lead() is connection
        if stops:
            office.done(office.loop.stop)
        site.held.leave()
        given_back.wait()
        client.shutdown(socket.SHUT_WR)
        eventually(lambda: connection.ended, "the leader has seen the end")
        office.done(lambda: None)
        given_back.go_on()
        assert [answer(client) for _ in range(3)] == [b"ok"] * 3
        assert client.recv(1) == b""
