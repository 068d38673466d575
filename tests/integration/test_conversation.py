"""A client that does whatever a client may do, in any order, on one connection after the other (hypothesis).

The model is a list: what has been asked and not been read yet. Each answer must be that of the first in it.
"""

import socket
from collections import deque
from typing import ClassVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from integration.apps.fingerprint import fingerprint
from integration.client import Client
from integration.server import Server

# A few words, so that equal ones often meet on a connection: what is remembered of the last request is what could hurt.
TARGETS = st.sampled_from(["/", "/a?b=c", "http://other.example/", "/" + "long" * 90])
FIELDS = st.sampled_from([[], [], ["X-A: 1"], ["X-A: 2", "Connection: keep-alive"]])
BODIES = st.sampled_from([None, None, b"body", b"\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"y" * 70_000])
RARELY = st.integers(0, 7).map(lambda number: number == 5)
NONSENSE = st.sampled_from([b"\0", b"GET /\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", b"GET / HTTP/1.1\r\nHost : a\r\n\r\n"])


class Conversation(RuleBasedStateMachine):
    """One client; ``port`` is that of ``fingerprint.application``."""

    port: ClassVar[int]

    @initialize()
    def connect(self) -> None:
        self.client = Client(self.port)
        self.expected: deque[tuple[int, str, bytes]] = deque()  # status, method, content
        self.unsent = b""  # the rest of a request that has begun
        self.ending = False  # nothing more can be asked on this connection

    def teardown(self) -> None:
        if hasattr(self, "client"):
            self.client.close()

    @precondition(lambda self: not self.ending and not self.unsent)
    @rule(
        method=st.sampled_from(["GET", "POST", "HEAD", "ODD"]),
        uri=TARGETS,
        fields=FIELDS,
        body=BODIES,
        chunk=st.sampled_from([0, 1000]),
        last=RARELY,
        begun=st.sampled_from(["whole", "whole", "head", "half a head", "half a body"]),
    )
    def ask(
        self, method: str, uri: str, fields: list[str], body: bytes | None, chunk: int, last: bool, begun: str
    ) -> None:
        """Send a request, or the beginning of one."""
        lines = [f"{method} {uri} HTTP/1.1", "Host: localhost", *fields]
        content = body or b""
        if last:
            lines.append("Connection: close")
        if body is not None and chunk:
            lines.append("Transfer-Encoding: chunked")
            pieces = [content[start : start + chunk] for start in range(0, len(content), chunk)]
            content = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
        elif body is not None:
            lines.append(f"Content-Length: {len(body)}")
        head = "\r\n".join([*lines, "", ""]).encode()
        data = head + content
        ends = {"head": len(head), "half a head": len(head) // 2, "half a body": len(head) + len(content) // 2}
        end = ends.get(begun, len(data))
        self.client.send(data[:end])
        self.unsent = data[end:]
        host = "other.example" if uri.startswith("http:") else "localhost"
        answer = fingerprint(method, uri, host, body or b"")
        self.expected.append((200, method, b"" if method == "HEAD" else answer))
        self.ending = last

    @precondition(lambda self: self.unsent)
    @rule(share=st.sampled_from([0.5, 1.0]))
    def go_on(self, share: float) -> None:
        """Send more of a request that has begun."""
        more = -int(-len(self.unsent) * share)
        self.client.send(self.unsent[:more])
        self.unsent = self.unsent[more:]

    @precondition(lambda self: len(self.expected) > bool(self.unsent))
    @rule()
    def read(self) -> None:
        """Read the answer to the first request that has none."""
        status, method, content = self.expected.popleft()
        answer = self.client.read(head=method == "HEAD")
        assert answer.status == status
        if status == 200:
            assert answer.body == content
        assert answer.closes == (self.ending and not self.expected)

    @precondition(lambda self: not self.ending and not self.unsent)
    @rule(data=NONSENSE, sure=RARELY)
    def offend(self, data: bytes, sure: bool) -> None:
        """Send what is no request: the last thing that is answered."""
        if not sure:
            return
        self.client.send(data)
        self.expected.append((400, "", b""))
        self.ending = True

    @precondition(lambda self: self.ending and not self.unsent and not self.expected)
    @rule()
    def see_the_end(self) -> None:
        """Find the connection closed when it was announced, and come back."""
        self.client.sock.shutdown(socket.SHUT_WR)
        assert self.client.read_eof() == b""
        self.client.close()
        self.connect()

    @precondition(lambda self: not self.ending and not self.unsent)
    @rule(sure=RARELY)
    def half_close(self, sure: bool) -> None:
        """Shut down the writing side: what has been asked is answered."""
        if not sure:
            return
        self.client.sock.shutdown(socket.SHUT_WR)
        while self.expected:
            status, method, content = self.expected.popleft()
            answer = self.client.read(head=method == "HEAD")
            assert (answer.status, answer.body) == (status, content)
        assert self.client.read_eof() == b""
        self.client.close()
        self.connect()

    @rule(sure=RARELY)
    def vanish(self, sure: bool) -> None:
        """Go without a word, whatever is under way."""
        if sure:
            self.client.close()
            self.connect()


def test_a_client_may_do_what_it_likes() -> None:
    # Derandomized and without a database: the same conversations on every machine, nothing left behind.
    repeatable = settings(
        derandomize=True,
        database=None,
        deadline=None,
        max_examples=200,
        stateful_step_count=50,
        suppress_health_check=[HealthCheck.too_slow],
    )
    with Server("fingerprint.application", "-s", "1", "-t", "2", "-l", "/dev/null") as server:
        Conversation.port = server.port
        run_state_machine_as_test(Conversation, settings=repeatable)
        assert [line for line in server.err.since() if " INFO " not in line] == []
