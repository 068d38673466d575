"""``openssl s_client``: names, sessions that go on, keys that are made anew, and connections that end halfway."""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from clients.programs import program
from integration.certificates import Certificate, own
from integration.client import Client, fetch
from integration.server import DEADLINE, Server

HELLO = b"GET /hello HTTP/1.1\r\nHost: localhost\r\n\r\n"
EACH = pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> list[Certificate]:
    directory = tmp_path_factory.mktemp("names")
    return [own(directory, *hosts, name=hosts[0]) for hosts in (("a.example",), ("b.example", "*.b.example"))]


@pytest.fixture(scope="module")
def server(names: list[Certificate]) -> Iterator[Server]:
    files = [option for each in names for option in each.options]
    with Server(*files, "-s", "1", "-t", "2", "-l", "/dev/null", "basics.application", bind="127.0.0.1:0") as server:
        yield server


class Talk:
    """A conversation with ``s_client``, which prints what it learns of the session among what it receives."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self.said = b""

    def type(self, data: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def wait_for(self, data: bytes) -> None:
        assert self.process.stdout is not None
        while data not in self.said:
            received = os.read(self.process.stdout.fileno(), 65536)
            assert received, self.said.decode(errors="replace")
            self.said += received


@contextmanager
def talking(server: Server, *options: str | Path) -> Iterator[Talk]:
    """Connect; at the end the program is killed, if it has not ended."""
    command = [program("openssl"), "s_client", "-connect", f"127.0.0.1:{server.port}", *map(str, options)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    with process:
        try:
            yield Talk(process)
        finally:
            process.kill()


@EACH
@pytest.mark.parametrize(
    ("asked", "shown"),
    [("a.example", "a.example"), ("www.b.example", "b.example"), ("else.example", "a.example"), ("", "a.example")],
)
def test_names(server: Server, version: str, asked: str, shown: str) -> None:
    name = ["-servername", asked] if asked else ["-noservername"]
    with talking(server, version, *name) as talk:
        talk.type(HELLO)
        talk.wait_for(b"Hello, world!")
        assert f"subject=CN = {shown}\n".encode() in talk.said


@EACH
def test_a_session_goes_on_also_behind_a_reload(server: Server, version: str, tmp_path: Path) -> None:
    session = tmp_path / "session"
    for reload, option, seen in ((False, "-sess_out", b"New, "), (False, "-sess_in", b"Reused, "),
                                 (True, "-sess_in", b"Reused, ")):  # fmt: skip
        assert not reload or server.reload()
        with talking(server, version, "-servername", "a.example", option, session) as talk:
            talk.type(HELLO)
            talk.wait_for(b"Hello, world!")
            assert seen in talk.said
        assert session.exists()


def test_who_negotiates_anew_is_told_that_nobody_does(server: Server) -> None:
    """The connection goes on, and what it asks for does not count: one client could have keys made without end."""
    with talking(server, "-tls1_2") as talk:
        talk.type(HELLO)
        talk.wait_for(b"Hello, world!")
        talk.type(b"R\n")
        talk.wait_for(b"no renegotiation")
    assert fetch(server.where, "/hello").status == 200


def test_keys_may_be_changed_on_the_way(server: Server) -> None:
    """TLS 1.3 has that instead, and each side may ask the other one to do so, too (RFC 8446 section 4.6.3)."""
    with talking(server, "-tls1_3") as talk:
        for key in (b"k", b"K", b"K"):
            talk.type(key + b"\n")
            talk.wait_for(b"KEYUPDATE")
            talk.said = b""
            talk.type(HELLO)
            talk.wait_for(b"Hello, world!")


@pytest.mark.parametrize(
    ("first", "chosen"),
    [("AES128-GCM-SHA256", "AES256-GCM-SHA384"), ("CHACHA20-POLY1305", "CHACHA20-POLY1305")],
)
def test_the_server_chooses_but_for_clients_without_aes(server: Server, first: str, chosen: str) -> None:
    ciphers = f"ECDHE-ECDSA-{first}:ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305"
    with talking(server, "-tls1_2", "-cipher", ciphers) as talk:
        talk.wait_for(f"Cipher is ECDHE-ECDSA-{chosen}\n".encode())


@EACH
def test_who_is_killed_halfway_harms_nobody(server: Server, version: str) -> None:
    with Client(server.where) as kept:
        assert kept.get("/hello").status == 200
        mark = server.mark()
        for sent in (b"", HELLO[:20], b"GET /repeat?bytes=20000000 HTTP/1.1\r\nHost: localhost\r\n\r\n"):
            with talking(server, version) as talk:
                talk.wait_for(b"Verify return code")
                talk.type(sent)
                talk.process.send_signal(signal.SIGKILL)
                talk.process.wait(DEADLINE)
        assert kept.get("/hello").status == 200
        assert server.err.since(mark) == []


@pytest.mark.parametrize("options", [("-tls1_1", "-cipher", "ALL:@SECLEVEL=0"), ("-tls1_2", "-cipher", "AES128-SHA")])
def test_what_is_weak_is_refused(server: Server, options: tuple[str, ...]) -> None:
    with talking(server, *options) as talk:
        talk.wait_for(b"alert")
        talk.wait_for(b"Cipher is (NONE)")
    assert fetch(server.where, "/hello").status == 200
