"""The judgement whether requests wait is made for each route: one that waits says nothing about the others."""

import re

from integration.client import Client, request
from integration.gate import Gate
from integration.server import Server

_WAITS = re.compile(r"route waits calls=handed-over .*route='(.*)'")


def test_a_route_that_waits_is_handed_over_and_the_others_stay_inline(gate: Gate) -> None:
    with (
        Server("basics.application", "-v", "-s", "1", "-t", "4") as server,
        Client(server.port) as waiting,
        Client(server.port) as computing,
    ):
        for _ in range(100):
            waiting.send(request(gate.target))
            gate.wait_entered()
            # Answered although the leader is held up: another thread has got the lead, which is one proof more.
            assert computing.get("/hello").status == 200
            gate.open()
            assert waiting.read().body == b"held\n"
            if _WAITS.search(server.log()):
                break
        server.wait_for_log(_WAITS.pattern)
        assert _WAITS.findall(server.log()) == ["GET /hold"]


def test_a_route_known_to_compute_that_begins_to_wait_loses_the_lead(gate: Gate) -> None:
    with (
        Server("basics.application", "-s", "1", "-t", "4") as server,
        Client(server.port) as waiting,
        Client(server.port) as computing,
    ):
        for _ in range(20):
            gate.open(50)  # beforehand, so that nothing waits
            for _ in range(50):
                assert waiting.get(gate.target).body == b"held\n"
            gate.wait_entered(50)
        waiting.send(request(gate.target))
        gate.wait_entered()
        assert computing.get("/hello").status == 200
        gate.open()
        assert waiting.read().body == b"held\n"
