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

from enum import Enum
from typing import Final

from spawning.errors import ProtocolError
from spawning.http.body import BodyReader, ChunkedReader, FixedReader, Sink, SinkFactory
from spawning.http.fields import Fields, read_fields, size_of
from spawning.http.limits import Limits
from spawning.http.line import MAX_REMEMBERED_LINE, SIZE_OF_LINE, RequestLine, end_of_target, known_line, read_line
from spawning.http.unfinished import UnfinishedHead
from spawning.memo import Memo

_MAX_REMEMBERED_HEAD: Final = 512  # bytes of a head that is remembered: one without a last block to compare with

_MOST_OF_A_LINE: Final = 1024  # bytes that are told of the request line of a refused request

_CR: Final = 13

# Stands for "no last block": longer than anything that is received at once, so nothing ends with it.
_NO_BLOCK: Final = bytes(1 << 20)


class Head:
    """What a reader with these limits has read from a head, and what it has kept of it."""

    __slots__ = ("block", "fields", "limits", "line", "line_end")

    def __init__(self, line: RequestLine, fields: Fields, block: bytes, limits: Limits) -> None:
        self.line = line
        self.fields = fields
        self.block = block
        self.line_end = -len(block) if block is not _NO_BLOCK else 0
        self.limits = limits


_NO_LINE: Final = RequestLine("", "", "", "", "")
_NO_FIELDS: Final = Fields(1, [])

_heads: Final[Memo[bytes, Head]] = Memo(256, 4 << 20, 1 << 17)
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
    10.1.1); the code that sends that sets it back.

    :param make_sink: called for a request with a body; what it returns collects the bytes and becomes ``body``.
    :param limits: of every request.
    """

    __slots__ = (
        "_begun", "_block", "_limits", "_line_end", "_make_sink", "_phase", "_reader", "_skipped", "_unfinished",
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
        self._unfinished: UnfinishedHead | None = None
        self._skipped = False  # an empty line before this request
        self._begun: bytes | None = None  # of a refused request: what ``begun`` is
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
    def begun(self) -> bytes | None:
        """The request line so far, at most a kilobyte, of a request whose head has not been read; None: ``line`` and
        ``fields`` are those of the request that is being read, has been read or was refused.
        """
        if self._phase is _FAILED:
            return self._begun
        return _first_line(self.unread) if self._phase is _HEAD else None

    @property
    def is_head(self) -> bool:
        """Whether the request that is being read, has been read or was refused is HEAD, so that no content answers it.

        Of one whose head is not complete this is what can be seen so far.
        """
        begun = self.begun
        return self.line.method == "HEAD" if begun is None else begun.startswith(b"HEAD ")

    def receive(self, data: bytes) -> bool:
        """Take what has arrived; empty when only bytes received earlier are to be looked at.

        :returns: True when a request is complete; call with nothing for the next one, which may be there already.
        :raises ProtocolError: what arrived is no HTTP, breaks a rule or a limit.
        """
        if data.endswith(self._block) and not self.unread:
            # The usual case whole: the request line is known, and the block is the last one. Nothing else fits in
            # between, since a request line that is remembered has neither space nor line end where this one ends.
            line = known_line(data[: self._line_end])
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
            if not self._line_end:
                return self._complete(b"")
            self._skipped = False  # as _complete() does: a block that is kept announces no body
            self.body = None
            self._phase = _COMPLETE
            return True
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
            unfinished = self._unfinished
            end = unread.find(b"\r\n\r\n", max(0, unfinished.searched - 3) if unfinished is not None else 0)
            if end < 0 or end > self._limits.max_line:
                self._check_unfinished(end)
                if end < 0:
                    return False
            head = bytes(unread[: end + 4])
            del unread[: end + 4]
            self._unfinished = None
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
        self._line_end = known.line_end
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
            self._fail(b"")
            raise ProtocolError(400, "empty lines before the request line")
        self._skipped = True
        self._unfinished = None
        self._forget_block()  # so that the request comes through _receive(), which sets `_skipped` back

    def _check_unfinished(self, end: int) -> None:
        """Refuse what cannot become a head that is taken; see ``unfinished``."""
        unfinished = self._unfinished
        if unfinished is None:
            unfinished = self._unfinished = UnfinishedHead(self._limits)
        try:
            unfinished.check(self.unread, end)
        except ProtocolError:
            self._fail(_first_line(self.unread))
            raise

    def _read_head(self, head: bytes) -> None:
        try:
            split = end_of_target(head)
            self.line = known_line(head[:split]) or read_line(head[:split], self._limits.connect)
            block = head[split:]
            first = self._block is _NO_BLOCK
            if block != self._block:
                fields = read_fields(block, self._limits.max_fields)
                self.fields = fields
                self._block = block
                self._line_end = -len(block)  # seen from the end of what is received
                # A block that announces a body must not take the short way through receive(), nor one that a longer
                # request line would make too long.
                if fields.chunked or fields.content_length or len(block) + MAX_REMEMBERED_LINE > self._limits.max_head:
                    self._forget_block()
            if self.line.method == "CONNECT":
                self.fields = self.fields.closing()
                self._forget_block()
            elif first and len(head) <= _MAX_REMEMBERED_HEAD:
                self._remember(head)
        except ProtocolError:
            self._fail(_first_line(head))
            UnfinishedHead(self._limits).check(head, len(head) - 4)  # what would have been seen with less of it
            raise

    def _remember(self, head: bytes) -> None:
        size = SIZE_OF_LINE + 7 * len(head) + size_of(head, self.fields)
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
            self._fail(None)
            raise ProtocolError(413, "request body too large")
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
            self._fail(None)
            raise
        if rest is None:
            return False
        self._reader = None
        self.unread += rest
        self._phase = _COMPLETE
        return True

    def _fail(self, begun: bytes | None) -> None:
        self._phase = _FAILED
        self._begun = begun


def _first_line(head: bytes | bytearray) -> bytes:
    return bytes(head[:_MOST_OF_A_LINE]).partition(b"\r\n")[0]
