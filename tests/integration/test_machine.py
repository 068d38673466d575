"""A live connection as a machine: whatever steps a client takes, each request gets its own answer, in order."""

import contextlib
import socket
from collections.abc import Iterator

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from integration.apps.fingerprint import fingerprint
from integration.client import Client, request
from integration.server import Server

METHODS = st.sampled_from(["GET", "POST", "HEAD", "PUT"])
PATHS = st.sampled_from(["/", "/a", "/a?b", "/" + "long" * 200])
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
        self.unsent = b""
        self.answers: list[tuple[str, bytes]] = []
        self.connect()

    def connect(self) -> None:
        self.client = Client(self.port)
        self.over = False

    @precondition(lambda self: not self.over)
    @rule(method=METHODS, path=PATHS, body=BODIES, chunked=st.booleans())
    def decide_to_send(self, method: str, path: str, body: bytes, chunked: bool) -> None:
        if chunked:
            head = request(path, "Transfer-Encoding: chunked", method=method)
            content = (b"%x;a=b\r\n%b\r\n" % (len(body), body) if body else b"") + b"0\r\nX: trailer\r\n\r\n"
        else:
            head, content = request(path, f"Content-Length: {len(body)}", method=method), body
        self.unsent += head + content
        self.answers.append((method, fingerprint(method, path, "localhost", body)))

    @precondition(lambda self: self.unsent)
    @rule(size=st.integers(1, 100))
    def send_some(self, size: int) -> None:
        self.client.send(self.unsent[:size])
        self.unsent = self.unsent[size:]

    @precondition(lambda self: self.unsent)
    @rule()
    def send_all(self) -> None:
        self.client.send(self.unsent)
        self.unsent = b""

    @precondition(lambda self: self.answers and not self.unsent)
    @rule()
    def read_an_answer(self) -> None:
        method, content = self.answers.pop(0)
        answer = self.client.read(head=method == "HEAD")
        assert (answer.status, answer.body) == (200, b"" if method == "HEAD" else content)

    @precondition(lambda self: not self.over and not self.unsent)
    @rule()
    def half_close(self) -> None:
        self.client.sock.shutdown(socket.SHUT_WR)
        self.over = True

    @precondition(lambda self: not self.over and not self.unsent)
    @rule()
    def break_the_protocol(self) -> None:
        self.client.send(b"no request\r\n\r\n" + request("/"))
        while self.answers:
            self.read_an_answer()
        assert self.client.read().status == 400
        self.start_anew()

    @rule()
    def start_anew(self) -> None:
        """Read what there is to read, see that nothing else comes, and connect again; or just go away."""
        if not self.unsent and not self.over and self.answers:
            self.client.sock.shutdown(socket.SHUT_WR)
            self.over = True
        if self.over:
            while self.answers:
                self.read_an_answer()
            assert self.client.read_eof() == b""
        self.client.close()
        self.unsent, self.answers = b"", []
        self.connect()

    def teardown(self) -> None:
        with contextlib.suppress(OSError):
            self.client.close()


def test_each_request_gets_its_own_answer(server: Server) -> None:
    Conversation.port = server.port
    run_state_machine_as_test(
        Conversation,
        settings=settings(derandomize=True, database=None, deadline=None, max_examples=60, stateful_step_count=40),
    )
