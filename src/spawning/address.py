"""Addresses to listen on, as text: what ``--bind`` takes, and by what name a listener is known to everybody.

    HOST:PORT  :PORT  [IPv6]:PORT  unix:/path  unix:@name  fd:N  systemd:NAME   and behind that ?property&property=value

Pure: text in, an :class:`Address` out, and back. Whether it can be listened on is for ``net`` to find out.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final

DEFAULT_MODE: Final = 0o660  # of the file of a Unix socket: for its owner and its group
EVERYWHERE: Final = ("0.0.0.0", "::")

_FORMS: Final = "HOST:PORT, :PORT, [IPv6]:PORT, unix:/path, unix:@name, fd:N or systemd:NAME"
_HOST_PORT: Final = re.compile(r"(?:\[(?P<bracketed>[^\[\]\s]+)\]|(?P<host>[^\[\]:/\s]*)):(?P<port>[0-9]{1,5})")
_NAME: Final = re.compile(r"[!-~]*")  # of a descriptor of systemd: ASCII without a colon (FileDescriptorName=)


class Kind(Enum):
    TCP = "a TCP address"
    UNIX = "a Unix socket"
    FD = "a descriptor"
    SYSTEMD = "a socket of systemd"


class Speaks(Enum):
    """Whether TLS is spoken on an address, by what ``tls`` says there."""

    UNSAID = ""
    YES = "tls"
    NO = "tls=no"
    ON_TCP = "tls=tcp"  # of several inherited sockets, on those that are TCP


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen, and what is particular about it.

    :param host: of ``TCP``: a name or a bare IP address; empty: every address of the machine.
    :param port: of ``TCP``; 0: the kernel chooses.
    :param path: of ``UNIX``: a path, or ``@`` and a name that is in no directory (abstract, ``unix(7)``).
    :param number: of ``FD``: an inherited descriptor.
    :param name: of ``SYSTEMD``: which sockets of the unit; empty: all of them.
    :param proxy: who connects may have to begin with a PROXY protocol header.
    :param tls: whether TLS is spoken.
    :param v6only: ``[::]`` is not to serve IPv4 too.
    :param mode: of the socket's file.
    :param owner: of the file: a user's name or number; empty: as it is made.
    :param group: likewise.
    """

    kind: Kind
    host: str = field(default="", kw_only=True)
    port: int = field(default=0, kw_only=True)
    path: str = field(default="", kw_only=True)
    number: int = field(default=0, kw_only=True)
    name: str = field(default="", kw_only=True)
    proxy: bool = field(default=False, kw_only=True)
    tls: Speaks = field(default=Speaks.UNSAID, kw_only=True)
    v6only: bool = field(default=False, kw_only=True)
    mode: int = field(default=DEFAULT_MODE, kw_only=True)
    owner: str = field(default="", kw_only=True)
    group: str = field(default="", kw_only=True)

    @property
    def place(self) -> str:
        """Where it is, without what is particular about it: two listeners cannot have the same."""
        if self.kind is Kind.TCP:
            return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"
        return {Kind.UNIX: f"unix:{self.path}", Kind.FD: f"fd:{self.number}"}.get(self.kind, f"systemd:{self.name}")

    @property
    def text(self) -> str:
        """All of it, as :func:`parse` reads it."""
        said = [
            "v6only" if self.v6only else "",
            f"mode={self.mode:o}" if self.mode != DEFAULT_MODE else "",
            f"owner={self.owner}" if self.owner else "",
            f"group={self.group}" if self.group else "",
            "proxy" if self.proxy else "",
            self.tls.value,
        ]
        properties = "&".join(filter(None, said))
        return f"{self.place}?{properties}" if properties else self.place

    @property
    def server(self) -> tuple[str, str]:
        """``SERVER_NAME`` and ``SERVER_PORT``, of which no part may be empty (PEP 3333); a Unix socket has neither."""
        if self.kind is Kind.TCP:
            return self.host, str(self.port)
        return "localhost", "443" if self.secure else "80"

    @property
    def secure(self) -> bool:
        """Whether TLS is spoken there."""
        return self.tls is Speaks.YES or (self.tls is Speaks.ON_TCP and self.kind is Kind.TCP)

    @property
    def url(self) -> str:
        """What to show to people: ``http://127.0.0.1:8080``, ``unix:/run/site.sock``."""
        if self.kind is not Kind.TCP:
            return self.place
        scheme = "https" if self.secure else "http"
        return f"{scheme}://{EVERYWHERE[0]}{self.place}" if not self.host else f"{scheme}://{self.place}"


