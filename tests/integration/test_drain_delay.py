"""``--drain-delay``: between the order to stop and the stop, load balancers have time to notice."""

import json
import os
import signal
from pathlib import Path

import pytest

from integration.client import Client, fetch
from integration.server import Server, until
from integration.sites import write

SITE = ("basics.application", "-s", "1", "-t", "2", "--ready-path", "/hello?probe=1")


def test_the_readiness_path_says_503_and_everything_else_is_served_on() -> None:
    with Server(*SITE, "--drain-delay", "60") as server, Client(server.port) as kept:
        assert kept.get("/hello").status == 200
        server.signal(signal.SIGTERM)
        server.wait_for_log(r" stopping signal=SIGTERM delay=60\.000$")
        until(lambda: fetch(server.port, "/hello").status == 503, "the readiness path at 503")
        answer = kept.get("/environ")  # a client of before learns it from its next response
        assert (answer.status, answer.closes) == (200, True)
        with Client(server.port) as client:
            answer = client.get("/environ")
            assert (answer.status, answer.closes) == (200, True)
        assert fetch(server.port, "/hello?something=else").status == 503
        mark = server.mark()
        os.kill(server.workers()[0].pid, signal.SIGKILL)
        server.wait_for_log(r" worker started ", after=mark)
        until(lambda: fetch(server.port, "/hello").status == 503, "the readiness path at 503, in the replacement")
        server.signal(signal.SIGHUP)  # nothing new is begun
        assert server.stop(signal.SIGINT) == 0
        assert "reload started" not in server.log()


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT], ids=lambda each: each.name)
def test_a_signal_to_the_whole_group_is_the_controllers_business(signum: signal.Signals) -> None:
    """As systemd, ``timeout`` and shells send it: the workers serve until the delay is over."""
    with Server("basics.application", "-s", "2", "--drain-delay", "60") as server:
        workers = server.wait_workers(2)
        os.killpg(server.pid, signum)
        server.wait_for_log(r" stopping signal=SIG\w+ delay=60\.000$")
        for _ in range(2):  # the second one means each worker alone as little as the first
            for worker in workers:
                os.kill(worker.pid, signum)
            until(lambda: fetch(server.port, "/hello").closes, "the end announced")
        for pid in {json.loads(fetch(server.port, "/environ").text)["pid"] for _ in range(20)}:
            assert pid in [worker.pid for worker in workers]
        assert server.workers() == workers
        assert server.stop(signal.SIGQUIT) == 0
        for wrong in (" worker recycled ", " worker retired ", " died "):
            assert wrong not in server.log()


def test_then_it_stops() -> None:
    with Server(*SITE, "--drain-delay", "0.3") as server:
        assert server.stop(signal.SIGTERM) == 0
        server.wait_for_log(r" worker retired ")
        server.wait_for_log(r" stopped$")


def test_a_service_that_has_not_served_stops_without_delay(tmp_path: Path) -> None:
    write(tmp_path, "1", before="import sys, threading\nprint('importing', file=sys.stderr)\nthreading.Event().wait()")
    with Server("site_app:application", "--drain-delay", "600", cwd=tmp_path, ready=False) as server:
        server.wait_for_log("^importing$")
        assert server.stop(signal.SIGTERM) == 0
