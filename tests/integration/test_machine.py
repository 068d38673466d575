"""A live connection as a machine: whatever steps a client takes, each request gets its own answer, in order."""

import contextlib
import socket
from collections.abc import Iterator

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from integration.apps.fingerprint import fingerprint
from integration.client import Client, request
from integration.server import Server

METHODS = st.sampled_from(["GET", "POST", "HEAD", "PUT"])
PATHS = st.sampled_from(["/", "/a", "/a?b", "/" + "long" * 200])
AMOUNTS = st.sampled_from(["nothing", "head", "some", "all"])  # of what is to be sent
BODIES = st.sampled_from([b"", b"x", b"GET / HTTP/1.1\r\n\r\n", bytes(70_000)])


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """Two request threads, so that requests are executed inline, handed over and taken over."""
    with Server("fingerprint.application", "-s", "1", "-t", "2", "-l", "/dev/null") as server:
        yield server
        assert "bug" not in server.log()


class Conversation(RuleBasedStateMachine):
    """One client; `answers` are those it has a right to, `unsent` is what it has not sent yet."""

    port = 0

    def __init__(self) -> None:
        super().__init__()
        self.last = b"", ("", b"")
        self.connect()

    def connect(self) -> None:
        self.unsent = b""
        self.answers: list[tuple[str, bytes]] = []
        self.client = Client(self.port)

    @rule(method=METHODS, path=PATHS, body=BODIES, chunked=st.booleans(), now=AMOUNTS)
    def ask(self, method: str, path: str, body: bytes, chunked: bool, now: str) -> None:
        if chunked:
            head = request(path, "Transfer-Encoding: chunked", method=method)
            content = (b"%x;a=b\r\n%b\r\n" % (len(body), body) if body else b"") + b"0\r\nX: trailer\r\n\r\n"
        else:
            head, content = request(path, f"Content-Length: {len(body)}", method=method), body
        self.last = head + content, (method, fingerprint(method, path, "localhost", body))
        self.ask_the_same_again(now)

    @rule(now=AMOUNTS)
    def ask_the_same_again(self, now: str) -> None:
        if self.last[0]:
            self.unsent += self.last[0]
            self.answers.append(self.last[1])
        self.go_on(now)

    @rule(now=AMOUNTS)
    def go_on(self, now: str) -> None:
        sizes = {"nothing": 0, "head": self.unsent.find(b"\r\n\r\n") + 4, "some": 17, "all": len(self.unsent)}
        if self.unsent:
            self.client.send(self.unsent[: sizes[now]])
        self.unsent = self.unsent[sizes[now] :]

    @rule()
    def read_the_answers(self) -> None:
        self.go_on("all")
        for method, content in self.answers:
            answer = self.client.read(head=method == "HEAD")
            assert (answer.status, answer.body) == (200, b"" if method == "HEAD" else content)
        self.answers = []

    @rule(how=st.sampled_from(["half-close", "break the protocol", "go away"]))
    def end(self, how: str) -> None:
        if how == "half-close":
            self.go_on("all")
            self.client.sock.shutdown(socket.SHUT_WR)
        if how == "break the protocol":
            self.unsent += b"no request\r\n\r\n" + request("/")
            self.read_the_answers()
            assert self.client.read().status == 400
        if how != "go away":
            self.read_the_answers()
            assert self.client.read_eof() == b""
        self.client.close()
        self.connect()

    def teardown(self) -> None:
        with contextlib.suppress(OSError):
            self.client.close()


def test_each_request_gets_its_own_answer(server: Server) -> None:
    Conversation.port = server.port
    run_state_machine_as_test(
        Conversation,
        settings=settings(derandomize=True, database=None, deadline=None, max_examples=100, stateful_step_count=40),
    )
