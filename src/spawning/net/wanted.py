"""Which addresses the settings ask for: those of ``--bind``, and that of ``--host`` and ``--port``. Pure."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final, NamedTuple

from spawning.address import EVERYWHERE, Address, Kind, Speaks, bare, parse
from spawning.errors import ConfigError
from spawning.settings import OPTIONS, Settings

INHERITED: Final = "inherited socket"  # where host and port came from that nobody has said
_PORT_VARIABLE: Final = f"environment variable {OPTIONS['port'].env}"


_BY_DEFAULT: Final = {
    Kind.TCP: Speaks.YES, Kind.UNIX: Speaks.UNSAID, Kind.FD: Speaks.ON_TCP, Kind.SYSTEMD: Speaks.ON_TCP,
}  # fmt: skip


_PLAIN: Final = (Speaks.UNSAID, Speaks.NO)


class Wanted(NamedTuple):
    """An address, and where its host (or all of it) and its port came from, for messages."""

    address: Address
    origin: str
    port_origin: str


def wanted(settings: Settings, sources: Mapping[str, str], *, inherited: bool) -> list[Wanted]:
    """List the addresses to listen on; none is there twice.

    Host and port count beside ``--bind`` when one of them is said anywhere but in the variable ``PORT``: that is set by
    platforms, which expect every address to be served. Sockets of the service manager take their place, if there are
    any.

    :param sources: setting name to where its value came from; one that is not there has its default.
    :param inherited: the service manager has given sockets.
    :raises ConfigError: two are the same; or nobody needs what is said of the PROXY protocol; or a
        listener is to speak TLS without a certificate.
    """
    origin = sources.get("bind", "setting bind")
    found = [Wanted(parse(text), origin, origin) for text in settings.bind]
    said = [sources.get(name, _PORT_VARIABLE) not in (_PORT_VARIABLE, INHERITED) for name in ("host", "port")]
    if inherited and not found:
        found = [Wanted(Address(Kind.SYSTEMD), INHERITED, INHERITED)]
    elif not found or any(said):
        found.insert(0, _pair(settings, sources))
    places: set[str] = set()
    for address, origin, _ in found:
        if address.place in places:
            raise ConfigError(f"{origin}: {address.place} is there twice; a place can have one listener")
        places.add(address.place)
    origin = sources.get("proxy_allow_ips", "")  # a file or a variable may serve several starts
    if origin.startswith("option ") and not any(each.address.proxy for each in found):
        raise ConfigError(f"{origin}: no listener has ?proxy, without which it has no effect")
    found = _speaking(found, settings)
    _check_redirect(found, settings, sources)
    return [_beside(each, places) for each in found]


def _check_redirect(found: list[Wanted], settings: Settings, sources: Mapping[str, str]) -> None:
    """See that what is redirected arrives: at a listener of ours, or by a proxy that says it came over TLS."""
    there = settings.https_port or settings.forwarded_allow_ips
    if settings.redirect_to_https and not there and all(each.address.tls in _PLAIN for each in found):
        origin = sources.get("redirect_to_https", "setting redirect_to_https")
        raise ConfigError(f"{origin}: no listener speaks TLS; give one a certificate (--certfile), or say --https-port")


def _speaking(found: list[Wanted], settings: Settings) -> list[Wanted]:
    """Decide where TLS is spoken: where a listener asks for it; with a certificate and no listener that asks, on TCP.

    :raises ConfigError: there is none.
    """
    said = [each for each in found if each.address.tls in (Speaks.YES, Speaks.ON_TCP)]
    if said and not settings.certfile:
        raise ConfigError(f"{said[0].origin}: {said[0].address.text} needs a certificate; give it with --certfile")
    if said or not settings.certfile:
        return found
    return [
        each._replace(address=replace(each.address, tls=_BY_DEFAULT[each.address.kind]))
        if each.address.tls is Speaks.UNSAID
        else each
        for each in found
    ]


def _beside(each: Wanted, places: set[str]) -> Wanted:
    """Leave IPv4 to the listener that serves it on this port, as who names ``0.0.0.0`` and ``[::]`` expects."""
    address = each.address
    if address.host == "::" and f"{EVERYWHERE[0]}:{address.port}" in places:
        return each._replace(address=replace(address, v6only=True))
    return each


def _pair(settings: Settings, sources: Mapping[str, str]) -> Wanted:
    everywhere = sources.get("port") == sources.get("host", _PORT_VARIABLE) == _PORT_VARIABLE
    host = "" if everywhere else bare(settings.host)
    address = Address(Kind.TCP, host=host, port=settings.port)
    return Wanted(address, sources.get("host", "setting host"), sources.get("port", "setting port"))
