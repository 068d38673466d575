"""The WSGI environ (PEP 3333), built in three layers, each copied from the one before.

What is the same for every request of the worker (:class:`EnvironBase`); what the header fields of a request say, kept
with the fields (``Fields.memo``), since a client repeats them; and what each request has of its own.
"""

import sys
from io import BytesIO
from typing import Any, Final

from spawning.http.request import Fields, RequestReader
from spawning.wsgi.files import FileWrapper
from spawning.wsgi.input import BodyBuffer

Environ = dict[str, Any]

_MAX_KEYS: Final = 512  # field names remembered

# Proxy: https://httpoxy.org. Length and coding are the server's business: wsgi.input is complete and decoded.
_DROPPED: Final = frozenset({"proxy", "content-length", "transfer-encoding", "content-type"})

_keys: dict[str, str] = {}  # field name as sent: its key, empty if it is dropped


class EnvironBase:
    """What is the same for every request on one listening socket.

    :param server_name: SERVER_NAME, the address bound.
    :param server_port: SERVER_PORT.
    :param multithread: another thread of this process may be running the application at the same time.
    :param multiprocess: another process may.
    :param errors: ``wsgi.errors``, a text stream.
    """

    def __init__(
        self, *, server_name: str, server_port: str, multithread: bool, multiprocess: bool, errors: object = None
    ) -> None:
        self.values: Environ = {
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.errors": errors if errors is not None else sys.stderr,
            "wsgi.multithread": multithread,
            "wsgi.multiprocess": multiprocess,
            "wsgi.run_once": False,
            "wsgi.file_wrapper": FileWrapper,
            "wsgi.input_terminated": True,
            "SERVER_SOFTWARE": "spawning",
            "SERVER_NAME": server_name,
            "SERVER_PORT": server_port,
            "SCRIPT_NAME": "",
        }


def connection_template(base: EnvironBase, fields: Fields, address: str, port: str) -> Environ:
    """Build what all requests with these fields on this connection share.

    :param address: REMOTE_ADDR, empty for a Unix socket.
    :param port: REMOTE_PORT.
    """
    headers: Environ | None = fields.memo
    if headers is None:
        headers = fields.memo = _from_fields(fields)
    return {**base.values, **headers, "REMOTE_ADDR": address, "REMOTE_HOST": address, "REMOTE_PORT": port}


def request_environ(template: Environ, reader: RequestReader) -> Environ:
    """Build the environ of the request that the reader has completed."""
    environ = template.copy()
    line = reader.line
    environ["REQUEST_METHOD"] = line.method
    environ["PATH_INFO"] = line.path
    environ["QUERY_STRING"] = line.query
    environ["RAW_URI"] = line.target
    body = reader.body
    if body is None:
        environ["wsgi.input"] = BytesIO()
    else:
        assert type(body) is BodyBuffer
        environ["wsgi.input"] = body.file()
        environ["CONTENT_LENGTH"] = str(body.length)
    if line.host:
        environ["HTTP_HOST"] = line.host  # an absolute-form target beats the field (RFC 9112 section 3.2.2)
    return environ


def _from_fields(fields: Fields) -> Environ:
    environ: Environ = {"SERVER_PROTOCOL": "HTTP/1.1" if fields.minor else "HTTP/1.0"}
    for name, value in fields.pairs:
        key = _keys.get(name)
        if key is None:
            key = _remember(name)
        if key:
            if key in environ:
                environ[key] += ("; " if key == "HTTP_COOKIE" else ", ") + value
            else:
                environ[key] = value
        elif name.lower() == "content-type":
            environ["CONTENT_TYPE"] = value
        elif name.lower() == "content-length":
            environ["CONTENT_LENGTH"] = value
    return environ


def _remember(name: str) -> str:
    # A name with an underscore would be taken for the one with a hyphen.
    dropped = "_" in name or name.lower() in _DROPPED
    key = "" if dropped else "HTTP_" + name.upper().replace("-", "_")
    if len(_keys) >= _MAX_KEYS:
        _keys.clear()
    _keys[name] = key
    return key
