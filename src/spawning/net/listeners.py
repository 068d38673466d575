"""Listening sockets: made once, by the controller; everybody else gets them by inheritance or over a channel.

Rules: non-blocking; ``SO_REUSEADDR``, so that a restart does not wait for old connections to time out; ``TCP_NODELAY``
is set here, because on Linux accepted sockets inherit it and no request has to pay for the call;
``TCP_DEFER_ACCEPT``, so that a worker is woken for a request and not for the connection before it.
"""

import contextlib
import errno
import socket
from collections.abc import Mapping
from typing import Any

from spawning.errors import ConfigError
from spawning.settings import Settings

_SILENT_SECONDS = 1  # after which a client is accepted that has sent nothing
_ABSENT = {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}
_ATTEMPTS = 10  # with port 0: how often the port chosen for the first address may be taken on another one


def bind(settings: Settings, sources: Mapping[str, str]) -> list[socket.socket]:
    """Bind host and port, every address of the host when it is a name, and listen.

    :param sources: setting name to where its value came from, for messages.
    :returns: at least one listening socket; all have the same port.
    :raises ConfigError: the host is unknown or not of this machine, or the port is taken or not ours to use.
    """
    addresses = _addresses(settings, sources)
    for _ in range(_ATTEMPTS):
        try:
            return _bind_all(addresses, settings.backlog)
        except OSError as error:
            if not (error.errno == errno.EADDRINUSE and settings.port == 0):
                raise _explained(error, settings, sources) from None
    raise ConfigError(f"{_origin('port', sources)}: no port is free on all addresses of {settings.host!r}")


def prepare(listener: socket.socket) -> None:
    """Set what makes requests cheaper; for listening sockets that somebody else has made, too.

    :raises OSError: it is no TCP socket.
    """
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, _SILENT_SECONDS)


def url(host: str, listeners: list[socket.socket]) -> str:
    """Return the address to show, with the port that is really bound: ``http://127.0.0.1:8080``."""
    port = listeners[0].getsockname()[1]
    bare = host.strip("[]")
    return f"http://[{bare}]:{port}" if ":" in bare else f"http://{bare}:{port}"


def _addresses(settings: Settings, sources: Mapping[str, str]) -> list[tuple[int, Any]]:
    try:
        found = socket.getaddrinfo(
            settings.host.strip("[]"), settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except (socket.gaierror, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a host name"
        origin = _origin("host", sources)
        raise ConfigError(f"{origin}: cannot find the address of {settings.host!r}: {reason}") from None
    return list(dict.fromkeys((family, address) for family, _, _, _, address in found))


def _bind_all(addresses: list[tuple[int, Any]], backlog: int) -> list[socket.socket]:
    listeners: list[socket.socket] = []
    absent: OSError | None = None
    with contextlib.ExitStack() as undo:
        for family, address in addresses:
            port = listeners[0].getsockname()[1] if listeners else address[1]
            try:
                listener = _listen(family, (address[0], port, *address[2:]), backlog, only=len(addresses) > 1)
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
        prepare(listener)
        if family == socket.AF_INET6:  # "::" alone serves IPv4 too; beside an IPv4 address it must not
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(only))
        listener.bind(address)
        listener.listen(backlog)
    except BaseException:
        listener.close()
        raise
    return listener


def _explained(error: OSError, settings: Settings, sources: Mapping[str, str]) -> ConfigError:
    host, port = settings.host, settings.port
    if error.errno == errno.EADDRINUSE:
        return ConfigError(f"{_origin('port', sources)}: port {port} of {host} is taken by another program")
    if error.errno in (errno.EACCES, errno.EPERM):
        return ConfigError(
            f"{_origin('port', sources)}: port {port} needs privileges; take one from 1024 on,"
            " or allow it (CAP_NET_BIND_SERVICE)"
        )
    if error.errno in _ABSENT:
        return ConfigError(f"{_origin('host', sources)}: {host!r} is not an address of this machine")
    return ConfigError(f"{_origin('host', sources)}: cannot bind {host!r} port {port}: {error.strerror}")


def _origin(name: str, sources: Mapping[str, str]) -> str:
    return sources.get(name, f"setting {name}")
