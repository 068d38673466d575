"""A ferry: what it carries, how much of it it keeps, and what either side sees of the other's end."""

import contextlib
import socket
import ssl
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from spawning.worker import passage
from spawning.worker.context import Context
from spawning.worker.ferry import LINGER, Ferry
from spawning.worker.stream import DONTWAIT, Stream
from spawning.worker.tls import TLS
from unit.test_tls import OWN, VERSIONS, Peer, connected

RESPONSE_TIMEOUT = 60.0


class Worker:
    """What a ferry sees of its worker; what it posts is done at once, in :meth:`run`."""

    def __init__(self) -> None:
        self.now = self.polled = 1000.0
        self.ferries = 0
        self.settings = SimpleNamespace(response_timeout=RESPONSE_TIMEOUT)
        self.pollables: dict[int, Any] = {}
        self.poller = SimpleNamespace(
            replace=self.pollables.__setitem__, register=lambda fd: None, forget=lambda fd: self.pollables.pop(fd, None)
        )
        self._posted: list[Callable[[], object]] = []
        self.post = self._posted.append

    def run(self) -> None:
        while self._posted:
            self._posted.pop(0)()

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self.polled = self.now


class Ends:
    """A ferry between a client and the worker that serves."""

    def __init__(self, session: TLS, peer: Peer) -> None:
        near, far = passage.make()
        self.worker = Worker()
        self.client = peer
        self.far = passage.FarEnd(far)
        self.ferry = Ferry(cast("Context", self.worker), session, near, "192.0.2.1")
        self.ferry.begin(registered=False)
        self.worker.run()

    def carry(self) -> None:
        self.ferry.on_event()
        self.worker.run()


@pytest.fixture(params=VERSIONS, ids=lambda version: version.name)
def ends(request: pytest.FixtureRequest) -> Iterator[Ends]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(OWN)
    near, far = socket.socketpair()
    with far:
        far.setblocking(False)
        ends = Ends(*connected(near, far, request.param, context))
        yield ends
        ends.far.reset()
        ends.far.close()
        ends.ferry.abandon()


def received(end: Stream) -> bytes:
    data = b""
    with contextlib.suppress(BlockingIOError):
        while part := end.recv(1 << 16, DONTWAIT):
            data += part
    return data


def test_both_ways(ends: Ends) -> None:
    ends.client.sock.sendall(ends.client.records(b"question"))
    ends.carry()
    assert received(ends.far) == b"question"
    ends.far.send(b"answer")
    ends.carry()
    assert ends.client.read() == b"answer"
    assert ends.worker.ferries == 1


@pytest.mark.parametrize("at", [1, 3, 7, -1])
def test_a_record_in_pieces(ends: Ends, at: int) -> None:
    record = ends.client.records(b"question")
    ends.client.sock.sendall(record[:at])
    ends.carry()
    assert received(ends.far) == b""
    ends.client.sock.sendall(record[at:])
    ends.carry()
    assert received(ends.far) == b"question"


def test_a_client_that_takes_nothing_stops_the_far_end_and_is_dropped_in_the_end(ends: Ends) -> None:
    sent = 0
    block = b"x" * 65536
    for _ in range(1000):
        ends.carry()
        try:
            sent += ends.far.send(block, DONTWAIT)
        except BlockingIOError:
            break
    assert 0 < sent < 2_000_000
    for _ in range(2):
        assert ends.worker.ferries == 1
        ends.worker.pass_time(RESPONSE_TIMEOUT + 1)
        ends.ferry.on_deadline()
    assert ends.worker.ferries == 0
    assert ends.worker.pollables == {}


def test_a_client_that_takes_little_is_not_dropped(ends: Ends) -> None:
    sent = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            sent += ends.far.send(b"x" * 65536, DONTWAIT)
            ends.carry()
    for _ in range(5):
        assert ends.client.sock.recv(70_000)  # at least one of the pieces that a Unix socket keeps
        ends.carry()
        ends.worker.pass_time(RESPONSE_TIMEOUT + 1)
        ends.ferry.on_deadline()
        assert ends.worker.ferries == 1


def test_a_far_end_that_takes_nothing_stops_the_client(ends: Ends) -> None:
    data = b"".join(ends.client.records(b"y" * 16384) for _ in range(200))
    sent = 0
    with contextlib.suppress(BlockingIOError):
        while sent < len(data):
            sent += ends.client.sock.send(data[sent : sent + 65536])
            ends.carry()
    assert 0 < sent < 2_000_000
    got = 0
    while got < 200 * 16384:
        got += len(received(ends.far))
        with contextlib.suppress(BlockingIOError):
            sent += ends.client.sock.send(data[sent : sent + 65536])
        ends.carry()
    assert got == 200 * 16384


def test_a_far_end_that_ends_well_lets_the_client_know(ends: Ends) -> None:
    ends.far.send(b"answer")
    ends.far.close()
    ends.carry()
    assert ends.client.read() == b"answer"  # and an alert: else it raises SSLEOFError
    assert ends.worker.pollables == {}


def test_so_does_one_behind_as_much_as_the_kernel_takes(ends: Ends) -> None:
    size = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            size += ends.far.send(b"x" * 999, DONTWAIT)
    ends.far.close()
    data = b""
    while len(data) < size:
        ends.carry()
        data += ends.client.read()
    assert ends.worker.pollables == {}


@pytest.mark.parametrize("how", ["reset", "died"])
def test_a_far_end_that_does_not_leaves_the_client_without_an_alert(ends: Ends, how: str) -> None:
    ends.far.send(b"half of it")
    if how == "reset":
        ends.far.reset()
        ends.far.close()
    else:
        ends.far.disown()
    ends.carry()
    with pytest.raises((ssl.SSLEOFError, ConnectionResetError)):
        ends.client.read()
    assert ends.worker.pollables == {}


def test_a_client_that_sends_behind_the_end_is_given_a_moment(ends: Ends) -> None:
    ends.far.send(b"answer")
    ends.far.close()
    ends.client.sock.sendall(ends.client.records(b"one more"))
    ends.carry()
    assert ends.worker.ferries == 1
    assert ends.client.read() == b"answer"
    ends.worker.pass_time(LINGER + 0.1)
    ends.ferry.on_deadline()
    assert ends.worker.ferries == 0


@pytest.mark.parametrize("alert", [True, False])
def test_a_client_that_sends_nothing_more_is_answered(ends: Ends, alert: bool) -> None:
    ends.client.sock.sendall(ends.client.records(b"question"))
    if alert:
        with contextlib.suppress(ssl.SSLWantReadError):
            ends.client.session.unwrap()
        ends.client.sock.sendall(ends.client.records())
    ends.client.sock.shutdown(socket.SHUT_WR)
    ends.carry()
    assert ends.far.recv(100, DONTWAIT) == b"question"
    assert ends.far.recv(100, DONTWAIT) == b""
    assert ends.far.send(b"answer") == 6
    ends.far.close()
    ends.carry()
    assert len(ends.client.sock.recv(1000)) > 6  # what a client makes of it is its library's business
    assert ends.worker.ferries == 0
