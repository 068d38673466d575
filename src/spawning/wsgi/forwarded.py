"""What proxies say about the client: ``Forwarded`` (RFC 7239) and ``X-Forwarded-For/Proto/Host/Port/Prefix``.

Pure: field values in, an :class:`Origin` out. Both kinds list hops, the nearest proxy's word last. From the right, hops
that are trusted themselves are passed over; the first that is not, or else the left-most, is the client, and what was
said along with it counts. What stands further left is the client's own and not looked at.

Nothing is guessed. A value that is malformed where it counts, or two kinds that contradict each other, refuse the
request: a proxy that is trusted writes neither, and the address of the proxy in the place of the client's could open
doors. What is empty has not been said. A client that the proxy does not name (``unknown``, ``unix:``, obfuscated)
has no address.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

from spawning.errors import ProtocolError
from spawning.http import grammar
from spawning.memo import ENTRY, STRING, Memo

Address = IPv4Address | IPv6Address

# forwarded-pair = token "=" value; value = token / quoted-string (RFC 7239 section 4); a pair may be missing.
_PAIR: Final = re.compile(
    rf'[ \t]*(?:({grammar.TOKEN})=(?:({grammar.TOKEN})|"((?:[\t\x20-\x21\x23-\x5b\x5d-\x7e\x80-\xff]'
    r'|\\[\t\x20-\x7e\x80-\xff])*)"))?[ \t]*'
)
_QUOTED_PAIR: Final = re.compile(r"\\(.)", re.DOTALL)

# node = nodename [ ":" node-port ] (RFC 7239 section 6); and a bare IPv6 address, as X-Forwarded-For has it. "unix:" is
# what nginx calls a client on a Unix socket ($remote_addr): not known either.
_NODE: Final = re.compile(
    r"(?:\[([0-9A-Fa-f:.]+)\]|([0-9.]+)|unknown|_[0-9A-Za-z._\-]+)(?::(?:([0-9]{1,5})|_[0-9A-Za-z._\-]+))?|unix:",
    re.IGNORECASE,
)
_BARE_IPV6: Final = re.compile(r"[0-9A-Fa-f]*:[0-9A-Fa-f:.]+")

_SCHEMES: Final = {"http": "http", "https": "https", "ws": "http", "wss": "https"}  # a WebSocket begins as a request
_DEFAULT_PORTS: Final = {"http": "80", "https": "443"}
_PORT: Final = re.compile(r"[0-9]{1,5}")
_HOST_PORT: Final = re.compile(r":([0-9]{1,5})\Z")

# absolute-path (RFC 9110 section 4.1) without percent-encoding and empty segments: "//a" would name another host
_PREFIX: Final = re.compile(r"(?:/[!$&-.0-;=@-Z_a-z~]+)*/?")


class Trust:
    """Whose word counts (``--forwarded-allow-ips``). Any thread.

    A proxy sends the requests of many clients through one connection, so no two header blocks are alike; but a client
    asks more than once.

    :param entries: addresses and networks; ``unix`` stands for peers on Unix sockets, which have no address, and ``*``
        for every peer. Both say nothing about hops behind the peer, whose addresses anybody can write.
    """

    def __init__(self, entries: Sequence[str]) -> None:
        self._every_peer = "*" in entries
        self._unix = "unix" in entries
        networks = [ip_network(entry) for entry in entries if entry not in ("*", "unix")]
        self._networks: list[IPv4Network | IPv6Network] = networks
        self._peers: Memo[str, bool] = Memo(256, 1 << 16, 512)
        self._origins: Memo[tuple[tuple[str, str], ...], Origin] = Memo(1024, 1 << 20, 4096)

    def peer(self, address: str) -> bool:
        """Whether a connection from that address (empty: a Unix socket) comes from a trusted proxy."""
        trusted = self._peers.get(address)
        if trusted is None:
            trusted = self._every_peer or (self._has(address) if address else self._unix)
            self._peers.put(address, trusted, ENTRY + STRING + len(address))
        return trusted

    def _has(self, address: str) -> bool:
        try:
            return self.hop(_plain(ip_address(address.partition("%")[0])))
        except ValueError:
            return False

    def origin(self, said: Mapping[str, str]) -> "Origin":
        """Return what :func:`resolve` does, if possible from memory.

        :raises ProtocolError: as that does.
        """
        key = tuple(said.items())
        origin = self._origins.get(key)
        if origin is None:
            origin = resolve(said, self)
            self._origins.put(key, origin, _size_of(said))
        return origin

    def hop(self, address: Address) -> bool:
        """Whether a hop that a trusted proxy has named is trusted as well."""
        return any(address in network for network in self._networks)


def _size_of(said: Mapping[str, str]) -> int:
    """Return how many bytes :meth:`Trust.origin` keeps of this at most, with what it makes of it."""
    characters = sum(map(len, said)) + 2 * sum(map(len, said.values()))
    return ENTRY + 128 + 6 * STRING + characters + len(said) * (2 * STRING + 80)


@dataclass(frozen=True, slots=True)
class Origin:
    """What a trusted proxy said; empty is what it did not.

    :param address: of the client; empty if the proxy does not name it, None if it did not speak of it.
    :param port: of the client.
    :param scheme: ``http`` or ``https``.
    :param host: what the client had in its ``Host``.
    :param server_port: to which the client connected.
    :param prefix: what was taken off the path before this server got it.
    """

    address: str | None = None
    port: str = ""
    scheme: str = ""
    host: str = ""
    server_port: str = ""
    prefix: str = ""

    def put_into(self, environ: dict[str, object]) -> None:
        """Bring an environ up to this. ``SERVER_PORT`` is the port of the host, or that of the scheme, if it is not
        said.
        """
        if self.address is not None:
            environ["REMOTE_ADDR"] = self.address
            environ["REMOTE_PORT"] = self.port
        if self.scheme:
            environ["wsgi.url_scheme"] = self.scheme
        if self.host:
            environ["HTTP_HOST"] = self.host
        if self.server_port:
            environ["SERVER_PORT"] = self.server_port
        elif self.scheme or self.host:
            match = _HOST_PORT.search(str(environ.get("HTTP_HOST", "")))
            environ["SERVER_PORT"] = match[1] if match else _DEFAULT_PORTS[str(environ["wsgi.url_scheme"])]
        if self.prefix:
            environ["SCRIPT_NAME"] = self.prefix + str(environ["SCRIPT_NAME"])


def resolve(said: Mapping[str, str], trust: Trust) -> Origin:
    """Find out who asked, and for what, from the fields of a trusted peer.

    :param said: environ key to value, repeated fields joined by commas.
    :raises ProtocolError: 400, a value is malformed, or the two kinds contradict each other.
    """
    usual = _from_x_fields(said, trust)
    if not said.get("HTTP_FORWARDED", "").strip(" \t,;"):
        return usual
    standard = _from_forwarded(said["HTTP_FORWARDED"], trust)
    told = (usual.address, usual.scheme, usual.host)
    if told == (None, "", ""):
        return Origin(standard.address, standard.port, standard.scheme, standard.host, usual.server_port, usual.prefix)
    if told != (standard.address, standard.scheme, standard.host):
        raise ProtocolError(400, "Forwarded and X-Forwarded fields contradict each other")
    return usual


def _from_x_fields(said: Mapping[str, str], trust: Trust) -> Origin:
    depth, address, port = _client(_listed(said.get("HTTP_X_FORWARDED_FOR", "")), trust, "X-Forwarded-For")
    return Origin(
        address,
        port,
        _scheme(_at(said.get("HTTP_X_FORWARDED_PROTO", ""), depth), "X-Forwarded-Proto"),
        _host(_at(said.get("HTTP_X_FORWARDED_HOST", ""), depth), "X-Forwarded-Host"),
        _server_port(_at(said.get("HTTP_X_FORWARDED_PORT", ""), depth)),
        _prefix(_at(said.get("HTTP_X_FORWARDED_PREFIX", ""), depth)),
    )


def _from_forwarded(text: str, trust: Trust) -> Origin:
    elements = _elements(text)
    depth, address, port = _client([element.get("for") for element in elements], trust, "Forwarded")
    element = elements[-1 - depth]
    return Origin(
        address, port, _scheme(element.get("proto", ""), "Forwarded"), _host(element.get("host", ""), "Forwarded")
    )


def _client(hops: Sequence[str | None], trust: Trust, field: str) -> tuple[int, str | None, str]:
    """Find the right-most untrusted hop: how far from the right it is, its address and port.

    A hop that is not named (None) is where the trail ends; its proxy stands for it.
    """
    depth, address, port = 0, None, ""
    for depth, hop in enumerate(reversed(hops)):  # noqa: B007 - where it ended counts
        if hop is None:
            break
        found, port = _node(hop, field)
        address = "" if found is None else str(found)
        if found is None or not trust.hop(found):
            break
    return depth, address, port


def _node(text: str, field: str) -> tuple[Address | None, str]:
    """Read a node: address (None if it is hidden) and port (empty if it is hidden or missing)."""
    try:
        if _BARE_IPV6.fullmatch(text):
            return _plain(ip_address(text)), ""
        match = _NODE.fullmatch(text)
        if match is not None and int(match[3] or 0) <= 65535:
            port = match[3] or ""
            if match[1]:
                return _plain(IPv6Address(match[1])), port
            return (IPv4Address(match[2]) if match[2] else None), port
    except ValueError:
        pass
    raise _malformed(field)


def _plain(address: Address) -> Address:
    """Return an IPv4 address that came in IPv6's clothes, as on a socket for both, without them."""
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def _listed(text: str) -> list[str]:
    return [part for each in text.split(",") if (part := each.strip(" \t"))]


