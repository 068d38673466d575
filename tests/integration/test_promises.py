"""The five promises of the README, each with the fault that would break it.

For promise 3 (slow clients) there are more beside the worker's tests of timeouts, for what they cost in memory too.
"""

import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from integration.client import Client, fetch, request
from integration.gate import Gate
from integration.load import Load, steps_back
from integration.server import Server, Way

SITE = """
VERSION = b"{version}"


def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(VERSION)))])
    return [VERSION]
"""


class Site:
    """An application on disk that answers with its version."""

    def __init__(self, directory: Path, way: Way) -> None:
        self.directory = directory
        self.way = way
        self.write(1)

    def write(self, version: int) -> None:
        self.replace(SITE.format(version=version))

    def replace(self, source: str) -> None:
        draft = self.directory / "site_draft"
        draft.write_text(source)
        draft.replace(self.directory / "versioned.py")

    def serve(self, *options: str) -> Server:
        # byte code is told apart by whole seconds and size: two edits within a second would look the same
        env = {"PYTHONDONTWRITEBYTECODE": "1"}
        return self.way("versioned.application", "-l", "/dev/null", *options, cwd=self.directory, env=env)


@pytest.fixture
def site(tmp_path: Path, way: Way) -> Site:
    return Site(tmp_path, way)


@pytest.fixture
def held() -> Iterator[list[Client]]:
    """Connections that a test opens; closed at the end."""
    clients: list[Client] = []
    yield clients
    for client in clients:
        client.close()


# 1. A reload drops nothing and never goes back -----------------------------------------------------------------------


def test_reloads_under_load_drop_nothing_close_nothing_and_never_go_back(site: Site) -> None:
    with site.serve("-s", "2", "-t", "4") as server:
        with Load(server.where, fresh=3, kept=3) as load:
            for version in range(2, 7):
                site.write(version)
                assert server.reload()
                assert int(fetch(server.where).body) == version
                load.wait_for(version)
        assert load.failures == []
        assert steps_back(load.answers) == []
        assert load.goodbyes <= (5 * 3 if server.secure else 0)  # once a reload and client
        for stories in (load.fresh, load.kept):
            assert {answer.version for story in stories for answer in story.answers} >= {1, 2, 3, 4, 5, 6}


def test_idle_connections_live_through_reloads_and_find_the_new_code(site: Site, held: list[Client]) -> None:
    with site.serve("-s", "2", "-t", "4") as server:
        held += [Client(server.where) for _ in range(400)]
        assert {client.get("/").body for client in held} == {b"1"}
        for version in range(2, 5):
            site.write(version)
            assert server.reload()
        answers = [client.get("/") for client in held]
        assert {(answer.body, answer.closes) for answer in answers} == {(b"4", server.secure)}


def test_a_request_under_way_is_finished_by_the_code_that_began_it(gate: Gate, way: Way) -> None:
    with way("basics.application", "-s", "1", "-t", "2") as server, Client(server.where) as client:
        client.send(request(gate.target))
        gate.wait_entered()
        assert server.reload()
        assert {worker.generation for worker in server.workers()} == {1, 2}
        assert fetch(server.where, "/hello").status == 200
        gate.open()
        answer = client.read()
        assert (answer.body, answer.closes) == (b"held\n", False)
        if server.secure:
            assert client.get("/hello").closes
        server.wait_for_log(r"worker retired worker=1\.1 ")


# 2. Broken code never takes a site down ------------------------------------------------------------------------------


def test_broken_code_is_refused_and_dead_workers_come_back_from_memory(site: Site) -> None:
    with site.serve("-s", "2") as server:
        site.replace("def application(:\n")
        assert not server.reload()
        for worker in server.workers():
            mark = server.mark()
            os.kill(worker.pid, signal.SIGKILL)
            assert fetch(server.where).body == b"1"
            server.wait_for_log(rf"worker died worker={worker.name} .*signal=SIGKILL", after=mark)
            server.wait_for_log(r"worker started worker=1\.\d+ ", after=mark)
            assert fetch(server.where).body == b"1"
        assert sum(line.startswith("  SyntaxError") for line in server.err.since()) == 1
        site.write(2)
        assert server.reload()
        assert fetch(server.where).body == b"2"


@pytest.mark.parametrize(
    ("source", "trace"),
    [
        ("raise LookupError('on import')\n", r"^  LookupError: on import"),
        ("import sys\nsys.exit('leaving')\n", r"SystemExit"),
        ("import os\nos._exit(7)\n", r"status=7|status 7"),
        ("import no_such_module_at_all\n", r"^  ModuleNotFoundError: .*no_such_module_at_all"),
        ("application = 17\n", r"not callable"),
    ],
)
def test_whatever_breaks_the_new_code_the_old_code_goes_on(site: Site, source: str, trace: str) -> None:
    with site.serve("-s", "1") as server:
        site.replace(source)
        mark = server.mark()
        assert not server.reload()
        server.wait_for_log(trace, after=mark)
        assert fetch(server.where).body == b"1"


def test_code_that_does_not_become_ready_is_given_up(site: Site) -> None:
    with site.serve("-s", "1", "--boot-timeout", "4") as server:
        site.replace("import threading\nthreading.Event().wait()\n")
        assert not server.reload()
        assert fetch(server.where).body == b"1"


# 3. A slow client never holds a thread -------------------------------------------------------------------------------


