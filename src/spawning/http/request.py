"""Reading requests: bytes in, requests out; no sockets, no WSGI.

:class:`RequestReader` is fed what a connection received. Each call has one of three outcomes: a request is complete
(``True``), more is needed (``False``), or :class:`~spawning.errors.ProtocolError`, after which the reader must not be
used again, since the framing of what follows is unknown.

What made it fast: a client that keeps its connection repeats its header block byte for byte, and all clients together
ask for the same few targets. So the last block of the connection and the recent request lines are kept with what was
read from them (as ``fields`` does with blocks and lines). A client that makes a connection for each request repeats the
whole head, and so does one that sends the same form again, so recent heads of these two kinds are kept as well. All are
bounded.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Any, Final
from urllib.parse import unquote_to_bytes

from spawning.errors import ProtocolError
from spawning.http import grammar
from spawning.http.body import BodyReader, ChunkedReader, FixedReader, Sink, SinkFactory
from spawning.http.fields import Fields, read_fields, size_of
from spawning.memo import ENTRY, STRING, Memo

_MAX_REMEMBERED_LINE: Final = 256  # bytes of a request line that is remembered
_MAX_REMEMBERED_HEAD: Final = 512  # bytes of a head that is remembered: one without a last block to compare with
_SIZE_OF_LINE: Final = ENTRY + 128 + 6 * STRING  # bytes that a request line takes, beside five times what was sent

_CR: Final = 13

# Stands for "no last block": longer than anything that is received at once, so nothing ends with it.
_NO_BLOCK: Final = bytes(1 << 20)


@dataclass(frozen=True, slots=True)
class Limits:
    """What a request may be at most, and whether it may be CONNECT.

    :param max_line: bytes of the request line; never more than ``max_head``.
    :param max_head: bytes of the head, the request line included.
    :param max_fields: header fields.
    :param max_body: bytes of the body; 0 is unlimited.
    :param connect: CONNECT is left to the application; otherwise it is refused.
    """

    max_line: int = 16384
    max_head: int = 65536
    max_fields: int = 100
    max_body: int = 1 << 30
    connect: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "max_line", min(self.max_line, self.max_head))


class RequestLine:
    """Method and target of a request.

    ``path`` is percent-decoded, one character an octet (latin-1), as PEP 3333 wants it; ``query`` is not decoded;
    ``target`` is what the client sent; ``host`` is the authority of an absolute-form target, otherwise empty; ``plain``
    tells that the response has the content that its status and fields announce (so neither HEAD nor CONNECT); ``memo``
    is whatever the layer above derived from this line, and is dropped with it.
    """

    __slots__ = ("host", "memo", "method", "path", "plain", "query", "target")

    def __init__(self, method: str, target: str, path: str, query: str, host: str) -> None:
        self.method = method
        self.target = target
        self.path = path
        self.query = query
        self.host = host
        self.plain = method not in ("HEAD", "CONNECT")
        self.memo: Any = None


class Head:
    """What a reader with these limits has read from a head, and what it has kept of it."""

    __slots__ = ("block", "fields", "limits", "line")

    def __init__(self, line: RequestLine, fields: Fields, block: bytes, limits: Limits) -> None:
        self.line = line
        self.fields = fields
        self.block = block
        self.limits = limits


_NO_LINE: Final = RequestLine("", "", "", "", "")
_NO_FIELDS: Final = Fields(1, [])

_lines: Final[Memo[bytes, RequestLine]] = Memo(1024, 1 << 20, 4096)
_heads: Final[Memo[bytes, Head]] = Memo(256, 4 << 20, 1 << 17)
_known_line: Final = _lines.get
_known_head: Final = _heads.get


class _Phase(Enum):
    HEAD = "reading a head"
    BODY = "reading a body"
    COMPLETE = "a request is complete"
    FAILED = "the client broke the protocol"


_HEAD, _BODY, _COMPLETE, _FAILED = _Phase  # looked up once: a member of an Enum costs 0.2 µs


class RequestReader:
    """Reads the requests of one connection, one after the other.

    When :meth:`receive` gives ``True``, ``line``, ``fields`` and ``body`` describe the request, until the next call.

    ``wants_continue`` tells that the client waits for "100 Continue" before it sends the body (RFC 9110 section
    10.1.1); whoever sends that sets it back.

    :param make_sink: called for a request with a body; what it returns collects the bytes and becomes ``body``.
    :param limits: of every request.
    """

    __slots__ = (
        "_block", "_limits", "_line_end", "_make_sink", "_phase", "_reader", "_refused_head", "_searched", "_skipped",
        "body", "fields", "line", "unread", "wants_continue",
    )  # fmt: skip

    line: RequestLine
    fields: Fields

    def __init__(self, make_sink: SinkFactory, limits: Limits) -> None:
        self._make_sink = make_sink
        self._limits = limits
        self._block = _NO_BLOCK  # the header block of ``fields``
        self._line_end = 0
        self._phase = _HEAD
        self._reader: BodyReader | None = None
        self._searched = 0
        self._skipped = False  # an empty line before this request
        self._refused_head = False
        self.unread = bytearray()  # received, not yet interpreted
        self.body: Sink | None = None
        self.wants_continue = False

    @property
    def idle(self) -> bool:
        """Nothing of a further request has arrived."""
        return not self.unread and self._phase is not _BODY

    def forget(self) -> None:
        """Forget what is remembered of the last request, between two requests: the next one is read anew."""
        self.line = _NO_LINE
        self.fields = _NO_FIELDS
        self._forget_block()

    @property
    def reading_body(self) -> bool:
        return self._phase is _BODY

    @property
    def is_head(self) -> bool:
        """Whether the request that is being read, has been read or was refused is HEAD, so that no content answers it.

        Of one whose head is not complete this is what can be seen so far.
        """
        if self._phase is _FAILED:
            return self._refused_head
        if self._phase is not _HEAD:
            return self.line.method == "HEAD"
        return self.unread.startswith(b"HEAD ")

    def receive(self, data: bytes) -> bool:
        """Take what has arrived; empty when only bytes received earlier are to be looked at.

        :returns: True when a request is complete; call with nothing for the next one, which may be there already.
        :raises ProtocolError: what arrived is no HTTP, breaks a rule or a limit.
        """
        if data.endswith(self._block) and not self.unread:
            # The usual case whole: the request line is known, and the block is the last one. Nothing else fits in
            # between, since a request line that is remembered has neither space nor line end where this one ends.
            line = _known_line(data[: self._line_end])
            if line is not None:
                self.line = line
                self.body = None
                return True
        return self._receive(data)

    def _receive(self, data: bytes) -> bool:
        if self._phase is _BODY:
            return self._read_body(data)
        self._phase = _HEAD
        if self._block is _NO_BLOCK and not self.unread and self._recall(data):
            return self._complete(b"")
        end = data.find(b"\r\n\r\n")
        rest: bytes | memoryview = b""
        if 0 < end <= self._limits.max_line and not self.unread and data[0] != _CR:
            end += 4
            if end == len(data):
                head = data
            else:
                head = data[:end]
                rest = memoryview(data)[end:]
        else:
            unread = self.unread
            unread += data
            if unread.startswith(b"\r\n"):
                self._skip_empty_line()
            end = unread.find(b"\r\n\r\n", max(0, self._searched - 3))
            if end < 0 or end > self._limits.max_line:
                self._check_unfinished(end)
                if end < 0:
                    return False
            head = bytes(unread[: end + 4])
            del unread[: end + 4]
            self._searched = 0
        if self._block is not _NO_BLOCK or not self._recall(head):
            self._read_head(head)
        return self._complete(rest)

    def _recall(self, head: bytes) -> bool:
        """Take what is remembered of an equal head; False if nothing is."""
        known = _known_head(head) if len(head) <= _MAX_REMEMBERED_HEAD else None
        if known is None or known.limits is not self._limits:
            return False
        self.line = known.line
        self.fields = known.fields
        self._block = known.block
        self._line_end = -len(known.block)
        return True

    def _complete(self, rest: bytes | memoryview) -> bool:
        """Go on behind a head.

        :param rest: what has arrived behind it, unless that is in ``unread`` already.
        """
        self._skipped = False
        if self.fields.chunked or self.fields.content_length:
            return self._start_body(rest or bytes(self.unread))
        self.body = None
        self.unread += rest
        self._phase = _COMPLETE
        return True

    def _skip_empty_line(self) -> None:
        """Skip one empty line before a request (RFC 9112 section 2.2), but not two."""
        del self.unread[:2]
        if self._skipped or self.unread.startswith(b"\r\n"):
            raise self._failed(400, "empty lines before the request line")
        self._skipped = True
        self._searched = 0
        self._forget_block()  # so that the request comes through _receive(), which sets `_skipped` back

    def _check_unfinished(self, end: int) -> None:
        """Refuse what cannot become a head that is taken, at the same byte however the bytes are split.

        An error that can be seen in an unfinished head is told at once: the client may be waiting for an answer.

        :param end: where the head ends (it may be too long all the same), -1 if that has not come.
        """
        unread = self.unread
        limits = self._limits
        start, self._searched = max(0, self._searched - 1), len(unread)
        length = len(unread) if end < 0 else end + 4
        if length and not (33 <= unread[0] <= 126 or unread == b"\r"):
            raise self._failed(400, "malformed request line")
        forbidden = grammar.FORBIDDEN.search(unread, start, length)
        seen_at = forbidden.end() - 1 if forbidden else length
        line_end = unread.find(b"\r\n")
        if (length - 1 if line_end < 0 else line_end) > limits.max_line and seen_at > limits.max_line + 1:
            raise self._failed(414, "request line too long")
        if (length - 3 if end < 0 else end) > limits.max_head and seen_at > limits.max_head + 3:
            raise self._failed(431, "request head too large")
        if forbidden:
            raise self._failed(400, _what_is_forbidden(forbidden[0]))

    def _read_head(self, head: bytes) -> None:
        try:
            split = _end_of_target(head)
            self.line = _known_line(head[:split]) or _read_line(head[:split], self._limits.connect)
            block = head[split:]
            first = self._block is _NO_BLOCK
            if block != self._block:
                fields = read_fields(block, self._limits.max_fields)
                self.fields = fields
                self._block = block
                self._line_end = -len(block)  # seen from the end of what is received
                # A block that announces a body must not take the short way through receive(), nor one that a longer
                # request line would make too long.
                if fields.chunked or fields.content_length or len(block) + _MAX_REMEMBERED_LINE > self._limits.max_head:
                    self._forget_block()
            if self.line.method == "CONNECT":
                self.fields = self.fields.closing()
                self._forget_block()
            elif first and len(head) <= _MAX_REMEMBERED_HEAD:
                self._remember(head)
        except ProtocolError as error:
            self._phase = _FAILED
            self._refused_head = head.startswith(b"HEAD ")
            # What _check_unfinished() would have refused, had less of it arrived at once, is refused in its words.
            forbidden = grammar.FORBIDDEN.search(head) if 33 <= head[0] <= 126 else None
            raise ProtocolError(400, _what_is_forbidden(forbidden[0])) if forbidden else error from None

    def _remember(self, head: bytes) -> None:
        size = _SIZE_OF_LINE + 7 * len(head) + size_of(head, self.fields)
        _heads.put(head, Head(self.line, self.fields, self._block, self._limits), size)

    def _forget_block(self) -> None:
        self._block = _NO_BLOCK
        self._line_end = 0

    def _start_body(self, data: bytes | memoryview) -> bool:
        """Read what has arrived behind the head."""
        fields = self.fields
        max_body = self._limits.max_body
        self._phase = _BODY
        if max_body and fields.content_length > max_body:
            raise self._failed(413, "request body too large")
        self.body = sink = self._make_sink(fields.content_length)
        self._reader = ChunkedReader(sink, max_body) if fields.chunked else FixedReader(sink, fields.content_length)
        self.unread.clear()
        # A client that sends the body without waiting is told nothing (and no HTTP/1.0 client is).
        self.wants_continue = fields.expects_continue and fields.minor == 1 and not data
        return self._read_body(data)

    def _read_body(self, data: bytes | memoryview) -> bool:
        assert self._reader is not None
        try:
            rest = self._reader.feed(data)
        except ProtocolError:
            self._refused_head = self.is_head
            self._phase = _FAILED
            raise
        if rest is None:
            return False
        self._reader = None
        self.unread += rest
        self._phase = _COMPLETE
        return True

    def _failed(self, status: int, reason: str) -> ProtocolError:
        self._refused_head = self.is_head
        self._phase = _FAILED
        return ProtocolError(status, reason)


def _end_of_target(head: bytes) -> int:
    """Find the second space, which must be in the request line."""
    end = head.find(b" ", head.find(b" ") + 1)
    if not 0 < end < head.find(b"\r\n"):
        raise ProtocolError(400, "malformed request line")
    return end


def _what_is_forbidden(found: bytes) -> str:
    if found == b"\n":
        return "bare line feed"
    return "bare carriage return" if found[:1] == b"\r" else "control character"


def _read_line(data: bytes, connect: bool) -> RequestLine:
    match = grammar.METHOD_AND_TARGET.fullmatch(data.decode("latin-1"))
    if match is None:
        raise ProtocolError(400, "malformed request line")
    method, target = match.groups()
    host = ""
    path = target
    if method == "CONNECT":
        return _read_connect(target, connect)
    if not target.startswith("/"):
        path, host = _other_form(method, target)
    path, _, query = path.partition("?")
    if "#" in target:
        raise ProtocolError(400, "fragment in the request target")
    line = RequestLine(method, target, unquote_to_bytes(path).decode("latin-1"), query, host)
    if len(data) <= _MAX_REMEMBERED_LINE:
        _lines.put(data, line, _SIZE_OF_LINE + 5 * len(data))
    return line


def _read_connect(target: str, allowed: bool) -> RequestLine:
    """Read a target in authority-form (RFC 9112 section 3.2.3). Never remembered: only some readers take it."""
    if not allowed:
        raise ProtocolError(501, "CONNECT is not implemented")
    if not grammar.AUTHORITY.fullmatch(target):
        raise ProtocolError(400, "malformed request target")
    return RequestLine("CONNECT", target, "", "", target)


def _other_form(method: str, target: str) -> tuple[str, str]:
    """Read a target that is not in origin-form (RFC 9112 section 3.2); gives path with query, and host."""
    if target == "*" and method == "OPTIONS":
        return "", ""  # no path, since one begins with a slash (RFC 3875 section 4.1.5); the target says which it was
    match = grammar.ABSOLUTE.fullmatch(target)
    if match is None or not grammar.HOST.fullmatch(match[1]):
        raise ProtocolError(400, "malformed request target")
    path = match[2]
    return (path if path.startswith("/") else "/" + path), match[1]