def parse(text: str) -> Address:
    """Read an address.

    :raises ValueError: it is none; says what would be right, behind "is not".
    """
    place, mark, properties = text.partition("?")
    scheme, colon, rest = place.partition(":")
    read = _SCHEMES.get(scheme) if colon else None
    values = read(rest) if read is not None else _host_and_port(place)
    if mark:
        values |= _properties(values["kind"], properties)
    address = Address(**values)
    _check_effect(address)
    return address


def _check_effect(address: Address) -> None:
    """See that no property is said where it would do nothing."""
    if address.v6only and ":" not in address.host:
        raise ValueError("an address: v6only is of IPv6 addresses, such as [::]:8000?v6only")
    if address.path.startswith("@") and (address.mode, address.owner, address.group) != (DEFAULT_MODE, "", ""):
        raise ValueError("an address: a Unix socket without a file has no mode, owner or group")


def bare(host: str) -> str:
    """Return a host without the brackets that an IPv6 address may have."""
    return host[1:-1] if host.startswith("[") and host.endswith("]") else host


def _host_and_port(place: str) -> dict[str, Any]:
    match = _HOST_PORT.fullmatch(place)
    if match is None or int(match["port"]) > 65535:
        hint = f" (:{place} is port {place} of every address)" if place.isascii() and place.isdigit() else ""
        raise ValueError(f"an address: {_FORMS}{hint}")
    return {"kind": Kind.TCP, "host": match["bracketed"] or match["host"] or "", "port": int(match["port"])}


def _unix(rest: str) -> dict[str, Any]:
    if not rest.strip("@/") or "\0" in rest or rest.endswith("/"):
        raise ValueError("an address: a Unix socket is unix:/path, or unix:@name without a file")
    return {"kind": Kind.UNIX, "path": rest}


def _descriptor(rest: str) -> dict[str, Any]:
    if not (rest.isascii() and rest.isdigit() and len(rest) < 8):
        raise ValueError("an address: an inherited descriptor is fd:N, such as fd:3")
    return {"kind": Kind.FD, "number": int(rest)}


def _systemd(rest: str) -> dict[str, Any]:
    if not _NAME.fullmatch(rest) or ":" in rest:
        raise ValueError("an address: a socket of systemd is systemd:NAME, with FileDescriptorName= of its unit")
    return {"kind": Kind.SYSTEMD, "name": rest}


_SCHEMES: Final[dict[str, Callable[[str], dict[str, Any]]]] = {"unix": _unix, "fd": _descriptor, "systemd": _systemd}


def _properties(kind: Kind, text: str) -> dict[str, Any]:
    known = _PROPERTIES[kind]
    values: dict[str, Any] = {}
    for item in text.split("&"):
        name, equals, value = item.partition("=")
        if name not in known:
            raise ValueError(f"an address: {name!r} is no property of {kind.value}; there are {', '.join(known)}")
        if name in values:
            raise ValueError(f"an address: {name} is said twice")
        values[name] = known[name](name, value, equals)
    return values


def _switch(name: str, value: str, equals: str) -> bool:
    known = {"": True, "1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False}
    if (equals and not value) or value.lower() not in known | {"off": False}:
        raise ValueError(f"an address: {name} stands alone, or is {name}=no")
    return known.get(value.lower(), False)


def _tls(name: str, value: str, equals: str) -> Speaks:
    return Speaks.YES if _switch(name, value, equals) else Speaks.NO


def _tls_of_several(name: str, value: str, equals: str) -> Speaks:
    return Speaks.ON_TCP if value == "tcp" else _tls(name, value, equals)


def _mode(name: str, value: str, equals: str) -> int:
    if not re.fullmatch("0?[0-7]{3}", value):
        raise ValueError("an address: mode is an octal number such as mode=660")
    return int(value, 8)


def _account(name: str, value: str, equals: str) -> str:
    if not re.fullmatch(r"[\w.@$+-]+", value):
        raise ValueError(f"an address: {name} is a name or a number, such as {name}=www-data")
    return value


_Property = Callable[[str, str, str], Any]
_ANY: Final[dict[str, _Property]] = {"proxy": _switch, "tls": _tls}
_INHERITED: Final[dict[str, _Property]] = {**_ANY, "tls": _tls_of_several}
_PROPERTIES: Final[dict[Kind, dict[str, _Property]]] = {
    Kind.TCP: {"v6only": _switch, **_ANY},
    Kind.UNIX: {"mode": _mode, "owner": _account, "group": _account, **_ANY},
    Kind.FD: _INHERITED,
    Kind.SYSTEMD: _INHERITED,
}
