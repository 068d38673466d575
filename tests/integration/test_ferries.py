"""Ferries: TLS connections that were between two requests at a cutover are served by the new workers, through the old.

Most tests share a server, whose workers are told apart by their pids. In each a client has a connection whose session
is in the worker before.
"""

import contextlib
import json
import os
import signal
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from integration.certificates import Certificate, own, signed, trusting
from integration.client import Client, Closed, fetch, request
from integration.control import spawnctl
from integration.gate import Gate
from integration.load import Load, steps_back
from integration.server import Server, until
from integration.sites import write
from integration.test_tls import V1_2, V1_3, Secure
from integration.test_upgrade import upgrade

TLS = "127.0.0.1:0?tls"
HELLO = "Hello, world!\n"


@pytest.fixture(scope="module")
def control(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("control") / "socket"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return own(tmp_path_factory.mktemp("authority"), "authority", name="authority")


@pytest.fixture(scope="module")
def server(authority: Certificate, control: Path) -> Iterator[Server]:
    """A server of ``apps/basics.py``, which lets one old generation finish its requests."""
    clients = ("--ca-certs", str(authority.file), "--client-certs", "optional")
    options = ("-s", "1", "-t", "4", "-l", "/dev/null", "--max-old-generations", "1", "--control-socket", str(control))
    with Server("basics.application", *options, *clients, bind=TLS) as server:
        yield server


@pytest.fixture
def ferried(server: Server) -> Iterator[Client]:
    """A connection that was idle at a reload."""
    with Client(server.where) as client:
        assert client.get("/hello").text == HELLO
        assert server.reload()
        yield client


def environ(client: Client) -> tuple[dict[str, Any], bool]:
    """Ask for the environ; and whether the connection is closed behind that."""
    response = client.get("/environ")
    return json.loads(response.body), response.closes


def drained(client: Client) -> int:
    """Count the bytes that come until the end."""
    count = 0
    while data := client.sock.recv(1 << 18):
        count += len(data)
    return count


def workers(control: Path) -> list[dict[str, Any]]:
    """List what is known of all workers."""
    generations = json.loads(spawnctl("-S", control, "status", "--json").out)["generations"]
    return [worker for each in generations for worker in each["workers"]]


# What a client sees --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [V1_2, V1_3])
def test_the_new_worker_answers_and_knows_all_about_the_connection(
    server: Server, certificate: Certificate, authority: Certificate, version: ssl.TLSVersion
) -> None:
    known = signed(authority.file.parent, authority, "known", "/C=DE/CN=known")
    context = trusting(certificate, version)
    context.load_cert_chain(known.file, known.key)
    with Secure(server.port, context) as client:
        before, closes = environ(client)
        assert not closes
        assert server.reload()
        after, closes = environ(client)
        assert closes
        assert client.read_eof() == b""
    assert before.pop("pid") != after.pop("pid")
    assert before == after
    assert after["SSL_CLIENT_S_DN"] == "CN=known,C=DE"


def test_bodies_and_responses_of_any_size_come_whole(server: Server) -> None:
    body = bytes(octet % 251 for octet in range(5_000_000))
    with Client(server.where) as one, Client(server.where) as two:
        assert (one.get("/hello").text, two.get("/hello").text) == (HELLO, HELLO)
        assert server.reload()
        assert one.post("/echo", body).body == body
        two.send(request("/repeat?bytes=30000000"))
        assert drained(two) > 30_000_000
        assert (one.read_eof(), two.read_eof()) == (b"", b"")


def test_what_is_pipelined_is_answered_to_the_end(ferried: Client) -> None:
    ferried.send(request("/hello") * 50)
    answers = [ferried.read() for _ in range(50)]
    assert [answer.closes for answer in answers] == [False] * 49 + [True]
    assert ferried.read_eof() == b""


def test_who_sends_nothing_more_gets_the_response(ferried: Client) -> None:
    ferried.send(request("/repeat?bytes=1000000"))
    socket.socket.shutdown(ferried.sock, socket.SHUT_WR)
    assert len(ferried.read().body) == 1_000_000


def test_a_body_without_a_length_ends_with_the_connection(ferried: Client) -> None:
    ferried.send(request("/stream", version="HTTP/1.0"))
    assert ferried.read().text == "".join(f"part {number}\n" for number in range(10))  # else: an EOF without an alert


def test_a_response_that_is_cut_does_not_end_well(ferried: Client) -> None:
    ferried.send(request("/raise-late", version="HTTP/1.0"))
    with pytest.raises(Closed):
        ferried.read()


def test_a_slow_client_costs_a_ferry_little(server: Server, ferried: Client) -> None:
    (ferry,) = (worker for worker in server.workers() if worker.generation < server.workers()[-1].generation)
    before = psutil.Process(ferry.pid).memory_info().rss
    ferried.send(request("/repeat?bytes=30000000"))
    ferried.wait_for(b"xxxx")
    assert fetch(server.where, "/hello").text == HELLO
    assert psutil.Process(ferry.pid).memory_info().rss < before + 5_000_000
    assert drained(ferried) > 29_000_000


# What is on its way at the cutover -----------------------------------------------------------------------------------


class Records:
    """A client that sends its records in pieces."""

    def __init__(self, port: int, context: ssl.SSLContext) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), 30)
        self._from, self._to = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.session = context.wrap_bio(self._from, self._to, server_hostname="localhost")

    def __enter__(self) -> "Records":
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    def first_flight(self) -> bytes:
        with contextlib.suppress(ssl.SSLWantReadError):
            self.session.do_handshake()
        return self._to.read()

    def shake_hands(self) -> None:
        while True:
            with contextlib.suppress(ssl.SSLWantReadError):
                self.session.do_handshake()
                return
            self.sock.sendall(self._to.read())
            self.receive()

    def receive(self) -> None:
        data = self.sock.recv(65536)
        assert data
        self._from.write(data)

    def record(self, content: bytes) -> bytes:
        """Make a record, behind what the session has to say."""
        self.session.write(content)
        return self._to.read()

    def read(self, end: bytes) -> bytes:
        """Read until that has come."""
        data = b""
        while end not in data:
            try:
                data += self.session.read(65536)
            except ssl.SSLWantReadError:
                self.receive()
        return data


