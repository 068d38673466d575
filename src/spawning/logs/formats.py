"""Access logs in other formats than ``combined``: JSON, and formats in atoms of gunicorn or Apache.

What a line says of the request is made before the application has it, as in ``access.py``, and the rest when the
response is finished. Whatever a client has sent is escaped, as JSON does it, or as Apache does: no request can end a
field or a line.
"""

import json
import os
import re
import time
from collections.abc import Callable
from time import monotonic
from typing import Any, Final, NamedTuple

from spawning.logs.access import AccessLog, ColouredAccessLog, Entry, escaped_text, quoted, report, text_of
from spawning.logs.setup import zone
from spawning.logs.syslog import SyslogWriter
from spawning.logs.writer import Writer
from spawning.settings.destination import Syslog
from spawning.settings.log_format import COMBINED, JSON, Part, parts

_HOST: Final = re.compile(r"(\[[^\]]*\]|[^:]*)(?::([0-9]+))?")
_OCTETS: Final = "latin-1"  # what the characters of an environ stand for (PEP 3333, "Unicode Issues")

_encode: Final = json.JSONEncoder(ensure_ascii=True, separators=(",", ":")).encode


def make(
    form: str, descriptor: int = -1, *, with_ids: bool = False, coloured: bool = False, to: Syslog | None = None
) -> AccessLog:
    """Make the access log of a worker.

    :param form: its format, as ``--access-log-format`` has it.
    :param descriptor: see :class:`AccessLog`, as for `with_ids`.
    :param coloured: statuses of errors in colours, if the format is the usual one.
    :param to: a syslog daemon, in place of a descriptor.
    """
    writer = SyslogWriter(to, report, zone()) if to is not None else None
    if form == JSON:
        return JSONAccessLog(descriptor, with_ids=with_ids, writer=writer)
    if form != COMBINED:
        return FormattedAccessLog(parts(form), descriptor, writer=writer)
    kind = ColouredAccessLog if coloured else AccessLog
    return kind(descriptor, with_ids=with_ids, writer=writer)


# JSON ----------------------------------------------------------------------------------------------------------------


class JSONAccessLog(AccessLog):
    """One object a line, with the names of OpenTelemetry's semantic conventions for HTTP.

    The parts of an entry are members of the object, encoded.
    """

    def entry(self, environ: dict[str, Any]) -> Entry:
        get = environ.get
        target = _text(get("RAW_URI", ""))
        path, mark, query = target.partition("?")
        host, port = _host_of(_text(get("HTTP_HOST", "")))
        request = {
            "http.request.method": _text(get("REQUEST_METHOD", "")),
            "url.scheme": _text(get("wsgi.url_scheme", "")),
            "url.path" if target.startswith("/") or "://" not in target else "url.full": path,
            "url.query": query if mark else None,
            "network.protocol.version": _text(get("SERVER_PROTOCOL", "")).removeprefix("HTTP/"),
            "server.address": host,
            "server.port": port,
        }
        if "url.full" in request:
            request |= {"url.full": target, "url.query": None}
        referrer = get("HTTP_REFERER")
        end = {
            "user_agent.original": None if (agent := get("HTTP_USER_AGENT")) is None else _text(agent),
            "http.request.header.referer": None if referrer is None else [_text(referrer)],
        }
        address = environ["REMOTE_ADDR"]
        return Entry(address, _client(address, None), _members(request), _members(end))

    def begun_entry(self, address: str, begun: bytes) -> Entry:
        line = _text(begun.decode(_OCTETS)) or None
        return Entry(address, _client(address, None), _members({"spawning.request_line": line}), "")

    def record(self, entry: Entry, environ: dict[str, Any], code: int, sent: int, started: float) -> None:
        now = monotonic()
        if now >= self._next_second:
            self._stamp(now)
        client = entry.client
        user, address = environ.get("REMOTE_USER"), environ.get("REMOTE_ADDR")
        if user or address != entry.address:
            client = _client(address, user)
        end = entry.end
        if self._with_ids and (value := environ.get("REQUEST_ID")) is not None:
            end = (
                f"{end},{_members({'spawning.request_id': _text(value)})}"
                if end
                else _members({"spawning.request_id": _text(value)})
            )
        milliseconds = min(999, int((1 + now - self._next_second) * 1000))
        parts = [
            f'"timestamp":"{self._time}.{milliseconds:03}{self._offset}"',
            client,
            entry.request,
            f'"http.response.status_code":{code}' if code else "",
            f'"http.response.body.size":{sent},"http.server.request.duration":{now - started:.6f}',
            end,
        ]
        self._lines.append(f"{{{','.join([part for part in parts if part])}}}\n")

    def _stamp(self, now: float) -> None:
        """Write the time of day (RFC 3339), for the rest of its second."""
        wall = time.time()
        t, offset = self._zone.local(int(wall))
        self._time = time.strftime("%Y-%m-%dT%H:%M:%S", t)
        self._offset = f"{offset[:3]}:{offset[3:]}"
        self._next_second = now + 1 - wall % 1


def _client(address: object, user: object) -> str:
    return _members({"client.address": _text(address) if address else None, "user.name": _text(user) if user else None})


def _members(values: dict[str, Any]) -> str:
    """Encode the members of an object that have a value, without its braces."""
    # DEL is the one control character of ASCII that JSON lets pass.
    return _encode({name: value for name, value in values.items() if value not in (None, "")})[1:-1].replace(
        "\x7f", "\\u007f"
    )


