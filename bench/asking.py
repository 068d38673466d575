"""A connection of HTTP to a server of this machine, whatever it listens on."""

import socket
import ssl
from http.client import HTTPConnection, HTTPSConnection
from pathlib import Path

Where = int | Path
"""A port of the loopback address, or a Unix socket."""

_UNVERIFIED = ssl.create_default_context()
_UNVERIFIED.check_hostname = False
_UNVERIFIED.verify_mode = ssl.CERT_NONE


class _Unix(HTTPConnection):
    """The same over a Unix socket."""

    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def connection(where: Where, timeout: float, *, secure: bool = False) -> HTTPConnection:
    """Make one that is yet to connect.

    :param timeout: seconds for each operation.
    :param secure: over TLS, without a look at the certificate.
    """
    if isinstance(where, Path):
        return _Unix(where, timeout)
    if secure:
        return HTTPSConnection("127.0.0.1", where, timeout=timeout, context=_UNVERIFIED)
    return HTTPConnection("127.0.0.1", where, timeout=timeout)
