"""A connection's reader as a machine: whatever steps a client takes, it tells what was sent, and nothing else.

The model is a list of whole requests and how many bytes of them have been delivered. Several connections take their
steps in turns, since readers share what they remember.
"""

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from spawning.errors import ProtocolError
from unit.requests import forget, reader, told
from unit.test_request import NASTY, requests

CONNECTIONS = 2
NUMBERS = st.integers(0, CONNECTIONS - 1)
AMOUNTS = st.sampled_from(["nothing", "head", "some", "all"])  # of what is to be sent


class Client:
    """One connection: what its client has to send, and what the reader has made of what it has."""

    def __init__(self) -> None:
        self.reader = reader()
        self.last = b""
        self.unsent = b""
        self.boundaries = [0]  # where requests end, counted from the first byte
        self.delivered = 0
        self.expected: list[dict[str, object]] = []
        self.seen: list[dict[str, Any]] = []
        self.status = 0

    def decide(self, data: bytes, expected: dict[str, object]) -> None:
        self.last = data
        self.unsent += data
        self.boundaries.append(self.boundaries[-1] + len(data))
        self.expected.append(expected)

    def deliver(self, amount: str) -> None:
        sizes = {"nothing": 0, "head": self.unsent.find(b"\r\n\r\n") + 4, "some": 17, "all": len(self.unsent)}
        size = sizes[amount]
        if not self.unsent or not size:
            return
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

    @rule(number=NUMBERS, request=requests(), now=AMOUNTS)
    def send(self, number: int, request: tuple[bytes, dict[str, object]], now: str) -> None:
        client = self.clients[number]
        client.decide(*request)
        client.deliver(now)

    @rule(number=NUMBERS, now=AMOUNTS)
    def send_the_same_again(self, number: int, now: str) -> None:
        """Clients do, and it is what readers remember for."""
        client = self.clients[number]
        if client.last:
            client.decide(client.last, client.expected[-1])
        client.deliver(now)

    @rule(number=NUMBERS, now=AMOUNTS)
    def go_on(self, number: int, now: str) -> None:
        self.clients[number].deliver(now)

    @rule(number=NUMBERS)
    def be_idle_for_long(self, number: int) -> None:
        if self.clients[number].reader.idle:
            self.clients[number].reader.forget()

    @rule(number=NUMBERS, nonsense=NASTY)
    def break_the_protocol(self, number: int, nonsense: bytes) -> None:
        """With what makes no line whatever comes before it; nothing more is interpreted, and the client comes anew."""
        client = self.clients[number]
        client.deliver("all")
        before = len(client.seen)
        client.feed(nonsense + b"\0\r\n\r\n")
        assert client.status == 400
        assert len(client.seen) == before
        self.clients[number] = Client()

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
            between = client.delivered in client.boundaries
            assert client.reader.idle is between
            assert not (between and client.reader.reading_body)


ConversationsTest = Conversations.TestCase
ConversationsTest.settings = settings(
    derandomize=True, database=None, deadline=None, max_examples=100, stateful_step_count=40
)