def _text(value: object) -> str:
    """Return what a value of an environ says: its octets as UTF-8, or escaped where they are none."""
    text = text_of(value)
    if text.isascii():
        return text
    try:
        return text.encode(_OCTETS).decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:  # the application's, which has put it there as it is
        return text.encode("utf-8", "backslashreplace").decode()


def _host_of(host: str) -> tuple[str | None, int | None]:
    match = _HOST.fullmatch(host)
    if match is None:
        return host, None
    return match[1], int(match[2]) if match[2] and len(match[2]) < 6 else None


# Atoms ---------------------------------------------------------------------------------------------------------------


class Response(NamedTuple):
    """What a late atom is made from: the environ as the application has left it, and what was answered.

    :ivar seconds: that the request took.
    :ivar time: of day, as in ``combined``.
    :ivar wall: seconds since the epoch.
    """

    environ: dict[str, Any]
    code: int
    sent: int
    seconds: float
    time: str
    wall: float


class FormattedEntry(Entry):
    """An entry of a format in atoms: its pieces, with room for the late ones."""

    __slots__ = ("pieces",)

    def __init__(self, address: str, pieces: list[str]) -> None:
        super().__init__(address, "", "", "")
        self.pieces = pieces


class FormattedAccessLog(AccessLog):
    """Lines in a format of the user's.

    :param parts: of the format (``settings/log_format.py``).
    """

    def __init__(self, parts: list[Part], descriptor: int = -1, *, writer: Writer | None = None) -> None:
        super().__init__(descriptor, writer=writer)
        self._parts = parts
        late: list[tuple[int, Callable[[Response], object]]] = [
            (index, _LATE[part.atom]) for index, part in enumerate(parts) if part.atom in _LATE
        ]
        for index, part in enumerate(parts):
            if part.atom == "variable":
                late.append((index, _Variable(part.text)))
            elif part.atom == "form of time":
                late.append((index, self._form_of_time(part.text)))
        self._late = late

    def entry(self, environ: dict[str, Any]) -> Entry:
        return FormattedEntry(environ["REMOTE_ADDR"], [_early(part, environ) for part in self._parts])

    def begun_entry(self, address: str, begun: bytes) -> Entry:
        line = begun.decode(_OCTETS) or None
        return FormattedEntry(
            address, [quoted(line) if part.atom == "line" else _early(part, {}) for part in self._parts]
        )

    def record(self, entry: Entry, environ: dict[str, Any], code: int, sent: int, started: float) -> None:
        now = monotonic()
        if now >= self._next_second:
            self._stamp(now)
        assert isinstance(entry, FormattedEntry)
        response = Response(environ, code, sent, now - started, self._time, time.time())
        pieces = entry.pieces.copy()
        for index, show in self._late:
            pieces[index] = quoted(show(response))
        self._lines.append(f"{''.join(pieces)}\n")

    def _form_of_time(self, form: str) -> Callable[[Response], object]:
        zone = self._zone

        def show(response: Response) -> object:
            local, offset = zone.local(int(response.wall))
            return time.strftime(form.replace("%z", offset), local)

        return show


class _Variable:
    """Shows a variable of the environ, as the application has left it."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __call__(self, response: Response) -> object:
        return response.environ.get(self._name)


def _early(part: Part, environ: dict[str, Any]) -> str:
    if not part.atom:
        return part.text
    if part.atom == "field":
        key = part.text.upper().replace("-", "_")
        return quoted(environ.get(key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"))
    show = _EARLY.get(part.atom)
    return show(environ) if show is not None else "-"


def _line(environ: dict[str, Any]) -> str:
    if "RAW_URI" not in environ:
        return "-"
    return " ".join(quoted(environ.get(key)) for key in ("REQUEST_METHOD", "RAW_URI", "SERVER_PROTOCOL"))


def _key(name: str) -> Callable[[dict[str, Any]], str]:
    return lambda environ: quoted(environ.get(name))


_EARLY: Final[dict[str, Callable[[dict[str, Any]], str]]] = {
    "nothing": lambda _: "-",
    "line": _line,
    "method": _key("REQUEST_METHOD"),
    "path": _key("PATH_INFO"),
    "query": lambda environ: escaped_text(text_of(environ.get("QUERY_STRING", ""))),
    "?query": lambda environ: escaped_text(f"?{query}" if (query := text_of(environ.get("QUERY_STRING", ""))) else ""),
    "protocol": _key("SERVER_PROTOCOL"),
    "referrer": _key("HTTP_REFERER"),
    "agent": _key("HTTP_USER_AGENT"),
    "server": _key("SERVER_NAME"),
    "port": _key("SERVER_PORT"),
}
"""What is known before the application has the request."""

_LATE: Final[dict[str, Callable[[Response], object]]] = {
    "address": lambda response: response.environ.get("REMOTE_ADDR") or None,
    "user": lambda response: response.environ.get("REMOTE_USER") or None,
    "id": lambda response: response.environ.get("REQUEST_ID") or None,
    "time": lambda response: f"[{response.time}]",
    "status": lambda response: response.code or None,
    "bytes": lambda response: response.sent,
    "bytes or dash": lambda response: response.sent or None,
    "seconds": lambda response: int(response.seconds),
    "decimal seconds": lambda response: f"{response.seconds:.6f}",
    "milliseconds": lambda response: int(response.seconds * 1e3),
    "microseconds": lambda response: int(response.seconds * 1e6),
    "process": lambda _: os.getpid(),
    "<process>": lambda _: f"<{os.getpid()}>",
}
"""What is known when the response is finished: of the request too what an application may know better."""
