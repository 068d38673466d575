"""Socket activation with real descriptors, and what a manager hears on its socket."""

import re
import signal
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from integration.server import Server
from integration.sites import version, write

APP = "site_app:application"
ACTIVATE = Path(__file__).parent / "activate.py"

ENVIRONMENT = """\
import os

NAMES = ("LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")


def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [",".join(name for name in NAMES if name in os.environ).encode() or b"none"]
"""


def activated(kinds: str, *args: str, cwd: Path, ready: bool = True) -> Server:
    """Start the real command with descriptors from 3 on; see ``activate.py``."""
    command = [sys.executable, str(ACTIVATE), kinds, sys.executable, "-m", "spawning", *args]
    return Server(command=command, cwd=cwd, ready=ready)


class Manager:
    """A notify socket, and what has been said on it."""

    def __init__(self, address: Path) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sock.bind(str(address))
        self.sock.settimeout(30)

    def wait_for(self, name: str) -> dict[str, str]:
        """Wait for a notification that sets a variable and give it."""
        while True:
            said = dict(line.split("=", 1) for line in self.sock.recv(4096).decode().split("\n"))
            if name in said:
                return said


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    manager = Manager(tmp_path / "notify")
    yield manager
    manager.sock.close()


def test_inherited_sockets_are_served_instead_of_an_own_one(tmp_path: Path) -> None:
    write(tmp_path, "1")
    with activated("tcp,tcp", "--port", "1", "-s", "1", APP, cwd=tmp_path) as server:
        assert server.port > 1
        server.wait_for_log(rf" ready url=http://127\.0\.0\.1:{server.port} .* also=http://127\.0\.0\.1:\d+$")
        assert version(server.port) == "1"
        write(tmp_path, "2")
        assert server.reload()
        assert version(server.port) == "2"
        assert "WARNING" not in server.log()


def test_an_inherited_unix_socket_is_served(tmp_path: Path) -> None:
    write(tmp_path, "1")
    with activated("unix", "-s", "1", APP, cwd=tmp_path) as server:
        assert str(server.where).startswith("@")
        assert version(server.where) == "1"


def test_a_name_chooses_among_the_sockets_of_a_unit(tmp_path: Path) -> None:
    write(tmp_path, "1")
    command = ("--bind", "systemd:web1", "--bind", "127.0.0.1:0", "-s", "1", APP)
    with activated("unix,tcp,unix", *command, cwd=tmp_path) as server:
        also = server.wait_for_log(r" ready url=http://127\.0\.0\.1:\d+ .* also=http://127\.0\.0\.1:(\d+)$")[1]
        assert version(server.port) == version(int(also)) == "1"
        for _ in range(2):
            assert server.reload()
            assert version(server.port) == version(int(also)) == "1"


def test_a_name_that_no_socket_has_is_an_error_that_names_those_there_are(tmp_path: Path) -> None:
    write(tmp_path, "1")
    with activated("tcp,unix", "--bind", "systemd:api", APP, cwd=tmp_path, ready=False) as server:
        assert server.wait() == 2
        assert server.log() == (
            "spawn: option --bind: systemd:api: no such socket was inherited; there are web0, web1"
            " (FileDescriptorName= of the .socket unit)"
        )


def test_the_application_does_not_see_the_variables(tmp_path: Path, manager: Manager) -> None:
    (tmp_path / "site_app.py").write_text(ENVIRONMENT)
    with activated("tcp", "-s", "1", APP, cwd=tmp_path) as server:
        assert version(server.port) == "none"
    with Server(APP, "-s", "1", cwd=tmp_path, env=variables(tmp_path)) as server:
        assert version(server.port) == "none"


@pytest.mark.parametrize(
    ("kinds", "message"),
    [
        ("tcp,udp", r"descriptor 4 \(web1\) is not a stream socket"),
        ("idle", r"descriptor 3 \(web0\) does not listen"),
        ("file", r"descriptor 3 \(web0\) is no socket"),
    ],
)
def test_a_descriptor_that_cannot_be_served_is_an_error(tmp_path: Path, kinds: str, message: str) -> None:
    write(tmp_path, "1")
    with activated(kinds, APP, cwd=tmp_path, ready=False) as server:
        assert server.wait() == 2
        assert re.search(rf"^spawn: inherited {message}", server.log(), re.MULTILINE)


def variables(directory: Path) -> dict[str, str]:
    return {"NOTIFY_SOCKET": str(directory / "notify"), "WATCHDOG_USEC": "400000"}


def test_the_manager_hears_of_start_reload_refusal_and_stop(tmp_path: Path, manager: Manager) -> None:
    write(tmp_path, "1")
    with Server(APP, "-s", "2", cwd=tmp_path, env=variables(tmp_path)) as server:
        assert manager.wait_for("READY")["STATUS"] == "generation 1 serves with 2 workers"
        for wanted, code in ((2, "2"), (2, None)):
            before = time.monotonic_ns() // 1000
            if code is None:
                (tmp_path / "site_app.py").write_text("import nothing_of_that_name\n")
            else:
                write(tmp_path, code)
            server.signal(signal.SIGHUP)
            assert int(manager.wait_for("RELOADING")["MONOTONIC_USEC"]) >= before
            assert manager.wait_for("READY")["STATUS"].startswith(f"generation {wanted} serves with 2 workers")
        server.signal(signal.SIGTERM)
        assert manager.wait_for("STOPPING") == {"STOPPING": "1", "STATUS": "finishing what is under way"}
        assert server.wait() == 0


def test_an_upgrade_in_place_is_a_reload_for_the_manager(tmp_path: Path, manager: Manager) -> None:
    write(tmp_path, "1")
    with Server(APP, "-s", "1", cwd=tmp_path, env=variables(tmp_path)) as server:
        manager.wait_for("READY")
        server.signal(signal.SIGUSR2)
        manager.wait_for("RELOADING")
        assert manager.wait_for("READY")["STATUS"] == "generation 2 serves with 1 worker"
        manager.wait_for("WATCHDOG")


def test_the_watchdog_is_fed_while_nothing_happens(tmp_path: Path, manager: Manager) -> None:
    write(tmp_path, "1")
    with Server(APP, "-s", "1", cwd=tmp_path, env=variables(tmp_path)):
        manager.wait_for("READY")
        for _ in range(3):
            assert manager.wait_for("WATCHDOG") == {"WATCHDOG": "1"}
