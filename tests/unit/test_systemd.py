"""What is told to the service manager, from the controller's records; and what is taken from the environment."""

import contextlib
import logging
import math
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from spawning.controller.condition import condition
from spawning.controller.fleet import Fleet
from spawning.controller.plan import Service, Wanted
from spawning.controller.records import Source, WorkerStep
from spawning.controller.refusal import Refusal
from spawning.ipc.messages import Loaded
from spawning.settings import Settings
from spawning.systemd import Condition, Notifier, Phase, inherited_listeners, with_address_of

SERVING = Condition(Phase.SERVING, 0, "generation 1 serves with 4 workers")


class Manager:
    """A notify socket without a manager behind it."""

    def __init__(self, address: str) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sock.bind(address)
        self.sock.setblocking(False)

    def heard(self) -> list[dict[str, str]]:
        """Return the notifications so far, each as variable to value."""
        found = []
        try:
            while True:
                lines = self.sock.recv(4096).decode().split("\n")
                found.append(dict(line.split("=", 1) for line in lines))
        except BlockingIOError:
            return found


@pytest.fixture
def address(tmp_path: Path) -> str:
    return str(tmp_path / "notify")


@pytest.fixture
def manager(address: str) -> Iterator[Manager]:
    manager = Manager(address)
    yield manager
    manager.sock.close()


def fleet_that_serves(workers: int) -> Fleet:
    fleet = Fleet()
    fleet.generation_started(1, Settings(), "start", 100, 0.0)
    fleet.apply(Source(1), Loaded(), 0.0)
    fleet.cutover_began(1, 1.0)
    fleet.cutover_finished(1, 0.0)
    for _ in range(workers):
        source = fleet.next_source(1)
        fleet.worker_forked(source, 0.0)
        worker = fleet.worker(source)
        assert worker is not None
        worker.step(WorkerStep.BECAME_READY)
        worker.step(WorkerStep.STARTED)
    return fleet


def test_the_condition_follows_the_records() -> None:
    fleet = Fleet()
    assert condition(Wanted(), fleet).phase is Phase.STARTING
    fleet.generation_started(1, Settings(), "start", 100, 0.0)
    assert condition(Wanted(), fleet).phase is Phase.STARTING
    fleet = fleet_that_serves(1)
    assert condition(Wanted(), fleet) == Condition(Phase.SERVING, 0, "generation 1 serves with 1 worker")
    asked = Wanted(generation=2)
    reloading = Condition(Phase.RELOADING, 2, "generation 1 serves with 1 worker; generation 2 is loading")
    assert condition(asked, fleet) == reloading
    fleet.generation_started(2, Settings(), "SIGHUP", 101, 1.0)
    assert condition(asked, fleet) == reloading
    fleet.refused(2, 2.0)
    assert condition(asked, fleet) == Condition(Phase.SERVING, 0, "generation 1 serves with 1 worker")
    fleet.last_refusal = Refusal(2, "SIGHUP", 1e9, "it does not import")
    refused = "generation 1 serves with 1 worker; generation 2 was refused: it does not import"
    assert condition(asked, fleet) == Condition(Phase.SERVING, 0, refused)
    assert condition(Wanted(service=Service.DRAIN), fleet).phase is Phase.STOPPING


def test_ready_is_said_once_and_a_new_status_when_it_changes(address: str, manager: Manager) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": address})
    assert notifier.report(Condition(Phase.STARTING, 0, "loading"), 1.0) == math.inf
    notifier.report(SERVING, 2.0)
    notifier.report(SERVING, 3.0)
    fewer = Condition(Phase.SERVING, 0, "generation 1 serves with 3 workers")
    notifier.report(fewer, 4.0)
    assert manager.heard() == [
        {"STATUS": "loading"},
        {"READY": "1", "STATUS": SERVING.status},
        {"STATUS": fewer.status},
    ]


