"""Requests to environs: what no application may see is not there, and nothing of the request before is left.

An input is what a client sends on one connection. Its environs are built as ``worker.connection`` builds them, for a
peer that is trusted and for one that is not.
"""

from collections.abc import Iterator
from io import BytesIO

from fuzz.reading import CORPUS
from spawning.errors import ProtocolError
from spawning.http import grammar
from spawning.http.fields import Fields
from spawning.http.limits import Limits
from spawning.http.line import RequestLine
from spawning.http.request import RequestReader
from spawning.wsgi.environ import Environ, EnvironBase, connection_template, set_line
from spawning.wsgi.forwarded import Trust
from unit.requests import forget

BASE = EnvironBase(
    server_name="127.0.0.1",
    server_port="8080",
    multithread=True,
    multiprocess=True,
    trust=Trust(["192.0.2.1", "10.0.0.0/8"]),
    request_id_header="X-Request-Id",
)
TRUSTED, UNTRUSTED = "192.0.2.1", "198.51.100.1"
NEVER = ("HTTP_CONTENT_LENGTH", "HTTP_CONTENT_TYPE", "HTTP_PROXY", "HTTP_TRANSFER_ENCODING")

SAID = (
    b"X-Forwarded-For: 203.0.113.7, 10.0.0.2\r\nX-Forwarded-Proto: https\r\n",
    b'Forwarded: for="[2001:db8::1]:4711";proto=https;host=b.example, for=10.0.0.2\r\n',
    b"X-Forwarded-Host: b:81\r\nX-Forwarded-Port: 81\r\nX-Forwarded-Prefix: /app\r\n",
    b"X-Request-Id: 1\r\nContent-Type: a/b\r\nProxy: p\r\nX_Forwarded_For: 1\r\n",
)


def seeds() -> Iterator[tuple[str, bytes]]:
    """Yield the valid cases of the corpus, and what proxies write."""
    for path in (CORPUS / "valid").glob("*.http"):
        yield path.stem, path.read_bytes()
    for number, said in enumerate(SAID):
        fields = b" HTTP/1.1\r\nHost: a\r\n" + said + b"\r\n"
        yield f"said-{number}", b"GET /a" + fields + b"GET http://c/" + fields + b"GET /b?c" + fields


def one_input(data: bytes) -> None:
    """Raise if a promise is broken."""
    forget()
    source = RequestReader(lambda length: BytesIO(), Limits())
    connections = [Connection(TRUSTED), Connection(UNTRUSTED)]
    try:
        complete = source.receive(data)
        while complete:
            for connection in connections:
                check(connection.environ(source.fields, source.line), source.fields, connection.address)
            complete = bool(source.unread) and source.receive(b"")
    except ProtocolError:
        pass


class Connection:
    """Keeps a template from request to request, as the worker's does."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._fields: Fields | None = None
        self._line = RequestLine("", "", "", "", "")
        self._template: Environ = {}

    def environ(self, fields: Fields, line: RequestLine) -> Environ:
        """Build an environ twice: from what the last request left, and from nothing."""
        if fields is not self._fields or line.host or self._line.host:
            self._template = connection_template(BASE, fields, line, self.address, "4711")
        else:
            set_line(self._template, line)
        self._fields, self._line = fields, line
        fields.memo = None
        fresh = connection_template(BASE, fields, line, self.address, "4711")
        assert self._template == fresh, (self._template, fresh)
        return fresh


def check(environ: Environ, fields: Fields, address: str) -> None:
    """Look for what must not be in an environ."""
    assert not any(key in environ for key in NEVER), environ
    names = {"HTTP_" + field.name.upper().replace("-", "_") for field in fields.all if "_" not in field.name}
    for key, value in environ.items():
        assert not key.startswith("HTTP_") or key in names or key == "HTTP_HOST", key
        if isinstance(value, str):
            value.encode("latin-1")
            assert "\r" not in value or key == "PATH_INFO", (key, value)
    assert grammar.HOST.fullmatch(environ.get("HTTP_HOST", ""))
    assert environ["SERVER_PORT"].isdigit()
    assert environ["wsgi.url_scheme"] in ("http", "https")
    assert not environ["SCRIPT_NAME"].endswith("/")
    if address == UNTRUSTED:
        assert not any("FORWARDED" in key for key in environ if key in names and key.startswith("HTTP_X_FORWARDED_"))
        assert (environ["REMOTE_ADDR"], environ["REMOTE_PORT"]) == (UNTRUSTED, "4711")
        assert (environ["SERVER_PORT"], environ["wsgi.url_scheme"], environ["SCRIPT_NAME"]) == ("8080", "http", "")
        assert "HTTP_FORWARDED" not in environ
        assert "REQUEST_ID" not in environ
