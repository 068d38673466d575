"""Two machines behind HAProxy, in networks of the test's own: deployed one after the other, under load."""

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from clients.programs import program
from deploy.base import ROOT
from deploy.load import Wrk
from deploy.namespaces import Machines, inside
from integration.client import fetch
from integration.control import spawnctl
from integration.load import Load
from integration.server import DEADLINE, Server, until
from integration.sites import write

EXAMPLE = ROOT / "examples" / "haproxy" / "haproxy.cfg"
PORT = 80
BALANCER, CLIENT = 2, 3  # which machine; the first two serve


class Site:
    """Spawning on one of the machines, with code of its own."""

    def __init__(self, machines: Machines, number: int, directory: Path) -> None:
        self.address = machines.addresses[number]
        self.directory = directory / f"machine-{number}"
        self.directory.mkdir()
        self._network = machines.network(number)
        self._server: Server | None = None

    def start(self, version: str) -> None:
        write(self.directory, version)
        options = ("-s", "1", "-t", "4", "-l", "/dev/null", "--status", "0.0.0.0:9001", "--drain-delay", "5")
        secret = {"SPAWNING_STATUS_TOKEN": "a-token-of-the-test"}
        bind = f"{self.address}:8000"
        with inside(self._network):
            self._server = Server("site_app:application", *options, cwd=self.directory, bind=bind, env=secret)
            self._server.__enter__()

    def stop(self) -> None:
        """Stop it as people do, and wait for its end."""
        assert self._server is not None
        done = spawnctl("--address", f"{self.address}:8000", "stop", "--wait")
        assert done.status == 0, done.err
        self._server.wait(DEADLINE)
        self.close()

    def close(self) -> None:
        if self._server is not None:
            server, self._server = self._server, None
            server.__exit__(None, None, None)


@pytest.fixture
def machines() -> Iterator[Machines]:
    with Machines(4) as machines:
        yield machines


@contextlib.contextmanager
def balancer(machines: Machines, directory: Path) -> Iterator[str]:
    """Have HAProxy on its machine, configured by the example as it stands there; gives its address."""
    command = [program("haproxy"), "-db", "-f", str(EXAMPLE)]
    with (directory / "haproxy.log").open("wb") as log, inside(machines.network(BALANCER)):
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        yield machines.addresses[BALANCER]
        assert process.poll() is None
    except BaseException as error:
        error.add_note((directory / "haproxy.log").read_text())
        raise
    finally:
        process.terminate()
        process.wait(DEADLINE)


def test_a_deployment_of_one_machine_after_the_other_loses_no_request(machines: Machines, tmp_path: Path) -> None:
    with contextlib.ExitStack() as stack:
        sites = [Site(machines, number, tmp_path) for number in range(2)]
        for site in sites:
            stack.callback(site.close)
            site.start("1")
        address = stack.enter_context(balancer(machines, tmp_path))
        with inside(machines.network(CLIENT)):
            until(lambda: answers(address), "HAProxy serves")
            with Wrk(f"http://{address}/") as wrk, Load(PORT, fresh=2, kept=4, host=address) as load:
                load.wait_for_more()
                for site in sites:
                    site.stop()
                    load.wait_for_more()
                    site.start("2")
                    load.wait_for(2)
                load.wait_for_more()
        assert load.failures == []
        assert wrk.failures == []
        assert wrk.requests > 0


def answers(address: str) -> bool:
    with contextlib.suppress(OSError):
        return fetch(PORT, "/", host=address).status == 200
    return False
