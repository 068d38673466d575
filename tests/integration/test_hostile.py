"""Mutated bytes, and resets in every phase of a connection: the right answers, an empty log, and nothing left behind.

``fuzz/soak.py`` does the same for longer, with workers killed meanwhile.
"""

import os
import signal
import threading
from collections.abc import Callable, Iterator

import psutil
import pytest

from integration.client import Client, Closed, fetch, request
from integration.gate import Gate
from integration.hostile import PHASES, Mutator, check, reset
from integration.server import Server, until

INPUTS = 2000
TIMES = 20


@pytest.fixture(scope="module")
def fingerprints() -> Iterator[Server]:
    """One worker that tells what it was asked for."""
    with Server("fingerprint.application", "-s", "1", "-t", "2", "-l", "/dev/null") as server:
        yield server


class Watch:
    """Says whether a server with one worker has the descriptors that it had in the beginning, and an empty log.

    They are counted when the worker has no connection, as it must not have when the clients have gone.
    """

    def __init__(self, server: Server) -> None:
        assert fetch(server.port).status == 200  # what is opened once is open now
        self._server = server
        (worker,) = server.workers()
        self._worker = psutil.Process(worker.pid)
        self._before = self._descriptors()
        self._mark = server.mark()

    def check(self) -> None:
        assert fetch(self._server.port).status == 200
        assert self._descriptors() == self._before
        assert self._server.err.since(self._mark) == []

    def _descriptors(self) -> int:
        until(lambda: not any(at.raddr for at in self._worker.net_connections("tcp")), "no connection")
        return self._worker.num_fds()


def test_mutated_bytes_are_answered_as_the_reader_reads_them(fingerprints: Server) -> None:
    watch = Watch(fingerprints)
    mutator = Mutator(seed=4)
    for number in range(INPUTS):
        data = mutator.input()
        try:
            check(fingerprints.port, data, mutator.pieces(data))
        except (AssertionError, Closed, OSError) as error:
            error.add_note(f"input {number}: {data!r}")
            raise
    watch.check()


@pytest.mark.parametrize("phase", PHASES, ids=lambda phase: phase.__name__)
def test_a_reset_harms_nobody_and_leaves_nothing(basics: Server, phase: Callable[[Client], None]) -> None:
    watch = Watch(basics)
    for _ in range(TIMES):
        client = Client(basics.port)
        phase(client)
        reset(client)
    watch.check()


def test_a_reset_while_the_application_works_harms_nobody_and_leaves_nothing(basics: Server, gate: Gate) -> None:
    watch = Watch(basics)
    for _ in range(TIMES):
        client = Client(basics.port)
        client.send(request(gate.target))
        gate.wait_entered()
        reset(client)
        gate.open()
    watch.check()


def test_workers_killed_among_hostile_clients_leave_no_traceback() -> None:
    """Those that were talking to the killed worker lose their connection; nobody gets a wrong answer."""
    over, wrong = threading.Event(), []

    def attack(port: int, seed: int) -> None:
        mutator = Mutator(seed)
        while not over.is_set():
            data = mutator.input()
            try:
                check(port, data, mutator.pieces(data))
            except (Closed, OSError):
                pass  # the worker was killed
            except AssertionError as error:
                wrong.append((data, error))

    with Server("fingerprint.application", "-s", "2", "-t", "2", "-l", "/dev/null") as server:
        attackers = [threading.Thread(target=attack, args=(server.port, seed)) for seed in range(3)]
        for attacker in attackers:
            attacker.start()
        try:
            for worker in server.wait_workers(2):
                mark = server.mark()
                os.kill(worker.pid, signal.SIGKILL)
                server.wait_for_log(r" worker started ", after=mark)
        finally:
            over.set()
            for attacker in attackers:
                attacker.join()
        assert wrong == []
        assert [line for line in server.err.since() if "Traceback" in line or " ERROR " in line] == []
