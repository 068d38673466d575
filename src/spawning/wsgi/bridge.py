"""One request's way through the application (PEP 3333): call it, write what it answers, close what it returned.

An :class:`Exchange` belongs to one thread while it runs, whichever that is. It knows a transport to write to and
nothing of threads, sockets or the event loop. What the application does wrong ends here: a traceback once in the log,
500 if nothing was sent, otherwise a cut connection, so that the client can tell.
"""

import logging
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Any, Final, Protocol

from spawning.errors import RequestTimeout
from spawning.http.request import RequestLine
from spawning.http.response import (
    CLOSE,
    LAST_CHUNK,
    Clock,
    Pairs,
    ResponseHead,
    chunk,
    early_hints,
    encode_head,
    error_response,
)
from spawning.wsgi import forked
from spawning.wsgi.environ import Environ
from spawning.wsgi.files import FileWrapper
from spawning.wsgi.request_id import id_at_end

ExcInfo = tuple[type[BaseException], BaseException, TracebackType]
WSGIApplication = Callable[[Environ, Any], Iterable[bytes]]

_HAVE_ALL: Final = (type(iter(list[bytes]())), type(iter(tuple[bytes]())))  # iterators of what is there already
_JOIN_BELOW: Final = 16384  # bytes of a body that are worth copying behind the head to save a second buffer

log = logging.getLogger("spawning.app")


class ClientGone(ConnectionError):
    """The client has closed its connection, or takes nothing any more; nobody is left to write to."""


class Transport(Protocol):
    """What an exchange needs of its connection."""

    def send(self, data: bytes) -> None:
        """Send, or keep for sending; waits only when much is kept already. Raises ClientGone."""

    def send_last(self, data: bytes) -> None:
        """Send, or keep, the last of all that is sent through this connection, and its end."""

    def send_two(self, head: bytes, body: bytes) -> None:
        """Send two buffers without joining them."""

    def send_file(self, head: bytes, descriptor: int, offset: int, count: int) -> None:
        """Send a head and a part of an open file; the descriptor may be closed afterwards."""


