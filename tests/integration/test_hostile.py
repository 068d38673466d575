"""Mutated bytes, and resets in every phase of a connection: the right answers, an empty log, and nothing left behind.

``fuzz/soak.py`` does the same for longer, with workers killed meanwhile.
"""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Self

import psutil
import pytest

from integration.client import Client, Closed, fetch, request
from integration.gate import Gate
from integration.hostile import PHASES, Flights, Mutator, check, check_flight, reset
from integration.server import Server, until

INPUTS = 10_000
INPUTS_OVER_TLS = 500  # each of them with a handshake
TIMES = 20
CLIENTS = 6  # more than the threads of the servers below


TCP, TLS = "127.0.0.1:0", "127.0.0.1:0?tls"


@pytest.fixture(scope="module", params=[TCP, TLS], ids=["tcp", "tls"])
def fingerprints(request: pytest.FixtureRequest) -> Iterator[Server]:
    """One worker that tells what it was asked for."""
    with Server("fingerprint.application", "-s", "1", "-t", "2", "-l", "/dev/null", bind=request.param) as server:
        yield server


def said(lines: list[str]) -> list[str]:
    """Leave out that something does not yield, with where it is: so it looks when the machine is busy elsewhere."""
    late = False
    left = []
    for line in lines:
        late = " does not yield, all " in line or (late and line.startswith(" "))
        if not late:
            left.append(line)
    return left


class Watch:
    """Whether a server with one worker has no more descriptors than in the beginning, and an empty log.

    They are counted when the worker has no connection, as it must not have when the clients have gone.
    """

    def __init__(self, server: Server) -> None:
        assert fetch(server.where).status == 200  # what is opened once is open now
        self._server = server
        (worker,) = server.workers()
        self._worker = psutil.Process(worker.pid)
        self._before = self._descriptors()
        self._mark = server.mark()

    def check(self) -> None:
        assert fetch(self._server.where).status == 200
        until(lambda: self._descriptors() <= self._before, "no more descriptors than in the beginning")
        assert said(self._server.err.since(self._mark)) == []

    def _descriptors(self) -> int:
        until(lambda: not any(at.raddr for at in self._worker.net_connections("tcp")), "no connection")
        return self._worker.num_fds()


def test_mutated_bytes_are_answered_as_the_reader_reads_them(fingerprints: Server) -> None:
    watch = Watch(fingerprints)
    mutator = Mutator(seed=4)
    for number in range(INPUTS_OVER_TLS if fingerprints.secure else INPUTS):
        data = mutator.input()
        try:
            check(fingerprints.where, data, mutator.pieces(data))
        except (AssertionError, Closed, OSError) as error:
            error.add_note(f"input {number}: {data!r}")
            raise
    watch.check()


@pytest.mark.parametrize("fingerprints", [TLS], indirect=True, ids=["tls"])
def test_mutated_handshakes_harm_nobody_and_leave_nothing(fingerprints: Server) -> None:
    watch = Watch(fingerprints)
    flights = Flights(seed=17)
    answered = 0
    for number in range(INPUTS_OVER_TLS):
        flight = flights.flight()
        try:
            answered += check_flight(fingerprints.port, flight).startswith(b"\x16")
        except (AssertionError, OSError) as error:
            error.add_note(f"input {number}: {flight!r}")
            raise
    watch.check()
    assert answered > INPUTS_OVER_TLS / 20  # hellos that were good enough for an answer


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


class Attack:
    """A few clients that send mutated inputs and check the answers between entry and exit.

    :param tolerated: what may happen to a client, such as a closed connection.
    """

    def __init__(self, port: int, *tolerated: type[Exception]) -> None:
        self.wrong: list[str] = []
        self.inputs = 0
        self._port = port
        self._tolerated = tolerated
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(seed,)) for seed in range(CLIENTS)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _run(self, seed: int) -> None:
        mutator = Mutator(seed)
        while not self._over.is_set():
            data = mutator.input()
            try:
                check(self._port, data, mutator.pieces(data))
            except self._tolerated:
                pass
            except (AssertionError, Closed, OSError) as error:
                self.wrong.append(f"{error!r}: {data!r}")
            self.inputs += 1


def test_threads_change_no_answer() -> None:
    """The same while requests are executed inline, are taken over, and are handed to threads, in turn."""
    with Server("uneven.application", "-s", "1", "-t", "2", "-l", "/dev/null") as server:
        watch = Watch(server)
        with Attack(server.port) as attack:
            until(lambda: attack.inputs > INPUTS / 2, f"{INPUTS // 2} inputs", timeout=120)
        assert attack.wrong == []
        watch.check()


@pytest.mark.parametrize("application", ["fingerprint.application", "uneven.application"])
def test_reloads_among_hostile_clients_change_no_answer(application: str) -> None:
    with Server(application, "-s", "2", "-t", "2", "-l", "/dev/null") as server:
        with Attack(server.port) as attack:
            for _ in range(5):
                before = attack.inputs
                assert server.reload()
                until(lambda: attack.inputs > before, "another input")  # noqa: B023
        assert attack.wrong == []
        assert [line for line in server.err.since() if " INFO " not in line] == []


def test_workers_killed_among_hostile_clients_leave_no_traceback() -> None:
    """Those that were talking to the killed worker lose their connection; nobody gets a wrong answer."""
    with Server("fingerprint.application", "-s", "2", "-t", "2", "-l", "/dev/null") as server:
        with Attack(server.port, Closed, OSError) as attack:
            for worker in server.wait_workers(2):
                mark = server.mark()
                os.kill(worker.pid, signal.SIGKILL)
                server.wait_for_log(r" worker started ", after=mark)
        assert attack.wrong == []
        assert [line for line in server.err.since() if "Traceback" in line or " ERROR " in line] == []
