"""Clients that go while the application waits where nobody can wake it: it is told, in both modes
(``environ["spawning.client_disconnected"].call``).
"""

import itertools
import re
from collections.abc import Iterator

import pytest

from integration.client import Client, fetch, request
from integration.clients import leave
from integration.server import Server, Way


@pytest.fixture(scope="module", params=["threads", "green"])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    way = Way("127.0.0.1:0", green=request.param == "green")
    with way("watchers.application", "-s", "1", "-t", "16", "-l", "/dev/null", "--no-keepalive") as server:
        yield server


def test_what_waits_is_told_that_its_client_has_gone(server: Server) -> None:
    mark = server.mark()
    clients = []
    targets = ["/stream?", "/stream?begun", "/page?"]  # which yields nothing at all, nothing more, has no response yet
    for target, how in itertools.product(targets, ["close", "reset", "half-close"]):
        client = Client(server.port)
        clients.append(client)
        client.send(request(f"{target}+{how}"))
        server.wait_for_log(rf"^{re.escape(target)}\+{how} waits$", after=mark)
        leave(client, how)
    for target, how in itertools.product(targets, ["close", "reset", "half-close"]):
        server.wait_for_log(rf"^{re.escape(target)}\+{how} closed$", after=mark)
    for client in clients:
        client.close()
    assert not [line for line in server.err.since(mark) if "Traceback" in line]


def test_one_that_has_its_answer_is_told_nothing(server: Server) -> None:
    mark = server.mark()
    assert fetch(server.port, "/quick").body == b"quick"
    with Client(server.port) as client:  # is told later than that one would be
        client.send(request("/page"))
        server.wait_for_log(r"^/page\? waits$", after=mark)
    server.wait_for_log(r"^/page\? closed$", after=mark)
    assert not [line for line in server.err.since(mark) if "/quick" in line]


def test_what_is_called_may_fail_and_concerns_nobody_else(server: Server) -> None:
    mark = server.mark()
    pid = fetch(server.port, "/pid").body
    with Client(server.port) as client:
        client.send(request("/wrong"))
        server.wait_for_log(r"^/wrong\? waits$", after=mark)
    server.wait_for_log(r"^/wrong\? closed$", after=mark)
    server.wait_for_log(r" ERROR what was to be called when a client goes raised method=GET path='/wrong'", after=mark)
    server.wait_for_log("ZeroDivisionError: ", after=mark)
    server.wait_for_log("SystemExit: 3", after=mark)
    assert fetch(server.port, "/pid").body == pid


def test_what_cannot_be_called_is_refused_at_once(server: Server) -> None:
    assert fetch(server.port, "/nothing").body == b"client_disconnected.call() wants a function without arguments"
