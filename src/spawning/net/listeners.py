"""Listening sockets: made once, by the controller; everybody else gets them by inheritance or over a channel.

Rules: non-blocking; ``SO_REUSEADDR``, so that a restart does not wait for old connections to time out; ``TCP_NODELAY``
is set here, because on Linux accepted sockets inherit it and no request has to pay for the call;
``TCP_DEFER_ACCEPT``, so that a worker is woken for a request and not for the connection before it.

Every address of the machine is two sockets, one for each family: so IPv4 clients have IPv4 addresses (with one socket
for both they are ``::ffff:…``), and a machine without IPv6 is served too.
"""

import contextlib
import errno
import os
import socket
from typing import Any

from spawning.address import EVERYWHERE, Address, Kind, Speaks
from spawning.errors import ConfigError
from spawning.net.holders import holder_of_port
from spawning.net.wanted import Wanted

_SILENT_SECONDS = 1  # after which a client is accepted that has sent nothing
_ABSENT = {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}
_ATTEMPTS = 10  # with port 0: how often the port chosen for the first address may be taken on another one


def bind_tcp(wanted: Wanted, backlog: int) -> list[socket.socket]:
    """Bind a TCP address, every address of the host when it is a name, and listen.

    :returns: at least one listening socket; all have the same port.
    :raises ConfigError: the host is unknown or not of this machine, or the port is taken or not ours to use.
    """
    address = wanted.address
    addresses = _addresses(wanted)
    only = len(addresses) > 1 or address.v6only
    for _ in range(_ATTEMPTS):
        try:
            return bind_all(addresses, backlog, only=only)
        except OSError as error:
            if not (error.errno == errno.EADDRINUSE and address.port == 0):
                raise _explained(error, wanted) from None
    raise ConfigError(f"{wanted.port_origin}: no port is free on all addresses of {_shown(address)}")


def adopt(fd: int, what: str, remedy: str = "") -> socket.socket:
    """Make a descriptor that this process has inherited a socket as :func:`bind_tcp` would have made it.

    :param what: the descriptor, for messages: what it is called and where that came from.
    :param remedy: where to mend it, for messages.
    :raises ConfigError: it is no listening stream socket of TCP or Unix.
    """
    behind = f"; {remedy}" if remedy else ""
    try:
        os.set_inheritable(fd, False)
        listener = socket.socket(fileno=fd)
    except OSError as error:
        raise ConfigError(f"{what} is no socket: {error.strerror}{behind}") from None
    reason = _unfit(listener)
    if reason:
        listener.detach()
        raise ConfigError(f"{what} {reason}{behind}")
    listener.setblocking(False)
    if listener.family != socket.AF_UNIX:
        _prepare(listener)
    return listener


def bound(listener: socket.socket, address: Address) -> Address:
    """Return the address that a socket has really, with what is particular about its connections.

    :param address: as it was asked for.
    """
    if address.kind is Kind.UNIX:
        return Address(Kind.UNIX, path=address.path, proxy=address.proxy, tls=address.tls)
    real = listener.getsockname()
    if type(real) is tuple:
        tls = Speaks.YES if address.tls is Speaks.ON_TCP else address.tls
        return Address(Kind.TCP, host=real[0], port=real[1], proxy=address.proxy, tls=tls)
    path = os.fsdecode(real)
    tls = Speaks.UNSAID if address.tls is Speaks.ON_TCP else address.tls
    return Address(Kind.UNIX, path=f"@{path[1:]}" if path.startswith("\0") else path, proxy=address.proxy, tls=tls)


def _unfit(listener: socket.socket) -> str:
    """Return why an inherited socket cannot be served; empty: it can."""
    if listener.family not in (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX):
        return f"is a socket of family {getattr(listener.family, 'name', listener.family)}, neither TCP nor Unix"
    if listener.type is not socket.SOCK_STREAM:
        return "is not a stream socket"
    if not listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        return "does not listen"
    return ""


def _prepare(listener: socket.socket) -> None:
    """Set what makes requests cheaper."""
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, _SILENT_SECONDS)


def _addresses(wanted: Wanted) -> list[tuple[int, Any]]:
    address = wanted.address
    hosts = EVERYWHERE if not address.host else (address.host,)
    if address.host == "::" and not address.v6only:
        hosts = ("::", EVERYWHERE[0])
    try:
        found = [
            entry
            for host in hosts
            for entry in socket.getaddrinfo(host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        ]
    except (socket.gaierror, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a host name"
        raise ConfigError(f"{wanted.origin}: cannot find the address of {address.host!r}: {reason}") from None
    return list(dict.fromkeys((family, each) for family, _, _, _, each in found))


def bind_all(addresses: list[tuple[int, Any]], backlog: int, *, only: bool) -> list[socket.socket]:
    """Bind and listen on each address that this machine has; all get the port of the first.

    :param addresses: family and socket address of each.
    :param only: a socket of IPv6 is to serve no IPv4.
    :raises OSError: one cannot be bound, or this machine has none of them; then none is.
    """
    listeners: list[socket.socket] = []
    absent: OSError | None = None
    with contextlib.ExitStack() as undo:
        for family, address in addresses:
            port = listeners[0].getsockname()[1] if listeners else address[1]
            try:
                listener = _listen(family, (address[0], port, *address[2:]), backlog, only=only)
            except OSError as error:
                if error.errno not in _ABSENT:
                    raise
                absent = error  # localhost is ::1 by name even where IPv6 is switched off
            else:
                undo.callback(listener.close)
                listeners.append(listener)
        if not listeners and absent is not None:
            raise absent
        undo.pop_all()
    return listeners


def _listen(family: int, address: Any, backlog: int, *, only: bool) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setblocking(False)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        _prepare(listener)
        if family == socket.AF_INET6:  # beside an IPv4 address it must not serve IPv4 too
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(only))
        listener.bind(address)
        listener.listen(backlog)
    except BaseException:
        listener.close()
        raise
    return listener


def _shown(address: Address) -> str:
    return repr(address.host) if address.host else "this machine"


def _explained(error: OSError, wanted: Wanted) -> ConfigError:
    address, port = wanted.address, wanted.address.port
    host = address.host or "every address"
    if error.errno == errno.EADDRINUSE:
        who = holder_of_port(port) or "another program"
        if who.endswith(f"(pid {os.getpid()})"):
            who = "another listener of this server"
        return ConfigError(f"{wanted.port_origin}: port {port} of {host} is taken by {who}")
    if error.errno in (errno.EACCES, errno.EPERM):
        return ConfigError(
            f"{wanted.port_origin}: port {port} needs privileges; take one from 1024 on,"
            " or allow it (CAP_NET_BIND_SERVICE)"
        )
    if error.errno in _ABSENT:
        return ConfigError(f"{wanted.origin}: {address.host!r} is not an address of this machine")
    return ConfigError(f"{wanted.origin}: cannot bind {_shown(address)} port {port}: {error.strerror}")
