"""A site for programs that look for what is weak in TLS: all that is not the server's business is as they want it."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from integration.certificates import Certificate, own, signed
from integration.server import Server

# What a site says itself, or its application.
_SITE = """\
FIELDS = [
    ("Content-Length", "3"),
    ("Content-Security-Policy", "default-src 'self'"),
    ("Content-Type", "text/plain"),
    ("Referrer-Policy", "no-referrer"),
    ("Strict-Transport-Security", "max-age=31536000"),
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
]


def application(environ, start_response):
    start_response("200 OK", FIELDS)
    return [b"ok\\n"]
"""
_EXTENSIONS = """\
basicConstraints=critical,CA:FALSE
keyUsage=critical,digitalSignature
extendedKeyUsage=serverAuth
subjectAltName=DNS:localhost,IP:127.0.0.1
crlDistributionPoints=URI:http://localhost:1/list.crl
"""


@dataclass(frozen=True, slots=True)
class Scanned:
    """The server, and who has signed its certificate."""

    server: Server
    authority: Certificate


@contextlib.contextmanager
def scanned(directory: Path) -> Iterator[Scanned]:
    """Serve it."""
    authority = own(directory, "authority", name="authority")
    certificate = signed(directory, authority, "site", "/CN=localhost", _EXTENSIONS)
    (directory / "scanned_app.py").write_text(_SITE)
    options = [*certificate.options, "-s", "1", "-t", "4", "-l", "/dev/null"]
    with Server("scanned_app:application", *options, cwd=directory, bind="127.0.0.1:0") as server:
        yield Scanned(server, authority)
