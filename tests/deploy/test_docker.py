"""The shipped Dockerfile in a real container: as pid 1, not root, without a shell, nothing writable but /tmp."""

import concurrent.futures
import contextlib
import itertools
import json
import os
import re
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from deploy.engine import SITE, Engine
from deploy.namespaces import inside
from integration.client import Client, request
from integration.load import Load
from integration.server import DEADLINE, until

PORT = 8000
READY = r" ready url=http://0\.0\.0\.0:8000 generation=1 workers=(\d+) threads="
LIMIT = 250_000_000  # bytes, as near as pages allow
ZOMBIES = """
import glob
print(sum(open(name).read().rpartition(")")[2].split()[0] == "Z" for name in glob.glob("/proc/[1-9]*/stat")))
"""


class Container:
    """One container of the site; `address` is its own in the engine's network."""

    _numbers = itertools.count(1)

    def __init__(self, engine: Engine, *options: str) -> None:
        self.engine = engine
        self.name = f"site-{next(self._numbers)}"
        fixed = ("--read-only", "--tmpfs", "/tmp", "--env", "SPAWNING_LOG_FORMAT=text")
        engine.docker("run", "--detach", "--name", self.name, *fixed, *options, SITE)

    def wait_ready(self) -> int:
        """Wait until it serves and return the number of its workers."""
        return int(self.wait_for_log(READY)[1])

    def wait_for_log(self, pattern: str) -> "re.Match[str]":
        found = until(lambda: re.search(pattern, self.log()) or not self.runs, f"{pattern} in the log")
        assert isinstance(found, re.Match), self.log()
        return found

    def log(self) -> str:
        """Return what it wrote to both streams."""
        with self.engine.start("logs", self.name) as process:
            return b"".join(process.communicate()).decode()

    def execute(self, *command: str) -> str:
        return self.engine.docker("exec", self.name, *command)

    def state(self) -> dict[str, Any]:
        return self._inspect(".State")

    @property
    def runs(self) -> bool:
        return bool(self.state()["Running"])

    @property
    def address(self) -> str:
        return str(self._inspect(".NetworkSettings")["IPAddress"])

    def _inspect(self, what: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.engine.docker("inspect", "--format", f"{{{{json {what}}}}}", self.name))
        return found

    def remove(self) -> None:
        self.engine.docker("rm", "--force", self.name)

    def ask(self, target: str) -> str:
        with Client(PORT, self.address) as client:
            answer = client.get(target)
        assert answer.status == 200
        return answer.text


@contextlib.contextmanager
def container(engine: Engine, *options: str, ready: bool = True) -> Iterator[Container]:
    """Have a container, and be in the engine's network meanwhile."""
    made = Container(engine, *options)
    try:
        with inside(engine.network):
            if ready:
                made.wait_ready()
            yield made
    except BaseException as error:
        error.add_note(made.log())
        raise
    finally:
        made.remove()


@pytest.fixture(scope="module")
def site(engine: Engine) -> Iterator[Container]:
    """A container for what does not end it."""
    with container(engine, "--cpus", "1") as site:
        yield site


def test_it_is_not_root_and_finds_nothing_to_write_to(site: Container) -> None:
    assert json.loads(site.ask("/facts"))["uid"] == 10001
    assert site.execute(
        "python3", "-c", "import os; print(os.access('/site', os.W_OK), os.path.exists('/bin/sh'))"
    ) == ("False False\n")
    assert "WARNING" not in site.log()


def test_logs_are_json_and_the_access_log_is_on_stdout(engine: Engine) -> None:
    with container(engine, "--env", "SPAWNING_LOG_FORMAT=", ready=False) as site:
        site.wait_for_log('"message": *"ready')
        assert site.ask("/") == "1"
        site.wait_for_log('"GET"')
        with engine.start("logs", site.name) as process:
            out, err = ([json.loads(line) for line in stream.splitlines()] for stream in process.communicate())
        assert [line["url.path"] for line in out] == ["/"]
        assert err[-1]["message"] == "ready"


def test_without_anything_to_write_to_it_serves_and_says_what_it_lacks(engine: Engine) -> None:
    with container(engine, "--tmpfs", "/tmp:ro") as site:
        assert site.ask("/") == "1"
        assert "WARNING no control socket" in site.log()
        assert "WARNING no directory for temporary files" in site.log()


def test_spawnctl_finds_it_as_pid_1(site: Container) -> None:
    assert ", pid 1, http://0.0.0.0:8000, " in site.execute("spawnctl", "status")


def test_signals_reach_it_as_pid_1(site: Container) -> None:
    site.engine.docker("kill", "--signal", "HUP", site.name)
    site.wait_for_log(r" reload finished generation=2 ")
    assert site.ask("/") == "1"


def test_zombies_are_reaped(site: Container) -> None:
    for _ in range(20):
        assert site.ask("/orphan") == "1"
    until(lambda: site.execute("python3", "-c", ZOMBIES) == "0\n", "no zombies")


