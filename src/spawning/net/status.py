"""Where the status service listens (``--status``): an address that only this machine reaches, or one with a token.

Rules: bound by the controller, once, like the sockets of the service itself. A Unix socket is made in the place of one
that nobody listens on any more, and of nothing else.
"""

import contextlib
import errno
import ipaddress
import os
import socket
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from spawning.errors import ConfigError
from spawning.settings import Settings

_BACKLOG = 128
_MODE = 0o660  # of a Unix socket: owner and group
_ADDRESS = "PORT, HOST:PORT such as 127.0.0.1:9001 or [::1]:9001, or unix:PATH"


def bind_status(settings: Settings, sources: Mapping[str, str]) -> list[socket.socket]:
    """Bind the address of the status service, every address of the host when it is a name, and listen.

    :param sources: setting name to where its value came from, for messages.
    :returns: listening sockets, none if the service is not wanted.
    :raises ConfigError: it is no address, cannot be bound, or others could reach it without a token.
    """
    name = "status" if settings.status is not None else "status_port"
    origin = sources.get(name, f"setting {name}")
    if settings.status is not None and settings.status_port:
        raise ConfigError(f"{origin}: there is --status-port as well; say one of them")
    if settings.status is None and not settings.status_port:
        return []
    if settings.status is not None and settings.status.startswith("unix:"):
        return [_unix(Path(settings.status.removeprefix("unix:")), origin)]
    host, port = _split(settings, origin)
    addresses = _found(host, port, origin)
    if settings.status_token is None:
        _refuse_strangers([address[0] for _, address in addresses], origin)
    try:
        return _bind_all(addresses)
    except OSError as error:
        raise ConfigError(f"{origin}: cannot bind {host!r} port {port}: {_why(error)}") from None


def status_url(listeners: list[socket.socket]) -> str:
    """Return what to type into a browser, or the path of the Unix socket."""
    if not listeners:
        return ""
    address = listeners[0].getsockname()
    if not isinstance(address, tuple):
        return f"unix:{address}"
    host = f"[{address[0]}]" if ":" in address[0] else address[0]
    return f"http://{host}:{address[1]}/"


def remove_status(listeners: list[socket.socket]) -> None:
    """Close the sockets, and remove what a Unix socket has left in the file system."""
    for listener in listeners:
        address = listener.getsockname()
        listener.close()
        if isinstance(address, str) and address:
            with contextlib.suppress(OSError):
                os.unlink(address)
    listeners.clear()


def _split(settings: Settings, origin: str) -> tuple[str, int]:
    if settings.status is None:
        return settings.status_host.strip("[]"), settings.status_port
    host, _, port = settings.status.rpartition(":")
    if not (port.isdecimal() and port.isascii() and int(port) < 65536) or (":" in host and not host.startswith("[")):
        raise ConfigError(f"{origin}: {settings.status!r} is not {_ADDRESS}")
    return host.strip("[]") or settings.status_host.strip("[]"), int(port)


def _found(host: str, port: int, origin: str) -> list[tuple[int, Any]]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError):
        raise ConfigError(f"{origin}: cannot find the address of {host!r}") from None
    addresses: dict[tuple[int, Any], None] = dict.fromkeys((family, address) for family, _, _, _, address in found)
    return list(addresses)[: 1 if port == 0 else None]


def _refuse_strangers(addresses: list[str], origin: str) -> None:
    for address in addresses:
        if not ipaddress.ip_address(address.partition("%")[0]).is_loopback:
            raise ConfigError(
                f"{origin}: {address} can be reached from other machines; give a --status-token, or an address of this"
                " machine alone such as 127.0.0.1, or unix:PATH"
            )


def _bind_all(addresses: list[tuple[int, Any]]) -> list[socket.socket]:
    listeners: list[socket.socket] = []
    absent: OSError | None = None
    with contextlib.ExitStack() as undo:
        for family, address in addresses:
            try:
                listener = _tcp(family, address, several=len(addresses) > 1)
            except OSError as error:
                if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                    raise
                absent = error  # localhost is ::1 by name even where IPv6 is switched off
            else:
                undo.callback(listener.close)
                listeners.append(listener)
        if not listeners and absent is not None:
            raise absent
        undo.pop_all()
    return listeners


def _tcp(family: int, address: Any, *, several: bool) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setblocking(False)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(several))
        listener.bind(address)
        listener.listen(_BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener


def _unix(path: Path, origin: str) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _remove_stale(path, origin)
        listener.setblocking(False)
        before = os.umask(0o777 & ~_MODE)
        try:
            listener.bind(str(path.absolute()))
        finally:
            os.umask(before)
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise ConfigError(f"{origin}: cannot make the socket {str(path)!r}: {_why(error)}") from None
    except ConfigError:
        listener.close()
        raise
    return listener


def _remove_stale(path: Path, origin: str) -> None:
    """Remove a socket that a program has left behind which was killed."""
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise ConfigError(f"{origin}: {str(path)!r} is there already, and is no socket")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
        except OSError:
            pass
    raise ConfigError(f"{origin}: another program listens on {str(path)!r}")


def _why(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return "it is taken by another program"
    if error.errno in (errno.EACCES, errno.EPERM):
        return "it needs privileges"
    return error.strerror or str(error)
