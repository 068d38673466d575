"""How the kernel is asked to schedule a worker's threads: which of them yield."""

import contextlib
import os
import sys
from collections import Counter

from integration.client import Client, fetch, request
from integration.gate import Gate
from integration.server import Found, Server, until

USUAL, YIELDING = os.SCHED_OTHER, os.SCHED_BATCH


def policies(worker: Found) -> Counter[int]:
    """Count the threads of a worker by their scheduling policies."""
    found: Counter[int] = Counter()
    for thread in os.listdir(f"/proc/{worker.pid}/task"):
        with contextlib.suppress(ProcessLookupError):
            found[os.sched_getscheduler(int(thread))] += 1
    return found


def test_of_several_workers_the_leaders_yield_and_nobody_else(gate: Gate) -> None:
    with Server("crowd.application", "-s", "2", "-t", "4", "-l", "/dev/null") as server:
        workers = server.wait_workers(2)
        main_log_and_leader = [{USUAL: 2, YIELDING: 1}] * 2
        until(lambda: [policies(worker) for worker in workers] == main_log_and_leader, "leaders that yield")
        with Client(server.port) as client:
            client.send(request(gate.target))
            gate.wait_entered()
            # The lead is taken from the thread that waits there: another leads, and began as a thread that does not.
            until(lambda: sorted(policies(worker)[YIELDING] for worker in workers) == [1, 2], "another leader")
            gate.open()
            assert client.read().body == b"held\n"
        until(lambda: all(policies(worker)[YIELDING] == 1 for worker in workers), "the thread that led is as usual")


def test_a_worker_that_is_alone_does_not_yield() -> None:
    with Server("basics.application", "-s", "1", "-l", "/dev/null") as server:
        (worker,) = server.wait_workers(1)
        assert fetch(server.port, "/hello").status == 200
        assert set(policies(worker)) == {USUAL}


def test_a_policy_that_somebody_has_chosen_stays() -> None:
    """As ``CPUSchedulingPolicy=idle`` of a systemd unit does."""
    options = ["-m", "spawning", "--port", "0", "basics.application", "-s", "2", "-l", "/dev/null"]
    choose = "import os, sys; os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0)); "
    start = "os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
    with Server(command=[sys.executable, "-c", choose + start, *options]) as server:
        for worker in server.wait_workers(2):
            assert set(policies(worker)) == {os.SCHED_IDLE}
