"""Telling an application that waits that its client has gone: ``environ["spawning.client_disconnected"]``.

A thread that waits for an event cannot be woken from outside, and a generator in it cannot be closed. But the
application can wake it, if it is told: what it wants to be called then is kept here with its request, and the leader
looks once a second whether the client of each is still there. So a request that asks for nothing costs nothing.

What is called is the application's, so it runs in a thread or a greenlet of its own, and what it raises ends there.
"""

from collections import deque
from collections.abc import Callable
from typing import NamedTuple, Protocol

from spawning.logs.log import Log
from spawning.wsgi.environ import Environ
from spawning.wsgi.exchange import Exchange
from spawning.wsgi.names import names

log = Log("spawning.app")


class Client(Protocol):
    """A connection with a request.

    :ivar exchange: of the request.
    """

    exchange: Exchange

    @property
    def disconnects(self) -> "Disconnects": ...

    def has_gone(self) -> bool: ...


class Disconnected:
    """What the environ has; belongs to the connection, and to the request that got it. Any thread.

    :param client: the connection.
    """

    __slots__ = ("_client",)

    def __init__(self, client: Client) -> None:
        self._client = client

    def __call__(self) -> bool:
        """Return whether the client has closed its connection, or at least its sending half; asks the kernel."""
        return self._client.has_gone()

    def call(self, function: Callable[[], object]) -> None:
        """Have a function called once, within two seconds, when the client goes (or has gone) before the end of the
        request; in a thread of its own, or a greenlet.

        :raises TypeError: it cannot be called.
        """
        if not callable(function):
            raise TypeError("client_disconnected.call() wants a function without arguments")
        client = self._client
        client.disconnects.add(client.exchange, function)


class Wanted(NamedTuple):
    """What is to be called for one request."""

    exchange: Exchange
    environ: Environ
    function: Callable[[], object]

    def run(self) -> None:
        try:
            self.function()
        except BaseException:  # boundary: it is the application's, and ends nothing but itself
            log.exception("what was to be called when a client goes raised %s", names(self.environ))


class Disconnects:
    """All that a worker's requests want to have called."""

    def __init__(self) -> None:
        self._wanted: deque[Wanted] = deque()  # each of its methods is atomic

    def add(self, exchange: Exchange, function: Callable[[], object]) -> None:
        """Keep a function for a request; one that has ended is told nothing. Any thread."""
        if not exchange.ended:
            self._wanted.append(Wanted(exchange, exchange.environ, function))

    def look(self, start: Callable[[Callable[[], None]], object]) -> None:
        """Start what has become due, and drop what belongs to requests that have ended. Leader only.

        :param start: runs a function beside the leader; raises RuntimeError when that is not possible now.
        """
        for _ in range(len(self._wanted)):
            wanted = self._wanted.popleft()
            gone = wanted.exchange.responder.has_gone()
            if wanted.exchange.ended:  # asked behind that: until then the connection was this request's
                continue
            if gone:
                try:
                    start(wanted.run)
                    continue
                except RuntimeError:  # the system gives no more threads: at the next look
                    pass
            self._wanted.append(wanted)
