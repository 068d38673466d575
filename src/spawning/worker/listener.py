"""A listener of a worker: a listening socket, and what its connections are."""

import socket
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from spawning.memo import ENTRY, STRING, Memo
from spawning.net.identity import Identity
from spawning.worker.stream import never_waiting
from spawning.wsgi.environ import EnvironBase
from spawning.wsgi.forwarded import Trust

NOTHING: Final[Mapping[str, str]] = {}
NO_PROTOCOLS: Final[Mapping[str, Callable[..., Any]]] = {}


class Listener:
    """A listening socket, and what a connection of it is made from.

    ``socket.accept`` would make a socket object with 2 µs of Python; ``family`` and ``type`` look for a member of an
    enum, 0.5 µs each time.

    :param name: what workers of all generations know it by: its address, as text.
    :param sock: the listening socket, non-blocking; None when only connections of it are left, which have come here
        from a worker that had it.
    :param base: what every environ of a request on it has, the scheme among it.
    :param protocol: the class of its connections: a ``roles.Connection`` made from context, listener, stream, and
        address and port of the peer.
    :param first: makes a connection that has just been accepted, from the same; by default that is `protocol`.
    :param proxies: who has to begin with a PROXY header.
    :param identity: certificates, where TLS is spoken; `protocol` is the handshake then.
    :param speaks: the classes of connections whose handshake is complete, by their names in ALPN.
    :param ferried: the class of connections whose sessions are in another worker (``secured``); by default `protocol`.

    :ivar told: that a connection has not begun with one, the log has said; leader.
    :ivar said: what an environ says of a connection beside ``base``; it is part of ``base`` already.
    """

    __slots__ = (
        "_variants", "accept", "base", "family", "ferried", "first", "identity", "kind", "name", "proto", "protocol",
        "proxies", "said", "sock", "speaks", "told",
    )  # fmt: skip

    def __init__(
        self,
        name: str,
        sock: socket.socket | None,
        base: EnvironBase,
        protocol: Callable[..., Any],
        first: Callable[..., Any] | None = None,
        proxies: Trust | None = None,
        identity: Identity | None = None,
        speaks: Mapping[str, Callable[..., Any]] = NO_PROTOCOLS,
        ferried: Callable[..., Any] | None = None,
    ) -> None:
        self.name = name
        self.sock = sock
        self.base = base
        self.protocol = protocol
        self.first = first or protocol
        self.proxies = proxies
        self.identity = identity
        self.speaks = speaks
        self.ferried = ferried or protocol
        self.said = NOTHING
        self.told = False
        self._variants: Memo[tuple[tuple[str, str], ...], Listener] = Memo(1024, 1 << 22, 1 << 16)
        if sock is not None:
            self.accept: Callable[[], tuple[int, Any]] = sock._accept  # type: ignore[attr-defined]
            self.family = int(sock.family)
            self.kind = never_waiting(sock.type)
            self.proto = sock.proto

    def saying(self, values: Mapping[str, str]) -> "Listener":
        """Return the listener of connections of which environs say more, such as what a proxy told of their TLS,
        or what a handshake has shown.

        They are alike for many connections, so they are made once, as far as memory allows.
        """
        if not values:
            return self
        key = tuple(values.items())
        variant = self._variants.get(key)
        if variant is None:
            variant = Listener(
                self.name, None, self.base.saying(values), self.protocol, self.first, self.proxies, self.identity,
                self.speaks, self.ferried,
            )  # fmt: skip
            variant.said = {**self.said, **values}
            size = ENTRY + 4096 + sum(2 * STRING + 4 * len(name) + 4 * len(value) for name, value in key)
            self._variants.put(key, variant, size)
        return variant


class Listeners:
    """All listeners of a worker: those that it accepts from, and those of which connections have come to it.

    :param listening: at least one.
    :param make: makes one of the other kind from its name.
    """

    def __init__(self, listening: Sequence[Listener], make: Callable[[str], Listener]) -> None:
        self.listening = listening
        self._all = {listener.name: listener for listener in listening}
        self._make = make

    def named(self, name: str) -> Listener:
        """Return the listener of a connection that has come from another worker.

        :raises ValueError: the name is no address.
        """
        listener = self._all.get(name) if name else self.listening[0]  # an earlier version did not always say
        if listener is None:
            listener = self._all[name] = self._make(name)
        return listener