class Exchange:
    """A request and its response.

    :param transport: where the response goes.
    :param environ: of the request.
    :param line: of the request; what it says counts, whatever the application makes of the environ.
    :param minor: of the request's HTTP version.
    :param keep_alive: the connection may persist after this response.
    :param clock: the fields that every response carries.

    :ivar keep_alive: False after :meth:`run` if the connection must be closed behind the response.
    :ivar cut: the response is incomplete; the client has to be told by an abrupt end.
    :ivar sent: bytes of content sent.
    """

    __slots__ = (
        "chunked", "clock", "cut", "environ", "head", "head_sent", "keep_alive", "line", "minor", "sent", "started",
        "too_long", "transport",
    )  # fmt: skip

    head: ResponseHead | None

    def __init__(
        self, transport: Transport, environ: Environ, line: RequestLine, minor: int, keep_alive: bool, clock: Clock
    ) -> None:
        self.transport = transport
        self.environ = environ
        self.line = line
        self.minor = minor
        self.keep_alive = keep_alive
        self.clock = clock
        self.head = None
        self.head_sent = self.chunked = self.cut = self.too_long = False
        self.sent = 0
        self.started = 0.0

    def start_response(self, status: str, headers: Pairs, exc_info: ExcInfo | None = None) -> Callable[[bytes], None]:
        """Take status and fields (PEP 3333, "The start_response() Callable")."""
        if exc_info is not None:
            try:
                if self.head_sent:
                    raise exc_info[1].with_traceback(exc_info[2])
            finally:
                exc_info = None  # break the cycle of frame and traceback, as PEP 3333 asks
        elif self.head is not None:
            raise AssertionError("start_response called a second time without exc_info (PEP 3333)")
        self.head = encode_head(status, headers)
        return self.write

    def run(self, application: WSGIApplication) -> None:
        """Call the application and write its response; raises nothing."""
        try:
            result = application(self.environ, self.start_response)
            if forked.child:
                forked.leave()
            if type(result) is list:
                if len(result) == 1 and not self.head_sent:
                    self._send_whole(result[0])
                else:
                    self._send_list(result)
            else:
                self._send_and_close(result)
                if forked.child:
                    forked.leave()
        except ClientGone:
            if forked.child:
                forked.leave()
            self.cut = True
        except RequestTimeout:  # the log has its stack already
            self._answer(504, "Gateway Timeout", "the application takes too long")
        except BaseException as error:  # boundary: whatever the application raises, sys.exit() too, is this request's
            if forked.child:
                forked.leave(error)
            self._failed()

    def hint(self, headers: Pairs) -> None:
        """Send fields ahead of the response (``wsgi.early_hints``, RFC 8297), to a client that may understand them
        (HTTP/1.1), and as long as the head has not gone out.

        :raises ValueError, TypeError: as for the fields of a response; also when nothing is sent.
        """
        data = early_hints(headers)
        if headers and self.minor and not self.head_sent:
            self.transport.send(data)

    def write(self, data: bytes) -> None:
        """Send `data` at once (PEP 3333, "The write() Callable")."""
        if data:
            self._send_block(data)
        elif not self.head_sent:
            self._check_started()

    # -- what the application returned ------------------------------------------------------------------------------

    def _send_list(self, blocks: list[bytes]) -> None:
        body = blocks[0] if len(blocks) == 1 else b"".join(blocks)
        if self.head_sent:
            if body:
                self._send_block(body)
            self._end()
        else:
            self._send_whole(body)

    def _send_and_close(self, result: Iterable[bytes]) -> None:
        try:
            if type(result) is not FileWrapper or not self._send_as_file(result):
                self._send_blocks(iter(result))
        finally:
            close = getattr(result, "close", None)
            if close is not None:
                self._close(close)

    def _send_blocks(self, blocks: Iterator[bytes]) -> None:
        if type(blocks) in _HAVE_ALL:  # as Django's responses do: nothing has to be waited for
            self._send_list(list(blocks))
            return
        for block in blocks:
            if block and not self._send_block(block):
                break  # nothing more is wanted, and the iterator may be endless
        self._end()

    def _send_as_file(self, wrapper: FileWrapper) -> bool:
        extent = wrapper.extent()
        if extent is None or self.head_sent:
            return False
        descriptor, offset, count = extent
        head = self._check_started()
        if head.content_length >= 0:
            count = min(count, head.content_length)
        data = self._head_bytes(head, count)
        if self._without_content(head):
            self._send_complete(data)
            return True
        if count:
            self.transport.send_file(data, descriptor, offset, count)
        else:
            self.transport.send(data)
        self.sent = count
        self._check_length(head)
        return True

    # -- writing ----------------------------------------------------------------------------------------------------

    def _send_whole(self, body: bytes) -> None:
        """Send head and complete content, the way of nearly every response."""
        head = self.head
        if head is None:
            head = self._check_started()
        if type(body) is not bytes:
            raise _not_bytes(body)
        length = len(body)
        announced = head.content_length
        keep_alive = self.keep_alive
        if announced == length < _JOIN_BELOW and head.plain and self.line.plain and (self.minor or not keep_alive):
            self.head_sent = True
            self.sent = length
            if keep_alive:
                self.transport.send(head.start + self.clock.end + body)
            else:
                self.transport.send_last(head.start + self.clock.closing_end + body)
            return
        if self._without_content(head):
            self._send_complete(self._head_bytes(head, length))
            return
        if announced not in (-1, length):
            self._send_block(body)
            self._check_length(head)
            return
        data = self._head_bytes(head, length)
        self.sent = length
        if length < _JOIN_BELOW:
            self._send_complete(data + body)
        else:
            self.transport.send_two(data, body)

    def _send_complete(self, data: bytes) -> None:
        if self.keep_alive:
            self.transport.send(data)
        else:
            self.transport.send_last(data)

    def _send_block(self, block: bytes) -> bool:
        """Send a piece of content, behind the head if that has not gone out; False: nothing more may be sent."""
        head = self.head
        if head is None:
            head = self._check_started()
        if type(block) is not bytes:
            raise _not_bytes(block)
        start = b"" if self.head_sent else self._head_bytes(head, -1)
        if self._without_content(head):
            if start:
                self.transport.send(start)
            return False
        too_long = 0 <= head.content_length < self.sent + len(block)
        if too_long:
            block = self._cut_to(block, head.content_length - self.sent)
        self.sent += len(block)
        if self.chunked and block:
            block = chunk(block)
        if start or block:
            self.transport.send(start + block)
        return not too_long

    def _end(self) -> None:
        """Finish content that was sent in pieces; without any piece the response is complete now."""
        head = self.head
        if not self.head_sent:
            self._send_whole(b"")
            return
        assert head is not None
        if self.chunked:
            self.transport.send(LAST_CHUNK)
        elif not self._without_content(head):
            self._check_length(head)

    def _head_bytes(self, head: ResponseHead, length: int) -> bytes:
        """Complete the head; `length` is that of the whole content, -1 if it comes in pieces."""
        tunnel = not self.keep_alive and self._is_tunnel(head)
        self.head_sent = True
        framing = b""
        if tunnel:
            pass
        elif head.content_length < 0 and not head.bodiless:
            if length >= 0:
                # The length of what HEAD leaves out is unknown: nothing is better than a wrong one (RFC 9110 8.6).
                if length or not self._head_only:
                    framing = b"Content-Length: %d\r\n" % length
            elif self.minor:
                self.chunked = not self._head_only
                framing = b"Transfer-Encoding: chunked\r\n"
            else:
                self.keep_alive = False
        if not self.keep_alive:
            framing += CLOSE
        elif not self.minor:
            framing += b"Connection: keep-alive\r\n"
        clock = self.clock
        common = clock.missing_from(head) if head.dated or head.served else clock.fields
        return head.start + common + framing + b"\r\n"

    def _is_tunnel(self, head: ResponseHead) -> bool:
        """Whether this accepts CONNECT: the response lasts as long as the connection (RFC 9110 section 9.3.6)."""
        if self.line.method != "CONNECT" or not 200 <= head.code < 300:
            return False
        if head.content_length >= 0:
            raise ValueError("a response that accepts CONNECT has no Content-Length (RFC 9110 section 9.3.6)")
        return True

    @property
    def _head_only(self) -> bool:
        return self.line.method == "HEAD"

    def _without_content(self, head: ResponseHead) -> bool:
        return head.bodiless or self._head_only

    # -- what the application did wrong -------------------------------------------------------------------------------

    def _check_started(self) -> ResponseHead:
        if self.head is None:
            raise AssertionError("the application did not call start_response (PEP 3333)")
        return self.head

    def _cut_to(self, data: bytes, length: int) -> bytes:
        if not self.too_long:
            self.too_long = True  # what was announced is what the client gets, so the connection may persist
            log.error("response longer than its Content-Length %s", self._names())
        return data[:length]

    def _check_length(self, head: ResponseHead) -> None:
        if self.sent < head.content_length:
            log.error(
                "response shorter than its Content-Length announced=%d sent=%d %s",
                head.content_length, self.sent, self._names(),
            )  # fmt: skip
            self.cut = True

    def _close(self, close: Callable[[], object]) -> None:
        try:
            close()
        except Exception:  # boundary: the response is complete, or why it is not has been logged
            log.exception("close() of the response raised %s", self._names())

    def _failed(self) -> None:
        log.exception("application raised %s", self._names())
        self._answer(500, "Internal Server Error", "the application failed")

    def _answer(self, code: int, phrase: str, reason: str) -> None:
        """Answer in the application's place, unless it has begun to."""
        if self.head_sent:
            self.cut = True
            return
        self.head_sent = True
        self.keep_alive = False
        self.head = encode_head(f"{code} {phrase}", [])
        try:
            self.transport.send(error_response(code, reason, self.clock, with_body=not self._head_only))
        except ClientGone:
            self.cut = True

    def _names(self) -> str:
        environ = self.environ
        return f"method={environ.get('REQUEST_METHOD')} path={environ.get('PATH_INFO')!r}{id_at_end(environ)}"


def _not_bytes(block: object) -> TypeError:
    return TypeError(f"the application returned {type(block).__name__}, not bytes (PEP 3333)")
