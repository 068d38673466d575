"""Writing responses: status, fields and framing to bytes; no sockets, no WSGI.

A head is written from what the application said; everything that would break the framing is refused with ``ValueError``
before a byte is sent. Applications repeat themselves: the last head is kept with what was written from it, so that an
equal one costs a comparison.
"""

import re
import time
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Final

from spawning.memo import ENTRY, STRING, Memo

# Fields that are the connection's business and not the application's (RFC 9110 section 7.6.1, PEP 3333 "Other HTTP
# Features"). Not Proxy-Authenticate, which RFC 9110 no longer counts among them: an application that accepts CONNECT
# answers with it.
_HOP_BY_HOP: Final = frozenset(
    {"connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"}
)
_TCHAR: Final = frozenset("!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
# RFC 9110 section 5.5 allows the tab in a value, and no other control character; bytes above 127 are opaque.
_CONTROLS: Final = bytes([*range(9), *range(10, 32), 127])
_FORBIDDEN: Final = re.compile(r"[^\t\x20-\x7e\x80-\xff]")
_SHOWN: Final = 100  # characters of a value in a message

Pairs = list[tuple[str, str]]

CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
CLOSE: Final = b"Connection: close\r\n"
LAST_CHUNK: Final = b"0\r\n\r\n"


class ResponseHead:
    """A checked and written head, without framing and the empty line.

    :ivar start: status line and the application's fields, each with its CRLF.
    :ivar code: the status code.
    :ivar content_length: what the application announced, -1 if nothing.
    :ivar bodiless: the status forbids content (RFC 9110 sections 6.4.1, 15.3.6).
    :ivar plain: nothing is special about it: between ``start`` and the content goes ``Clock.end``, if no framing is
        missing.
    :ivar dated: the application set ``Date`` itself.
    :ivar served: the application set ``Server`` itself.
    :ivar closes: the application wants the connection to be closed behind this response.
    :ivar dropped: names of the hop-by-hop fields that the application set in vain, joined by commas.
    """

    __slots__ = ("bodiless", "closes", "code", "content_length", "dated", "dropped", "plain", "served", "start")

    def __init__(self, status: str, headers: Pairs) -> None:
        known = _known_status(status) if type(status) is str else None
        self.code, line = known or _remember_status(status)
        self.bodiless = self.code in (204, 205, 304)
        self.content_length = -1
        self.dated = self.served = self.closes = False
        self.dropped = ""
        lines = [line]
        for name, value in headers:
            try:
                kind, begin = _known_name(name) or _remember(name)
            except TypeError:
                raise _wrong_name(name, value) from None
            if type(value) is not str:
                value = _text(name, value)  # noqa: PLW2901
            if not kind or self._note(kind, begin, value):
                lines.append(f"{begin}{value}\r\n")
        if self.bodiless and self.code != 304:
            self._leave_length_out(lines)
        self.start = _encoded(lines)
        self.plain = not (self.bodiless or self.dated or self.served or self.closes)

    def _note(self, kind: str, begin: str, text: str) -> bool:
        """Note what a field says of the framing; whether it is to be written."""
        if kind == "content-length":
            return self._announce(text)
        if kind == "date":
            self.dated = True
        elif kind == "server":
            self.served = True
        elif self.code == 426 and "upgrade" in (kind, text.strip(" \t").lower()):
            return True  # 426 has to say what to upgrade to (RFC 9110 section 15.5.22)
        else:
            options = [option.strip(" \t").lower() for option in text.split(",")] if kind == "connection" else []
            self.closes = self.closes or "close" in options
            if options != ["close"]:
                self.dropped += f"{',' if self.dropped else ''}{begin.removesuffix(': ')}"
            return False
        return True

    def _announce(self, text: str) -> bool:
        number = text.strip(" \t")
        if not (number.isascii() and number.isdigit() and len(number) < 20):
            raise ValueError(f"value of response header Content-Length is {_shown(text)}, not a number of bytes")
        length = int(number)
        if self.content_length not in (-1, length):
            raise ValueError(f"response header Content-Length is said to be {self.content_length} and {length}")
        first = self.content_length < 0
        self.content_length = length
        return first

    def _leave_length_out(self, lines: list[str]) -> None:
        """Correct what frameworks add to everything: 204 has no length (RFC 9110 section 8.6), that of 205 is 0."""
        if self.content_length >= 0:
            lines[:] = [line for line in lines if not line.lower().startswith("content-length:")]
        self.content_length = -1
        if self.code == 205:
            self.content_length = 0
            lines.append("Content-Length: 0\r\n")


class TunnelHead(ResponseHead):
    """The head that an application has sent itself, through a connection that it has taken.

    :param code: its status; 0: nobody knows.
    """

    __slots__ = ()

    def __init__(self, code: int) -> None:
        self.code = code
        self.start = b""
        self.content_length = -1
        self.bodiless = True
        self.plain = self.dated = self.served = self.closes = False
        self.dropped = ""


# Valid status: its code and status line.
_statuses: Final[Memo[str, tuple[int, str]]] = Memo(64, 1 << 15, 1024)
# Valid field name as written: what is special about it, or nothing; and how its line begins.
_names: Final[Memo[str, tuple[str, str]]] = Memo(512, 1 << 18, 1024)
_known_status: Final = _statuses.get
_known_name: Final = _names.get


def encode_head(status: str, headers: Iterable[tuple[str, str]]) -> ResponseHead:
    """Check and write a head.

    :param status: as in PEP 3333, ``"200 OK"``; the reason may be missing.
    :param headers: names and values, native strings in latin-1. A list, says PEP 3333; any iterable of pairs will do.
    :raises ValueError: status or a field is malformed, or would break the framing.
    :raises TypeError: status, a name or a value is not ``str``, or ``headers`` are not pairs.
    """
    # One tuple, replaced whole: threads may race, and then one of them writes its head anew.
    global _last  # noqa: PLW0603
    last_status, last_headers, last_head = _last
    if status == last_status and headers == last_headers:
        return last_head
    if type(headers) is not list:
        _check_iterable(headers)
    pairs = [pair if type(pair) is tuple else _pair(pair) for pair in headers]  # nobody can change them later
    try:
        head = ResponseHead(status, pairs)
    except ValueError:
        for pair in pairs:
            _pair(pair)  # what cannot be taken apart is named
        raise
    _last = (status, pairs, head)
    return head


def early_hints(headers: Iterable[tuple[str, str]]) -> bytes:
    """Check and write an interim response (103, RFC 8297); nothing, if there are no fields.

    :param headers: names and values, as for a response.
    :raises ValueError: a field is malformed, or has no place before a response (hop-by-hop, length, date, server).
    :raises TypeError: a name or a value is not ``str``, or ``headers`` are not pairs.
    """
    _check_iterable(headers)
    lines = ["HTTP/1.1 103 Early Hints\r\n"]
    for name, value in map(_pair, headers):
        try:
            kind, begin = _remember(name)
        except TypeError:
            raise _wrong_name(name, value) from None
        if kind:
            raise ValueError(f"{kind} cannot be among early hints")
        lines.append(f"{begin}{_text(name, value)}\r\n")
    return _encoded(lines) + b"\r\n" if len(lines) > 1 else b""


def _check_iterable(headers: object) -> None:
    if isinstance(headers, str | bytes | Mapping) or not isinstance(headers, Iterable):
        hint = ", such as those of its items()" if isinstance(headers, Mapping) else ""
        raise TypeError(f"response headers are {_shown(headers)}, and must be a list of pairs{hint} (PEP 3333)")


def _pair(pair: object) -> tuple[str, str]:
    if isinstance(pair, tuple | list) and len(pair) == 2:
        return pair[0], pair[1]
    raise TypeError(f"response header {_shown(pair)} is not a pair of name and value") from None


def _remember(name: str) -> tuple[str, str]:
    name = str.__str__(name)  # of a subclass, what it holds; of everything else, TypeError
    if not name or not _TCHAR.issuperset(name):
        raise ValueError(f"name of a response header is {_shown(name)}, and must be a token (RFC 9110 section 5.6.2)")
    lower = name.lower()
    kind = lower if lower in _HOP_BY_HOP or lower in ("content-length", "date", "server") else ""
    known = kind, f"{name}: "
    _names.put(name, known, ENTRY + 3 * (STRING + len(name)))
    return known


def _wrong_name(name: object, value: object) -> TypeError:
    return TypeError(f"name of a response header is {_shown(name)}, and must be str; its value is {_shown(value)}")


def _text(name: str, value: object) -> str:
    """Return a value as plain text; of a subclass of ``str`` what it holds, whatever it shows when it is formatted."""
    if isinstance(value, str):
        return str.__str__(value)
    raise TypeError(f"value of response header {name} is {_shown(value)}, and must be str")


def _encoded(lines: list[str]) -> bytes:
    """Join the lines of a head, if they are as many lines for the client as well."""
    try:
        data = "".join(lines).encode("latin-1")
    except UnicodeEncodeError:
        raise _forbidden(lines) from None
    if len(data) - len(data.translate(None, _CONTROLS)) != 2 * len(lines):  # those that end the lines are our own
        raise _forbidden(lines)
    return data


def _forbidden(lines: list[str]) -> ValueError:
    """Name the first line with a character that it may not have, and show what is around that."""
    for line in lines:
        begin, _, text = line[:-2].partition(" ")  # the name and its colon, or the version
        if found := _FORBIDDEN.search(text):
            break
    assert found is not None
    where = f"value of response header {begin[:-1]}" if begin.endswith(":") else "status"
    what = "a control character" if found[0] < "\x80" else "a character outside latin-1"
    around = text[max(0, found.start() - _SHOWN // 2) : found.start() + _SHOWN // 2]
    return ValueError(f"{where} has {what}: {around!r}")


def _shown(value: object) -> str:
    """Show a value and its type. It is the application's, so it may raise."""
    try:
        text = str.__str__(repr(value))
    except BaseException:  # boundary: an object of the application's
        text = "something that cannot be shown"
    if len(text) > _SHOWN:
        text = f"{text[:_SHOWN]}..."
    return f"{text} ({type(value).__name__})"


def _remember_status(status: str) -> tuple[int, str]:
    if not isinstance(status, str):
        raise TypeError(f"status is {_shown(status)}, and must be str, such as '200 OK'")
    text = str.__str__(status)  # of a subclass, what it holds
    # The space is there without a reason, too (RFC 9112 section 4).
    known = _code(text), f"HTTP/1.1 {text}\r\n" if len(text) > 3 else f"HTTP/1.1 {text} \r\n"
    _statuses.put(text, known, ENTRY + 3 * STRING + 2 * len(text))
    return known


def _code(status: str) -> int:
    code = status[:3]
    if len(code) < 3 or not (code.isascii() and code.isdigit()) or status[3:4] not in ("", " ") or code[0] == "0":
        raise ValueError(f"status {status!r} is not a code of three digits, a space and a reason")
    if code[0] == "1":
        hint = "; 101 is sent through environ['spawning.socket']" if code == "101" else ""
        raise ValueError(
            f"status {status!r} is not final, so a client would go on waiting (RFC 9110 section 15.2){hint}"
        )
    return int(code)


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
