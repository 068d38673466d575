"""The WSGI environ (PEP 3333), built in three layers, each copied from the one before.

What is the same for every request of the worker (:class:`EnvironBase`); what the header fields of a request say, kept
with the fields (``Fields.memo``), since a client repeats them; and what each request has of its own.

``Forwarded`` and ``X-Forwarded-…`` are kept aside: they reach an environ, and change it, only if the peer is trusted.
"""

import re
from collections.abc import Mapping
from contextlib import suppress
from copy import copy
from io import BytesIO
from typing import Any, Final
from urllib.parse import unquote

from spawning.http.body import Sink
from spawning.http.fields import Fields
from spawning.http.line import RequestLine
from spawning.logs.log import Log
from spawning.memo import ENTRY, STRING, Memo
from spawning.wsgi.errors import ErrorStream
from spawning.wsgi.files import FileWrapper
from spawning.wsgi.forwarded import Trust
from spawning.wsgi.input import BodyBuffer
from spawning.wsgi.request_id import reasonable

Environ = dict[str, Any]

# Proxy: https://httpoxy.org. Length and coding are the server's business: wsgi.input is complete and decoded.
_SPECIAL: Final = frozenset({"proxy", "content-length", "transfer-encoding", "content-type"})

_FORWARDED: Final = re.compile("forwarded|x-forwarded-[^_]*", re.IGNORECASE)

_untold: Final = [None]  # empty when the log has been told of fields that were ignored

# Field name as sent: its key, empty if it is special.
_keys: Final[Memo[str, str]] = Memo(512, 1 << 18, 1024)
_known_key: Final = _keys.get

log = Log("spawning.worker")


class EnvironBase:
    """What is the same for every request on one listening socket.

    :param server_name: SERVER_NAME, the address bound.
    :param server_port: SERVER_PORT.
    :param multithread: another thread of this process may be running the application at the same time.
    :param multiprocess: another process may.
    :param errors: ``wsgi.errors``; by default one of its own.
    :param trust: which peers' forwarded fields count; None: nobody's.
    :param request_id_header: the field in which a trusted peer may give ``REQUEST_ID``.
    """

    def __init__(
        self,
        *,
        server_name: str,
        server_port: str,
        multithread: bool,
        multiprocess: bool,
        errors: ErrorStream | None = None,
        trust: Trust | None = None,
        request_id_header: str | None = None,
    ) -> None:
        self.trust = trust
        self.request_id_key = _key(request_id_header) if request_id_header else ""
        self.values: Environ = {
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.errors": errors if errors is not None else ErrorStream(),
            "wsgi.multithread": multithread,
            "wsgi.multiprocess": multiprocess,
            "wsgi.run_once": False,
            "wsgi.file_wrapper": FileWrapper,
            "wsgi.input_terminated": True,
            "SERVER_SOFTWARE": "spawning",
            # RFC 3875 section 4.1.14: an IPv6 address is in brackets, as it has to be in a URL.
            "SERVER_NAME": f"[{server_name}]" if ":" in server_name else server_name,
            "SERVER_PORT": server_port,
            "SCRIPT_NAME": "",
        }

    def saying(self, values: Mapping[str, str]) -> "EnvironBase":
        """Return the same with more to say, for connections of which more is known."""
        said = copy(self)
        said.values = {**self.values, **values}
        return said


def connection_template(
    base: EnvironBase, fields: Fields, line: RequestLine, address: str, port: str, *, believe: bool = True
) -> Environ:
    """Build what requests on this connection share, as long as they have these fields; with the first request line.

    :param address: of the peer, empty for a Unix socket.
    :param port: of the peer.
    :param believe: whether what a trusted peer says counts.
    :raises ProtocolError: a trusted peer's forwarded fields are malformed.
    """
    memo: tuple[EnvironBase, Environ, dict[str, str]] | None = fields.memo
    if memo is None or memo[0] is not base:
        memo = fields.memo = (base, *_from_fields(base, fields))
    _, common, forwarded = memo
    template = common.copy()
    template["REMOTE_ADDR"] = address
    template["REMOTE_PORT"] = port
    set_line(template, line)
    if base.trust is None:
        if forwarded and _untold:
            _tell_ignored(forwarded, address)
    elif believe and base.trust.peer(address):
        template.update(forwarded)
        if reasonable(template.get(base.request_id_key)):
            template["REQUEST_ID"] = template[base.request_id_key]
        if forwarded:
            base.trust.origin(forwarded).put_into(template)
    elif forwarded and not address and _untold and not base.trust.peer(address):
        _tell_ignored(forwarded, address)
    return template


