"""Writing responses: status, fields and framing to bytes; no sockets, no WSGI.

A head is written from what the application said; everything that would break the framing is refused with ``ValueError``
before a byte is sent. Applications repeat themselves: the last head is kept with what was written from it, so that an
equal one costs a comparison.
"""

import time
from http import HTTPStatus
from typing import Final

from spawning.memo import ENTRY, STRING, Memo

# Fields that are the connection's business and not the application's (RFC 9110 section 7.6.1, PEP 3333 "Other HTTP
# Features").
_HOP_BY_HOP: Final = frozenset(
    {"connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"}
)
_TCHAR: Final = frozenset("!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")

Pairs = list[tuple[str, str]]

CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
CLOSE: Final = b"Connection: close\r\n"
LAST_CHUNK: Final = b"0\r\n\r\n"


class ResponseHead:
    """A checked and written head, without framing and the empty line.

    :ivar start: status line and the application's fields, each with its CRLF.
    :ivar code: the status code.
    :ivar content_length: what the application announced, -1 if nothing.
    :ivar bodiless: the status forbids content (RFC 9110 section 6.4.1).
    :ivar plain: nothing is special about it: between ``start`` and the content goes ``Clock.end``, if no framing is
        missing.
    :ivar dated: the application set ``Date`` itself.
    """

    __slots__ = ("bodiless", "code", "content_length", "dated", "plain", "served", "start")

    def __init__(self, status: str, headers: Pairs) -> None:
        known = _known_status(status) if type(status) is str else None
        self.code, line = known or _remember_status(status)
        self.bodiless = self.code in (204, 304)
        self.content_length = -1
        self.dated = False
        self.served = False
        lines = [line]
        for name, value in headers:
            kind = _known_name(name)
            if kind is None:
                kind = _remember(name)
            if kind:
                self._note(kind, value)
            lines.append(f"{name}: {value}\r\n" if type(value) is str else _line(name, value))
        if self.content_length >= 0 and self.code == 204:
            # Frameworks add a length of 0 to everything; here it is forbidden (RFC 9110 section 8.6).
            lines = [line for line in lines if not line.lower().startswith("content-length:")]
            self.content_length = -1
        self.start = _encoded(lines)
        self.plain = not (self.bodiless or self.dated or self.served)

    def _note(self, kind: str, value: str) -> None:
        if kind == "content-length":
            if self.content_length >= 0 or not (value.isascii() and value.isdigit()):
                raise ValueError(f"Content-Length: {value!r} is not one number of bytes")
            self.content_length = int(value)
        elif kind == "date":
            self.dated = True
        elif kind == "server":
            self.served = True
        else:
            raise ValueError(f"{kind} is a hop-by-hop field, which an application may not set (PEP 3333)")


# Valid status: its code and status line.
_statuses: Final[Memo[str, tuple[int, str]]] = Memo(64, 1 << 15, 1024)
# Valid field name as written: what is special about it, or nothing.
_names: Final[Memo[str, str]] = Memo(512, 1 << 17, 1024)
_known_status: Final = _statuses.get
_known_name: Final = _names.get


def encode_head(status: str, headers: Pairs) -> ResponseHead:
    """Check and write a head.

    :param status: as in PEP 3333, ``"200 OK"``.
    :param headers: names and values, native strings in latin-1.
    :raises ValueError: status or a field is malformed, hop-by-hop, or would break the framing.
    :raises TypeError: status, a name or a value is not ``str``, or ``headers`` is not a list of pairs.
    """
    # One tuple, replaced whole: threads may race, and then one of them writes its head anew.
    global _last  # noqa: PLW0603
    last_status, last_headers, last_head = _last
    if status == last_status and headers == last_headers:
        return last_head
    if type(headers) is not list:
        raise TypeError(f"response headers must be a list (PEP 3333), not {type(headers).__name__}")
    head = ResponseHead(status, headers)
    _last = (status, [(name, value) for name, value in headers], head)  # pairs may be lists, which can change
    return head


def early_hints(headers: Pairs) -> bytes:
    """Check and write an interim response (103, RFC 8297).

    :param headers: names and values, as for a response.
    :raises ValueError: a field is malformed, or has no place before a response (hop-by-hop, length, date, server).
    :raises TypeError: a name or a value is not ``str``.
    """
    lines = ["HTTP/1.1 103 Early Hints\r\n"]
    for name, value in headers:
        kind = _known_name(name)
        if kind is None:
            kind = _remember(name)
        if kind:
            raise ValueError(f"{kind} cannot be among early hints")
        lines.append(_line(name, value))
    return _encoded(lines) + b"\r\n"


