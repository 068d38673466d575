"""The states of a connection, and the one table of what may follow what."""

from enum import Enum
from typing import Final


class State(Enum):
    READING = "idle, or a request is arriving"
    EXECUTING = "a thread runs a request"
    TUNNEL = "the application has it, until the end of the request"
    FLUSHING = "the leader sends the rest of a response"
    LEAVING = "frozen, on its way to a worker of the next generation"
    LINGERING = "answered and half closed; what the client still sends is thrown away"
    CLOSED = "closed"

    __hash__ = object.__hash__  # a member is equal to itself alone; Enum says so in Python, at each look at the table


READING, EXECUTING, TUNNEL, FLUSHING, LEAVING, LINGERING, CLOSED = State


class Awaited(Enum):
    """The next thing that a connection in ``READING`` waits for."""

    REQUEST = "the first byte of a request"
    HEAD = "the rest of a head"
    BODY = "the rest of a body"


REQUEST, HEAD, BODY = Awaited

TRANSITIONS: Final = {
    READING: {EXECUTING, FLUSHING, LEAVING, LINGERING, CLOSED},
    EXECUTING: {READING, TUNNEL, FLUSHING, LEAVING, LINGERING, CLOSED},
    TUNNEL: {LINGERING, CLOSED},
    FLUSHING: {READING, LEAVING, LINGERING, CLOSED},
    LEAVING: {CLOSED},
    LINGERING: {CLOSED},
    CLOSED: frozenset(),
}