def test_each_reload_has_the_time_at_which_it_began(address: str, manager: Manager) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": address}, Phase.SERVING)
    notifier.report(Condition(Phase.RELOADING, 2, "two"), 10.5)
    notifier.report(Condition(Phase.RELOADING, 2, "two"), 11.0)
    notifier.report(Condition(Phase.RELOADING, 3, "three"), 11.5)
    notifier.report(SERVING, 12.0)
    notifier.report(Condition(Phase.STOPPING, 0, "bye"), 13.0)
    assert manager.heard() == [
        {"RELOADING": "1", "MONOTONIC_USEC": "10500000", "STATUS": "two"},
        {"RELOADING": "1", "MONOTONIC_USEC": "11500000", "STATUS": "three"},
        {"READY": "1", "STATUS": SERVING.status},
        {"STOPPING": "1", "STATUS": "bye"},
    ]


def test_an_abstract_address(tmp_path: Path) -> None:
    name = f"spawning-test-{os.getpid()}"
    manager = Manager(f"\0{name}")
    with manager.sock:
        Notifier({"NOTIFY_SOCKET": f"@{name}"}).report(SERVING, 0.0)
        assert len(manager.heard()) == 1


def test_the_watchdog_is_fed_at_half_of_its_time(address: str, manager: Manager) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "2000000", "WATCHDOG_PID": str(os.getpid())})
    assert notifier.report(SERVING, 10.0) == 11.0
    assert notifier.report(SERVING, 10.5) == 11.0
    assert notifier.report(SERVING, 11.2) == 12.2
    assert [each for each in manager.heard() if "WATCHDOG" in each] == [{"WATCHDOG": "1"}] * 2


@pytest.mark.parametrize(
    "variables", [{}, {"WATCHDOG_USEC": "0"}, {"WATCHDOG_USEC": "soon"}, {"WATCHDOG_USEC": "5", "WATCHDOG_PID": "1"}]
)
def test_nobody_wants_the_watchdog(address: str, manager: Manager, variables: dict[str, str]) -> None:
    assert Notifier({"NOTIFY_SOCKET": address, **variables}).report(SERVING, 0.0) == math.inf
    assert "WATCHDOG" not in [name for each in manager.heard() for name in each]


def test_without_a_manager_nothing_happens_and_the_environment_is_clean() -> None:
    environ = {"WATCHDOG_USEC": "5", "HOME": "/"}
    notifier = Notifier(environ)
    assert environ == {"HOME": "/"}
    assert notifier.variables == {"WATCHDOG_USEC": "5"}
    assert notifier.report(SERVING, 0.0) == math.inf


def test_a_manager_that_takes_nothing_is_told_later(address: str, manager: Manager) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": address}, Phase.SERVING)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        other.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                other.sendto(b"FILL=1", address)
    assert notifier.report(SERVING, 10.0) == 11.0
    manager.heard()
    assert notifier.report(SERVING, 11.0) == math.inf
    assert manager.heard() == [{"STATUS": SERVING.status}]


def test_a_manager_that_is_gone_is_a_warning_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": str(tmp_path / "nobody")})
    with caplog.at_level(logging.WARNING, "spawning.systemd"):
        for phase in (Phase.SERVING, Phase.STOPPING):
            notifier.report(Condition(phase, 0, ""), 0.0)
    assert len(caplog.records) == 1


def test_sockets_for_another_process_are_left_alone() -> None:
    environ = {"LISTEN_FDS": "1", "LISTEN_PID": "1", "LISTEN_FDNAMES": "web", "HOME": "/"}
    assert inherited_listeners(environ) == {}
    assert environ == {"HOME": "/"}
    assert inherited_listeners({}) == {}


def test_the_address_of_inherited_sockets_counts_as_given_on_the_command_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        settings, sources = with_address_of([listener], Settings(port=9090, explicit=("port",)), {"port": "option -p"})
        assert (settings.host, settings.port) == listener.getsockname()
        assert settings.explicit == ("port", "host")
        assert sources["port"] == "inherited socket"