def pid_of(response: bytes) -> int:
    found: dict[str, Any] = json.loads(response.partition(b"\r\n\r\n")[2])
    return int(found["pid"])


@pytest.mark.parametrize("version", [V1_2, V1_3])
@pytest.mark.parametrize("at", [1, 5, 30, -1])
def test_a_record_in_pieces(server: Server, certificate: Certificate, version: ssl.TLSVersion, at: int) -> None:
    whole = request("/environ")
    with Records(server.port, trusting(certificate, version)) as client:
        client.shake_hands()
        client.sock.sendall(client.record(request("/hello")))
        client.read(HELLO.encode())
        head, rest = client.record(whole[:30]), client.record(whole[30:])
        client.sock.sendall(head + rest[:at])
        assert server.reload()
        client.sock.sendall(rest[at:])
        assert pid_of(client.read(b"}")) == server.workers()[-1].pid


def test_handshakes_in_pieces(server: Server, certificate: Certificate) -> None:
    """One that has not been answered goes on in the new worker; one that has, in the old one, and is ferried."""
    context = trusting(certificate)
    with contextlib.ExitStack() as stack:
        idle, cut, begun = (stack.enter_context(Records(server.port, context)) for _ in range(3))
        flights = [each.first_flight() for each in (idle, cut, begun)]
        cut.sock.sendall(flights[1][:100])
        begun.sock.sendall(flights[2])
        begun.receive()
        assert server.reload()
        idle.sock.sendall(flights[0])
        cut.sock.sendall(flights[1][100:])
        for each, field in ((idle, b"keep-alive"), (cut, b"keep-alive"), (begun, b"close")):
            each.shake_hands()
            each.sock.sendall(each.record(request("/environ")))
            response = each.read(b"}")
            assert pid_of(response) == server.workers()[-1].pid
            assert (b"Connection: close" in response) == (field == b"close")


# Reloads and ends ----------------------------------------------------------------------------------------------------


def test_a_ferry_lasts_through_reloads_an_upgrade_and_a_rollback(server: Server, control: Path) -> None:
    with contextlib.ExitStack() as stack:
        clients = []
        for _ in range(4):  # more often than there may be old generations
            client = stack.enter_context(Client(server.where))
            assert client.get("/hello").text == HELLO
            clients.append(client)
            assert server.reload()
        upgrade(server)
        assert spawnctl("-S", control, "rollback", "--wait").status == 0
        (serving,) = (worker for worker in workers(control) if worker["state"] == "serving")
        until(lambda: sum(each["ferries"] or 0 for each in workers(control)) == 4, "the status shows the ferries")
        assert not any(each["connections"] for each in workers(control) if each["ferries"])
        assert "ferries" in spawnctl("-S", control, "status").out
        assert [environ(client)[0]["pid"] for client in clients] == [serving["pid"]] * 4
        assert [client.read_eof() for client in clients] == [b""] * 4
    assert " worker killed " not in server.log()
    until(lambda: len(server.workers()) == 1, "the old workers have ended")