def path_info(target: str) -> str:
    """Return what ``PATH_INFO`` is for a target in origin-form: percent-decoded, one character an octet, no query."""
    return unquote(target.partition("?")[0], "latin-1")


def set_line(template: Environ, line: RequestLine) -> None:
    """Put another request line into a template. One with a host of its own needs a new template, now and afterwards."""
    template["REQUEST_METHOD"] = line.method
    template["PATH_INFO"] = line.path
    template["QUERY_STRING"] = line.query
    template["RAW_URI"] = line.target
    if line.host:
        template["HTTP_HOST"] = line.host  # an absolute-form target beats the field (RFC 9112 section 3.2.2)


def request_environ(template: Environ, body: Sink | None) -> Environ:
    """Build the environ of a request: a copy of the template, and the request's body."""
    environ = template.copy()
    if body is None:
        environ["wsgi.input"] = BytesIO()
    else:
        assert type(body) is BodyBuffer
        environ["wsgi.input"] = body.file()
        environ["CONTENT_LENGTH"] = str(body.length)
    return environ


def _from_fields(base: EnvironBase, fields: Fields) -> tuple[Environ, dict[str, str]]:
    """Add the keys that the fields make to those of the base, and give aside those that only a trusted peer may set."""
    environ = base.values.copy()
    environ["SERVER_PROTOCOL"] = "HTTP/1.1" if fields.minor else "HTTP/1.0"
    # What each request sets is there already: a copy that had to grow would cost as much as the copy itself.
    environ["wsgi.input"] = None
    environ["wsgi.early_hints"] = None
    forwarded: dict[str, str] = {}
    for field in fields.all:
        key = field.memo
        if key is None:
            key = _known_key(field.name)
            if key is None:
                key = _remember(field.name)
            field.memo = key
        if key:
            if key in environ:
                environ[key] += ("; " if key == "HTTP_COOKIE" else ", ") + field.value
            else:
                environ[key] = field.value
        elif field.lower == "content-type":
            environ["CONTENT_TYPE"] = field.value
        elif field.lower == "content-length":
            environ["CONTENT_LENGTH"] = field.value
        elif _FORWARDED.fullmatch(field.name):
            key = _key(field.name)
            forwarded[key] = f"{forwarded[key]}, {field.value}" if key in forwarded else field.value
    return environ, forwarded


def _tell_ignored(forwarded: dict[str, str], address: str) -> None:
    """Name, once a process, the fields that count for nothing because nobody is trusted, or nobody on a Unix socket,
    where the peer is nearly always a proxy. That can be why an application redirects to https for ever. The names are
    the client's, so neither many nor long ones are told.
    """
    with suppress(IndexError):  # another thread tells it
        _untold.pop()
        names = [key.removeprefix("HTTP_").replace("_", "-").title()[:40] for key in list(forwarded)[:6]]
        peer, entry = (address, "") if address else ("a Unix socket", " unix")
        log.warning("%s from %s ignored, see --forwarded-allow-ips%s", ", ".join(names), peer, entry)


def _remember(name: str) -> str:
    # A name with an underscore would be taken for the one with a hyphen.
    special = "_" in name or name.lower() in _SPECIAL or _FORWARDED.fullmatch(name)
    key = "" if special else _key(name)
    _keys.put(name, key, ENTRY + 2 * (STRING + len(name)))
    return key


def _key(name: str) -> str:
    return "HTTP_" + name.upper().replace("-", "_")
