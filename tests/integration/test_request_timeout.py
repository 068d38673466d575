"""``--request-timeout``: a request that does not come back is named and interrupted, or its worker is replaced."""

from collections.abc import Mapping

import pytest

from integration.client import Client, Closed, fetch, request
from integration.gate import Gate
from integration.server import Server, until
from integration.sites import held

TIMED_OUT = r" ERROR request timed out worker=1\.1 method=GET path='{path}' seconds=\d+\.\d$"

# Until a thread that waits in C comes back, its exception is pending, and Python 3.11 under a tracer (that of coverage)
# makes no step in any other thread. So where there is such a thread, processes of the server are not measured.
UNTRACED = {"COVERAGE_PROCESS_CONFIG": ""}

RECYCLED = r' INFO worker recycled worker=1\.1 pid=\d+ reason="a request was interrupted \(--request-timeout\)"'


def serve(*options: str, env: Mapping[str, str] | None = None) -> Server:
    return Server("stuck.application", "-s", "1", "-t", "4", "--request-timeout", "0.5", *options, env=env)


@pytest.mark.parametrize("path", ["/loop", "/retry", "/swallow"])
def test_the_client_gets_504_and_the_worker_is_replaced_behind_its_other_requests(path: str) -> None:
    """It may have struck a library that had just taken a lock: whoever needs that lock next would wait for ever."""
    with serve() as server, Client(server.port) as client, Client(server.port) as kept:
        pid = fetch(server.port).text
        assert kept.get("/").text == pid
        client.send(request(path))
        assert fetch(server.port).text == pid
        response = client.read()
        assert (response.status, response.closes) == (504, True)
        server.wait_for_log(TIMED_OUT.format(path=path))
        server.wait_for_log(r"stuck\.py\", line \d+, in (loop|retry)$")
        server.wait_for_log(RECYCLED)
        until(lambda: [worker.name for worker in server.workers()] == ["1.2"], "the old worker gone")
        response = kept.get("/")  # on the connection that the old worker had
        assert response.text != pid
        assert not response.closes
        assert "Traceback" not in server.log()
        assert "given up" not in server.log()


@pytest.mark.parametrize("path", ["/begun", "/written"])
def test_a_response_that_has_begun_is_cut(path: str) -> None:
    with serve() as server, Client(server.port) as client:
        client.send(request(path))
        with pytest.raises(Closed):
            client.read()
        server.wait_for_log(TIMED_OUT.format(path=path))


def test_a_response_that_goes_on_may_take_as_long_as_it_likes() -> None:
    with serve() as server:
        assert fetch(server.port, "/slow").text == "." * 25
        assert "timed out" not in server.log()


def test_a_thread_that_waits_in_c_has_its_worker_replaced(gate: Gate) -> None:
    with serve(env=UNTRACED) as server, Client(server.port) as idle, held(gate, server.port) as stuck:
        old = idle.get("/").text
        server.wait_for_log(TIMED_OUT.format(path="/hold"))
        server.wait_for_log(r" ERROR request stuck worker=1\.1 method=GET path='/hold' seconds=")
        server.wait_for_log(RECYCLED)
        server.wait_for_log(r" ERROR request given up worker=1\.1 ")
        until(lambda: [worker.name for worker in server.workers()] == ["1.2"], "the old worker gone")
        response = idle.get("/")  # on the connection that the old worker had
        assert response.text != old
        assert not response.closes
        with pytest.raises(Closed):
            stuck.read()


def test_what_waits_for_a_thread_is_served_before_a_worker_whose_threads_are_all_stuck_goes(gate: Gate) -> None:
    with (
        serve("-t", "2", env=UNTRACED) as server,
        held(gate, server.port),
        held(gate, server.port),
        Client(server.port) as waiting,
    ):
        waiting.send(request("/"))
        assert waiting.read().status == 200
        server.wait_for_log(r" worker recycled worker=1\.1 ")
        server.wait_workers(1)


def test_a_thread_that_holds_the_interpreter_lock_has_its_worker_killed() -> None:
    with serve() as server, Client(server.port) as client:
        old = fetch(server.port).text
        client.send(request("/lock"))
        server.wait_for_log(r" WARNING worker silent worker=1\.1 ")
        server.wait_for_log(
            r' worker killed worker=1\.1 pid=\d+ reason="has not reported for 5\.5 s \(--request-timeout\)"'
        )
        assert fetch(server.port).text != old
        with pytest.raises(Closed):
            client.read()