def test_a_killed_worker_costs_what_it_served_or_carried(server: Server, ferried: Client, tmp_path: Path) -> None:
    ferried.send(request(f"/endless?path={tmp_path / 'closed'}"))
    ferried.wait_for(b"zzzz")
    ferry, serving = server.workers()
    os.kill(serving.pid, signal.SIGKILL)
    with pytest.raises((Closed, OSError)):
        ferried.read_eof()
    server.wait_for_log(rf"worker retired worker={ferry.name} ")
    with Client(server.where) as client:
        assert client.get("/hello").text == HELLO
        assert server.reload()
        ferry, serving = server.workers()
        os.kill(ferry.pid, signal.SIGKILL)
        with pytest.raises((Closed, OSError)):
            client.get("/hello")
    assert fetch(server.where, "/hello").text == HELLO
    assert server.workers() == [serving]


def test_a_recycled_worker_ferries(tmp_path: Path) -> None:
    write(tmp_path, "1")
    path = tmp_path / "ctl.sock"
    options = ("-s", "1", "-t", "2", "-l", "/dev/null", "--max-requests", "3", "--control-socket", str(path))
    with Server("site_app:application", *options, cwd=tmp_path, bind=TLS) as server, Client(server.where) as client:
        for _ in range(4):
            assert not client.get("/").closes
        server.wait_for_log(" worker recycled worker=1.1 ")
        until(lambda: any(each["ferries"] for each in workers(path)), "the ferry")
        until(lambda: client.get("/").closes, "the end of the ferry")  # not at once: this might be a cutover
        assert client.read_eof() == b""
        server.wait_for_log(r"worker retired worker=1\.1 ")


def test_ferries_have_more_time_than_requests_and_an_end(gate: Gate) -> None:
    """An idle one ends with the keep-alive timeout, whatever the other timeout says; a request has that time too."""
    options = ("-s", "1", "-t", "2", "-l", "/dev/null", "--deadman_timeout", "1", "--keepalive-timeout", "3")
    with Server("basics.application", *options, bind=TLS) as server:
        with Client(server.where) as idle, Client(server.where) as busy:
            assert (idle.get("/hello").text, busy.get("/hello").text) == (HELLO, HELLO)
            assert server.reload()
            busy.send(request(gate.target))
            gate.wait_entered()
            assert idle.read_eof() == b""  # else: an EOF without an alert
            server.wait_for_log(" ferries cut, which others serve worker=1.1 ferries=1$")
            with pytest.raises((Closed, OSError)):
                busy.read()
            gate.open()
        assert fetch(server.where, "/hello").text == HELLO


def test_a_stop_finishes_what_is_ferried(gate: Gate) -> None:
    options = ("-s", "1", "-t", "2", "-l", "/dev/null")
    with Server("basics.application", *options, bind=TLS) as server:
        with Client(server.where) as idle, Client(server.where) as busy:
            assert (idle.get("/hello").text, busy.get("/hello").text) == (HELLO, HELLO)
            assert server.reload()
            busy.send(request(gate.target))
            gate.wait_entered()
            server.signal(signal.SIGTERM)
            assert idle.read_eof() == b""
            gate.open()
            assert busy.read().body == b"held\n"
            assert busy.read_eof() == b""
        assert server.wait() == 0


def test_ten_reloads_under_load(tmp_path: Path) -> None:
    write(tmp_path, "1")
    env = {"PYTHONDONTWRITEBYTECODE": "1"}
    with Server(
        "site_app:application", "-s", "2", "-t", "4", "-l", "/dev/null", cwd=tmp_path, env=env, bind=TLS
    ) as server:
        with (
            Load(server.where, fresh=1, kept=1, pipelined=1) as newer,
            Load(f"tls1.2:{server.port}", fresh=1, kept=1, pipelined=1) as older,
        ):
            for number in range(2, 12):
                write(tmp_path, str(number))
                assert server.reload()
                newer.wait_for(number)
                older.wait_for(number)
        assert newer.failures + older.failures == []
        assert steps_back(newer.answers + older.answers) == []
        assert 0 < newer.goodbyes <= 10 * 2
        assert 0 < older.goodbyes <= 10 * 2
