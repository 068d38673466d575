"""Applications that break what the server tells of them with: one request fails, its worker and the others do not."""

from collections.abc import Iterator

import pytest

from integration.client import Client, Closed, fetch
from integration.server import Server, until

FAILING = ("/path", "/method", "/leave", "/records", "/stderr")  # 500, unless the log is broken too
UNTOLD = ("/user", "/user-interrupts")  # what they answer may arrive before it turns out that it cannot be logged
COMPLETE = ("/close", "/close-interrupts")

MODES = {
    "inline": ("-t", "4"),
    "single": ("-t", "1"),
    "handed over": ("-t", "4"),
    "interruptible": ("-t", "4", "--request-timeout", "60"),
}


def outcome(port: int, path: str) -> int:
    """Return the status of an answer; 0: the connection was closed."""
    try:
        with Client(port) as client:
            return client.get(path).status
    except (Closed, ConnectionError):
        return 0


@pytest.fixture(scope="module", params=MODES)
def mode(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def server(mode: str) -> Iterator[Server]:
    """Each test ends with a reload: the next one has a worker that nothing has been done to."""
    with Server("harmful.application", "-s", "1", *MODES[mode], "--deadman_timeout", "60") as server:
        yield server


@pytest.mark.parametrize("path", [*FAILING, *UNTOLD, *COMPLETE])
def test_a_request_that_breaks_what_tells_of_it_fails_alone(server: Server, mode: str, path: str) -> None:
    mark = server.mark()
    pid = fetch(server.port).text
    if mode == "handed over":
        for _ in range(20):
            assert fetch(server.port, f"{path}?wait").text == "ok"
    for _ in range(2):
        allowed = {200} if path in COMPLETE else {500, 0} if path in FAILING else {200, 500, 0}
        assert outcome(server.port, path) in allowed
    with Client(server.port) as client:
        assert [client.get("/").text for _ in range(3)] == [pid] * 3
        assert fetch(server.port).text == pid
        assert server.reload()
        new = client.get("/").text
        assert new != pid
    until(lambda: [str(worker.pid) for worker in server.workers()] == [new], "the old worker is gone")
    assert [line for line in server.err.since(mark) if " died " in line or "given up" in line] == []


@pytest.mark.parametrize("target", ["/alarm", "/alarm?exit"])
def test_a_signal_handler_that_raises_costs_nobody(target: str) -> None:
    with Server("harmful.application", "-s", "1", "-t", "4") as server, Client(server.port) as client:
        pid = client.get("/").text
        assert client.get(target).text == "ok"
        server.wait_for_log(r" ERROR exception in the main thread, the worker goes on worker=1\.1$")
        server.wait_for_log("by the application's signal handler")
        assert client.get("/").text == pid
        assert server.reload()
        assert client.get("/").text != pid