def _encoded(lines: list[str]) -> bytes:
    """Join the lines of a head, if they are as many lines for the client as well."""
    text = "".join(lines)
    if text.count("\n") != len(lines) or text.count("\r") != len(lines) or "\0" in text:
        raise ValueError(f"line end or NUL in the status or a response header: {text[:200]!r}")
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:
        raise ValueError(f"a character outside latin-1 in the response headers: {text[:200]!r}") from None


def _remember_status(status: str) -> tuple[int, str]:
    known = _check_status(status), f"HTTP/1.1 {status}\r\n"
    _statuses.put(status, known, ENTRY + 3 * STRING + 2 * len(status))
    return known


def _check_status(status: str) -> int:
    if type(status) is not str:
        raise TypeError(f"status must be str, not {type(status).__name__}")
    if len(status) < 4 or not (status[:3].isascii() and status[:3].isdigit()) or status[3] != " " or status[0] == "0":
        raise ValueError(f"status {status!r} is not a code of three digits, a space and a reason")
    if status[0] == "1":
        raise ValueError(f"status {status!r} is not final, so a client would go on waiting (RFC 9110 section 15.2)")
    return int(status[:3])


def _remember(name: str) -> str:
    if type(name) is not str:
        raise TypeError(f"header name {name!r} must be str, not {type(name).__name__}")
    if not name or not _TCHAR.issuperset(name):
        raise ValueError(f"header name {name!r} is not a token")
    lower = name.lower()
    kind = lower if lower in _HOP_BY_HOP or lower in ("content-length", "date", "server") else ""
    _names.put(name, kind, ENTRY + 2 * (STRING + len(name)))
    return kind


def _line(name: str, value: object) -> str:
    if isinstance(value, str):
        return f"{name}: {value}\r\n"
    raise TypeError(f"value of header {name!r} must be str, not {type(value).__name__}")


_last: tuple[str, Pairs, ResponseHead] = ("200 OK", [], ResponseHead("200 OK", []))


class Clock:
    """The fields that every response carries, written once a second: ``Server`` and ``Date`` (RFC 9110 section 6.6.1).

    ``end`` is ``fields`` with the empty line behind it, ``closing_end`` the same for a connection that closes. Called
    by the leader with the time of its last poll; request threads read ``fields`` whole.

    :param server: the ``Server`` field; empty sends none.
    """

    __slots__ = ("_second", "closing_end", "date_field", "end", "fields", "server_field")

    def __init__(self, server: str = "spawning") -> None:
        self._second = -1
        self.server_field = f"Server: {server}\r\n".encode("latin-1") if server else b""
        self.set(time.time())

    def set(self, now: float) -> None:
        """Bring the fields up to `now` (seconds since the epoch)."""
        second = int(now)
        if second != self._second:
            self._second = second
            self.date_field = f"Date: {http_date(second)}\r\n".encode("ascii")
            self.fields = self.server_field + self.date_field
            self.end = self.fields + b"\r\n"
            self.closing_end = self.fields + CLOSE + b"\r\n"

    def missing_from(self, head: ResponseHead) -> bytes:
        """Return the fields that the application did not set itself."""
        if head.dated:
            return b"" if head.served else self.server_field
        return self.date_field if head.served else self.fields


_DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def http_date(second: int) -> str:
    """Write an IMF-fixdate (RFC 9110 section 5.6.7), whatever the locale."""
    t = time.gmtime(second)
    return (
        f"{_DAYS[t.tm_wday]}, {t.tm_mday:02} {_MONTHS[t.tm_mon - 1]} {t.tm_year:04} "
        f"{t.tm_hour:02}:{t.tm_min:02}:{t.tm_sec:02} GMT"
    )


def error_response(status: int, reason: str, clock: Clock, *, with_body: bool = True) -> bytes:
    """Write a whole response that refuses a request and closes the connection.

    :param status: the status code.
    :param reason: one sentence for the client (ASCII).
    :param with_body: False answers HEAD.
    """
    phrase = HTTPStatus(status).phrase
    body = f"{status} {phrase}: {reason}\n".encode("ascii", "replace")
    head = (
        f"HTTP/1.1 {status} {phrase}\r\nContent-Type: text/plain; charset=utf-8\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n"
    )
    return head.encode("ascii") + clock.fields + b"\r\n" + (body if with_body else b"")


def chunk(data: bytes) -> bytes:
    """Frame one chunk (RFC 9112 section 7.1); `data` must not be empty."""
    return b"%x\r\n%b\r\n" % (len(data), data)