def test_it_becomes_healthy_through_the_status_service(site: Container) -> None:
    until(lambda: site.state()["Health"]["Status"] == "healthy", "a healthy container")


def test_it_becomes_unhealthy_when_the_controller_hangs(engine: Engine) -> None:
    with container(engine, "--health-interval", "1s", "--health-retries", "1", "--health-start-period", "0s") as site:
        until(lambda: site.state()["Health"]["Status"] == "healthy", "a healthy container")
        site.engine.docker("kill", "--signal", "STOP", site.name)
        until(lambda: site.state()["Health"]["Status"] == "unhealthy", "an unhealthy container")
        site.engine.docker("kill", "--signal", "CONT", site.name)
        until(lambda: site.state()["Health"]["Status"] == "healthy", "a healthy container")


@pytest.mark.parametrize(("quota", "workers"), [("0.5", 1), ("1", 1), ("1.5", 2)])
def test_workers_follow_the_quota_of_processors(engine: Engine, quota: str, workers: int) -> None:
    with container(engine, "--cpus", quota, ready=False) as site:
        assert site.wait_ready() == min(workers, len(os.sched_getaffinity(0)))


def test_a_worker_is_replaced_before_the_kernel_kills_it(engine: Engine) -> None:
    with container(engine, "--cpus", "1", "--memory", str(LIMIT)) as site:
        first = json.loads(site.ask("/facts"))["pid"]
        while int(site.ask("/used")) <= 0.9 * LIMIT:  # what is left is not enough for a second generation
            site.ask("/leak?1")
        site.wait_for_log(r' worker recycled worker=1\.1 pid=\d+ reason="\d+ MB, \d+ MB of 249 MB in all ')
        site.wait_for_log(r" worker retired worker=1\.1 ")
        assert json.loads(site.ask("/facts"))["pid"] != first
        assert (site.state()["OOMKilled"], site.runs) == (False, True)
        assert " died " not in site.log()


def test_an_image_that_does_not_load_ends_at_once(engine: Engine) -> None:
    with container(engine, "--env", "SPAWNING_APP=nothing_of_that_name:application", ready=False) as site:
        until(lambda: not site.runs, "the end of the container")
        assert site.state()["ExitCode"] == 3
        assert "nothing_of_that_name" in site.log()


def test_a_stop_loses_no_request(engine: Engine) -> None:
    """Requests that are under way, on kept connections too, end as ever."""
    with container(engine, "--cpus", "2") as site, contextlib.ExitStack() as stack:
        clients = [stack.enter_context(Client(PORT, site.address)) for _ in range(8)]
        for client in clients:
            assert client.get("/").status == 200
            client.send(request("/wait"))
        until(lambda: site.execute("spawnctl", "requests").count("/wait") == 8, "all requests under way")
        with engine.start("stop", "--time", "30", site.name) as stop:
            site.wait_for_log(r" stopping signal=SIGTERM")
            site.execute("python3", "-c", "open('/tmp/open', 'w')")
            answers = [client.read() for client in clients]
            assert stop.wait(DEADLINE) == 0
        assert [(answer.status, answer.text) for answer in answers] == [(200, "1")] * 8
        assert [client.read_eof() for client in clients] == [b""] * 8
        state = site.state()
        assert (state["ExitCode"], state["OOMKilled"]) == (0, False)
        assert site.log().rstrip().endswith(" stopped")


def test_a_reload_under_load_loses_no_request(engine: Engine) -> None:
    with container(engine, "--cpus", "2") as site:
        with Load(PORT, fresh=2, kept=2, host=site.address) as load:
            load.wait_for_more()
            engine.docker("kill", "--signal", "HUP", site.name)
            site.wait_for_log(r" reload finished generation=2 ")
            load.wait_for_more()
        assert load.failures == []


@pytest.mark.parametrize("reader", [("attach", "--sig-proxy=false"), ("logs", "--follow")])
def test_a_stalled_reader_of_the_logs_loses_no_request(engine: Engine, reader: tuple[str, ...]) -> None:
    """With ``docker attach`` the engine itself waits for the reader, and stops reading the container's streams."""
    with container(engine, "--cpus", "2") as site, engine.start(*reader, site.name) as stalled:
        assert stalled.stdout is not None
        until(lambda: site.ask("/") and True, "an answer")
        stalled.stdout.readline()
        stalled.send_signal(signal.SIGSTOP)
        try:
            with concurrent.futures.ThreadPoolExecutor(4) as pool:
                assert sum(pool.map(_thousands, [site.address] * 4)) == 4 * 5000
        finally:
            stalled.send_signal(signal.SIGCONT)
            stalled.kill()
            stalled.communicate()


def _thousands(address: str) -> int:
    """Ask often enough to fill all buffers with lines of the access log, and count the answers."""
    with Client(PORT, address) as client:
        return sum(client.get(f"/{'x' * 200}").status == 200 for _ in range(5000))