def _at(text: str, depth: int) -> str:
    """Return the item that was written by the same proxy as the hop at this depth. A list that is shorter has been
    overwritten on the way: then its left-most.
    """
    items = _listed(text)
    return items[-1 - min(depth, len(items) - 1)] if items else ""


def _elements(text: str) -> list[dict[str, str]]:
    """Split a ``Forwarded`` field: a dictionary for each hop, names in lower case."""
    elements: list[dict[str, str]] = []
    element: dict[str, str] = {}
    position = 0
    while True:
        match = _PAIR.match(text, position)
        assert match is not None  # it may be empty
        name, token, quoted = match.groups()
        if name:
            if name.lower() in element:
                raise _malformed("Forwarded")
            element[name.lower()] = token or _QUOTED_PAIR.sub(r"\1", quoted or "")
        position = match.end()
        separator = text[position : position + 1]
        if separator != ";":
            if element:
                elements.append(element)
                element = {}
            if not separator:
                break
            if separator != ",":
                raise _malformed("Forwarded")
        position += 1
    return elements


def _scheme(text: str, field: str) -> str:
    scheme = _SCHEMES.get(text.lower(), "")
    if text and not scheme:
        raise _malformed(field)
    return scheme


def _host(text: str, field: str) -> str:
    if text and (text.startswith(":") or not grammar.HOST.fullmatch(text)):
        raise _malformed(field)
    return text


def _server_port(text: str) -> str:
    if text and not (_PORT.fullmatch(text) and 0 < int(text) <= 65535):
        raise _malformed("X-Forwarded-Port")
    return text


def _prefix(text: str) -> str:
    if not _PREFIX.fullmatch(text):
        raise _malformed("X-Forwarded-Prefix")
    return text.rstrip("/")


def _malformed(field: str) -> ProtocolError:
    return ProtocolError(400, f"malformed {field} field")
