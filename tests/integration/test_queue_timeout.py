"""``--queue-timeout``: who has waited too long for a thread is told so, while every thread goes on being busy."""

import contextlib
from collections.abc import Iterator

import pytest

from integration.client import Client, request
from integration.gate import Gate
from integration.server import Server


@pytest.fixture(scope="module")
def impatient() -> Iterator[Server]:
    """One worker with two threads, for which a request waits half a second."""
    options = ("--queue-timeout", "0.5", "--health-path", "/stream", "--ready-path", "/hello")
    with Server("crowd.application", "-s", "1", "-t", "2", *options) as server:
        yield server


@pytest.fixture
def busy(impatient: Server, gate: Gate) -> Iterator[Gate]:
    """Two requests hold both threads until the gate is opened."""
    with contextlib.ExitStack() as stack:
        holders = [stack.enter_context(Client(impatient.port)) for _ in range(2)]
        for holder in holders:
            holder.send(request(gate.target))
        gate.wait_entered(2)
        yield gate
        gate.open(2)
        assert [holder.read().body for holder in holders] == [b"held\n"] * 2


def test_who_waits_too_long_is_told_to_come_again(impatient: Server, busy: Gate) -> None:
    mark = impatient.mark()
    with Client(impatient.port) as client:
        for target in ("/peak?first", "/peak?second"):
            response = client.get(target)
            assert (response.status, response["retry-after"], response.closes) == (503, "1", False)
        assert client.get("/peak", method="HEAD").status == 503
    impatient.wait_for_log(r"requests waited too long for a thread count=\d seconds=0.5$", after=mark)
    assert float(impatient.out.find(r'"GET /peak\?first HTTP/1.1" 503 .* ([\d.]+)$', 30)[1]) >= 0.5


@pytest.mark.parametrize("target", ["/stream", "/stream?deep", "/hello"])
def test_a_health_check_is_answered_as_soon_as_a_thread_is_free(impatient: Server, busy: Gate, target: str) -> None:
    with Client(impatient.port) as health, Client(impatient.port) as other:
        health.send(request(target))
        assert other.get("/peak").status == 503  # that long the health check has waited, too
        busy.open(2)
        assert health.read().status == 200


def test_without_a_timeout_a_request_waits(gate: Gate) -> None:
    with Server("crowd.application", "-s", "1", "-t", "1", "-l", "/dev/null") as server, Client(server.port) as holder:
        holder.send(request(gate.target))
        gate.wait_entered()
        with Client(server.port) as client:
            client.send(request("/peak"))
            gate.open()
            assert client.read().body == b"1"