def test_slow_clients_hold_no_thread_and_are_answered_in_the_end(way: Way, held: list[Client]) -> None:
    slow = (  # what has come by now, what comes later, the length of the answer
        (request("/hello")[:10], request("/hello")[10:], 14),
        (request("/echo", "Content-Length: 8", method="POST") + b"half", b"full", 8),
        (request("/repeat?bytes=5000000"), b"", 5_000_000),
    )
    with way("basics.application", "-s", "1", "-t", "1") as server:
        held += [Client(server.where) for _ in range(3 * len(slow))]
        for client, (now, _, _) in zip(held, slow * 3, strict=True):
            client.send(now)
        for _ in range(10):
            assert fetch(server.where, "/hello").status == 200
        for client, (_, later, length) in zip(held, slow * 3, strict=True):
            client.send(later)
            assert len(client.read().body) == length


# 4. Blocking applications get their threads --------------------------------------------------------------------------


def test_a_waiting_request_does_not_hold_up_others(gate: Gate, way: Way, held: list[Client]) -> None:
    with way("basics.application", "-s", "1", "-t", "3") as server, Client(server.where) as kept:
        assert kept.get("/hello").status == 200
        held += [_send(server, gate.target) for _ in range(2)]
        gate.wait_entered(2)
        for _ in range(20):
            assert kept.get("/hello").status == 200
            assert fetch(server.where, "/hello").status == 200
        gate.open(2)
        assert [client.read().body for client in held] == [b"held\n"] * 2


def test_a_hundred_requests_wait_at_the_same_time(gate: Gate, way: Way, held: list[Client]) -> None:
    with way("basics.application", "-s", "1", "-t", "100") as server:
        held += [_send(server, gate.target) for _ in range(100)]
        gate.wait_entered(100)
        gate.open(100)
        assert [client.read().body for client in held] == [b"held\n"] * 100


def test_more_requests_than_threads_wait_their_turn(gate: Gate, way: Way, held: list[Client]) -> None:
    with way("basics.application", "-s", "1", "-t", "2") as server:
        held += [_send(server, gate.target) for _ in range(6)]
        gate.wait_entered(2)
        gate.open(6)
        gate.wait_entered(4)
        assert [client.read().body for client in held] == [b"held\n"] * 6


def _send(server: Server, target: str) -> Client:
    client = Client(server.where)
    client.send(request(target))
    return client


# 5. A dead process is a non-event ------------------------------------------------------------------------------------


def test_a_killed_worker_costs_only_the_requests_in_its_hands(site: Site) -> None:
    with site.serve("-s", "3", "-t", "4") as server:
        with Load(server.where, fresh=4, kept=0) as load:
            for _ in range(3):
                load.wait_for_more()
                mark = server.mark()
                os.kill(server.wait_workers(3)[0].pid, signal.SIGKILL)
                server.wait_for_log(r"worker started ", after=mark)
                load.wait_for_more()
        assert len(load.failures) <= 3 * 4  # at most one request of each client a kill
        assert len(load.answers) >= 4 * 6 * 5  # clients, waits, answers a wait
        assert len(server.wait_workers(3)) == 3
        assert all(fetch(server.where).body == b"1" for _ in range(20))


def test_a_killed_fork_server_is_repaired_while_its_workers_serve_on(site: Site) -> None:
    with site.serve("-s", "2") as server:
        (fork_server,) = server.fork_servers()
        workers = server.workers()
        with Load(server.where, fresh=2, kept=2) as load:
            load.wait_for_more()
            os.kill(fork_server.pid, signal.SIGKILL)
            server.wait_for_log(r"fork server died generation=1 .*signal=SIGKILL")
            load.wait_for_more()
            server.wait_for_log(r"reload finished ")
            load.wait_for_more()
        assert load.failures == []
        assert len(load.answers) >= 4 * 3 * 5
        server.wait_for_log(rf"worker retired worker={workers[0].name} ")
        server.wait_for_log(rf"worker retired worker={workers[1].name} ")
        mark = server.mark()
        os.kill(server.wait_workers(2)[0].pid, signal.SIGKILL)
        server.wait_for_log(r"worker started ", after=mark)
        server.wait_workers(2)


def test_a_fork_server_killed_while_the_disk_is_broken(site: Site) -> None:
    with site.serve("-s", "2") as server:
        workers = server.workers()
        site.replace("this is no Python\n")
        os.kill(server.fork_servers()[0].pid, signal.SIGKILL)
        server.wait_for_log(r"reload refused ")
        assert fetch(server.where).body == b"1"
        assert server.workers() == workers
        site.write(2)
        assert server.reload()
        assert fetch(server.where).body == b"2"


def test_after_a_killed_controller_requests_are_finished_and_the_port_is_free(gate: Gate, way: Way) -> None:
    with way("basics.application", "-s", "2", "-t", "2") as server, Client(server.where) as client:
        client.send(request(gate.target))
        gate.wait_entered()
        server.signal(signal.SIGKILL)
        gate.open()
        assert client.read().body == b"held\n"
        client.close()  # an idle one is given some seconds
        server.wait_gone()
    with Server("basics.application", "-s", "1", bind=way.bind.replace(":0", f":{server.port}")) as another:
        assert fetch(another.where, "/hello").status == 200


def test_a_stop_finishes_what_is_under_way(gate: Gate, way: Way) -> None:
    with way("basics.application", "-s", "1", "-t", "2") as server, Client(server.where) as client:
        client.send(request(gate.target))
        gate.wait_entered()
        server.signal(signal.SIGTERM)
        server.wait_for_log(r"stopping signal=SIGTERM")
        gate.open()
        assert client.read().body == b"held\n"
        assert server.wait() == 0


def test_many_clients_at_once_are_all_answered(site: Site) -> None:
    arrived = threading.Barrier(64)

    def ask(where: int | str) -> bytes:
        with Client(where) as client:
            arrived.wait(30)
            return client.get("/").body

    with site.serve("-s", "2", "-t", "2") as server, ThreadPoolExecutor(64) as pool:
        assert list(pool.map(ask, [server.where] * 64)) == [b"1"] * 64
