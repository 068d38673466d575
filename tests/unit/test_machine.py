"""A connection's reader as a machine: whatever steps a client takes, it tells what was sent, and nothing else.

The model is a list of whole requests and how many bytes of them have been delivered. Several connections take their
steps in turns, since readers share what they remember.
"""

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from spawning.errors import ProtocolError
from unit.requests import forget, reader, told
from unit.test_request import NASTY, requests

CONNECTIONS = 3


class Client:
    """One connection: what its client has to send, and what the reader has made of what it has."""

    def __init__(self) -> None:
        self.reader = reader()
        self.unsent = b""
        self.boundaries = [0]  # where requests end, counted from the first byte
        self.delivered = 0
        self.expected: list[dict[str, object]] = []
        self.seen: list[dict[str, Any]] = []
        self.status = 0

    def deliver(self, size: int) -> None:
        piece, self.unsent = self.unsent[:size], self.unsent[size:]
        self.delivered += len(piece)
        self.feed(piece)

    def feed(self, piece: bytes) -> None:
        """Do with a piece what a connection does."""
        try:
            complete = self.reader.receive(piece)
            while complete:
                self.seen.append(told(self.reader))
                complete = bool(self.reader.unread) and self.reader.receive(b"")
        except ProtocolError as error:
            self.status = error.status

    @property
    def complete(self) -> int:
        """How many requests have been delivered to their end."""
        return sum(end <= self.delivered for end in self.boundaries[1:])


class Conversations(RuleBasedStateMachine):
    """See the module."""

    def __init__(self) -> None:
        super().__init__()
        forget()
        self.clients = [Client() for _ in range(CONNECTIONS)]
        self.now = self.clients[0]

    @rule(number=st.integers(0, CONNECTIONS - 1))
    def turn_to(self, number: int) -> None:
        self.now = self.clients[number]

    @precondition(lambda self: not self.now.status)
    @rule(request=requests())
    def decide_to_send(self, request: tuple[bytes, dict[str, object]]) -> None:
        data, expected = request
        self.now.unsent += data
        self.now.boundaries.append(self.now.boundaries[-1] + len(data))
        self.now.expected.append(expected)

    @precondition(lambda self: not self.now.status and self.now.unsent)
    @rule(size=st.integers(1, 60))
    def deliver_some(self, size: int) -> None:
        self.now.deliver(size)

    @precondition(lambda self: not self.now.status and self.now.unsent)
    @rule()
    def deliver_all(self) -> None:
        self.now.deliver(len(self.now.unsent))

    @precondition(lambda self: not self.now.status and self.now.reader.idle)
    @rule()
    def be_idle_for_long(self) -> None:
        self.now.reader.forget()

    @precondition(lambda self: not self.now.status and not self.now.unsent)
    @rule(nonsense=NASTY)
    def break_the_protocol(self, nonsense: bytes) -> None:
        """Between two requests, with what makes no line whatever comes before; then nothing more is interpreted."""
        before = len(self.now.seen)
        self.now.feed(nonsense + b"\0\r\n\r\n")
        assert self.now.status == 400
        assert len(self.now.seen) == before

    @invariant()
    def what_was_sent_is_told(self) -> None:
        for client in self.clients:
            expected = client.expected[: client.complete]
            assert [
                {name: one[name] for name in wanted} for one, wanted in zip(client.seen, expected, strict=True)
            ] == expected

    @invariant()
    def a_reader_knows_where_it_is(self) -> None:
        for client in self.clients:
            if not client.status:
                between = client.delivered in client.boundaries
                assert client.reader.idle is between
                assert not (between and client.reader.reading_body)


ConversationsTest = Conversations.TestCase
ConversationsTest.settings = settings(
    derandomize=True, database=None, deadline=None, max_examples=100, stateful_step_count=40
)
