"""Framing one HTTP/1 response (RFC 9112): head and content to a transport, and what the framing needs to remember.

A :class:`Responder` knows nothing of applications: it is told a checked head (``http.response``) and blocks, and
decides between a length, chunks and the end of the connection. The class that has the transport derives from it: a
connection of HTTP/1 is its own responder, so that no request allocates one. It belongs to the thread that runs the
request.

What the application says wrong about its length is refused before the head goes out (``BadResponse``), noted afterwards
(``cut``, ``too_long``), and logged by ``exchange``.
"""

from abc import ABC, abstractmethod
from typing import Final

from spawning.http.line import RequestLine
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
from spawning.wsgi.blocks import BadResponse

_JOIN_BELOW: Final = 16384  # bytes of a body that are worth copying behind the head to save a second buffer


class ClientGone(ConnectionError):
    """The client has closed its connection, or takes nothing any more; nobody is left to write to."""


class Responder(ABC):
    """The response to one request at a time; see the module.

    :ivar line: of the request; what it says counts, whatever the application makes of the environ.
    :ivar minor: of the request's HTTP version.
    :ivar keep_alive: the connection may persist behind this response; False when it must be closed.
    :ivar clock: the fields that every response carries.
    :ivar head_sent: the head has gone out.
    :ivar unframed: the content ends with the connection, so only an abrupt end tells the client that something is
        missing; that connection has no further response.
    :ivar cut: the response is incomplete, and nothing more of it may be sent.
    :ivar too_long: there was more than the announced length.
    :ivar sent: bytes of content sent.
    """

    __slots__ = (
        "chunked", "clock", "cut", "head_sent", "keep_alive", "line", "minor", "sent", "too_long", "unframed",
    )  # fmt: skip

    line: RequestLine
    minor: int
    keep_alive: bool
    clock: Clock
    head_sent: bool
    chunked: bool
    unframed: bool
    cut: bool
    too_long: bool
    sent: int

    def begin(self, minor: int, keep_alive: bool) -> None:
        """Forget the last response; the next one is to a request of this version."""
        self.minor = minor
        self.keep_alive = keep_alive
        self.head_sent = self.chunked = self.unframed = self.cut = self.too_long = False
        self.sent = 0

    # -- the transport ------------------------------------------------------------------------------------------------

    @abstractmethod
    def send(self, data: bytes) -> None:
        """Send, or keep for sending; waits only when much is kept already.

        :raises ClientGone: the connection is broken.
        """

    @abstractmethod
    def send_last(self, data: bytes) -> None:
        """Send, or keep, the last of all that is sent through this connection, and its end. Raises as :meth:`send`."""

    @abstractmethod
    def send_two(self, head: bytes, body: bytes) -> None:
        """Send two buffers without joining them. Raises as :meth:`send`."""

    @abstractmethod
    def send_file(self, head: bytes, descriptor: int, offset: int, count: int) -> None:
        """Send a head and a part of an open file; the descriptor may be closed afterwards. Raises as :meth:`send`."""

    @property
    def is_tunnel(self) -> bool:
        """Whether the application has taken the connection (``wsgi.tunnel``). Any thread."""
        return False

    def tunnel_head(self) -> ResponseHead | None:
        """Return the head that the application has sent itself through the connection that it has taken, and note how
        much content; None: it has not.
        """
        return None

    @abstractmethod
    def has_gone(self) -> bool:
        """Ask whether the client has closed the connection, or at least its sending half."""

    # -- the response -------------------------------------------------------------------------------------------------

    def whole(self, head: ResponseHead, body: bytes) -> None:
        """Send head and complete content; the way of nearly every response.

        :raises BadResponse: it is not as long as announced.
        :raises ClientGone: the connection is broken.
        """
        length = len(body)
        announced = head.content_length
        keep_alive = self.keep_alive
        if announced == length < _JOIN_BELOW and head.plain and self.line.plain and (self.minor or not keep_alive):
            self.head_sent = True
            self.sent = length
            if keep_alive:
                self.send(head.start + self.clock.end + body)
            else:
                self.send_last(head.start + self.clock.closing_end + body)
            return
        if self.without_content(head):
            self._send_complete(self._head_bytes(head, length))
            return
        if announced not in (-1, length):
            raise _of_another_length(announced, length)
        data = self._head_bytes(head, length)
        self.sent = length
        if length < _JOIN_BELOW:
            self._send_complete(data + body)
        else:
            self.send_two(data, body)

    def block(self, head: ResponseHead, block: bytes) -> bool:
        """Send a piece of content, behind the head if that has not gone out.

        :returns: False when nothing more may be sent.
        :raises ClientGone: the connection is broken.
        """
        start = b"" if self.head_sent else self._head_bytes(head, -1)
        if self.without_content(head):
            if start:
                self.send(start)
            return False
        fits = True
        if 0 <= head.content_length < self.sent + len(block):
            # What was announced is what the client gets, so the connection may persist.
            fits = False
            self.too_long = True
            block = block[: head.content_length - self.sent]
        self.sent += len(block)
        if self.chunked and block:
            block = chunk(block)
        if start or block:
            self.send(start + block)
        return fits

    def file(self, head: ResponseHead, descriptor: int, offset: int, count: int) -> None:
        """Send a head, and as content a part of an open file.

        :raises BadResponse: it is shorter than announced.
        :raises ClientGone: the connection is broken.
        """
        if head.content_length >= 0:
            if count < head.content_length and not self.without_content(head):
                raise _of_another_length(head.content_length, count)
            count = min(count, head.content_length)
        data = self._head_bytes(head, count)
        if self.without_content(head):
            self._send_complete(data)
            return
        if count:
            self.send_file(data, descriptor, offset, count)
        else:
            self.send(data)
        self.sent = count

    def end(self, head: ResponseHead) -> None:
        """Finish content that was sent in pieces.

        :raises ClientGone: the connection is broken.
        """
        if self.chunked:
            self.send(LAST_CHUNK)
        elif self.sent < head.content_length and not self.without_content(head):
            self.cut = True

    def hint(self, headers: Pairs) -> None:
        """Send fields ahead of the response (RFC 8297), to a client that may understand them (HTTP/1.1), and as long as
        the head has not gone out.

        :raises ValueError, TypeError: as for the fields of a response; also when nothing is sent.
        :raises ClientGone: the connection is broken.
        """
        data = early_hints(headers)
        if data and self.minor and not self.head_sent:
            self.send(data)

    def answer(self, code: int, phrase: str, reason: str) -> ResponseHead | None:
        """Answer in the application's place, unless it has begun to: then the response is cut.

        :returns: the head that has gone out.
        """
        if self.head_sent:
            self.cut = True
            return None
        self.head_sent = True
        self.keep_alive = False
        try:
            self.send(error_response(code, reason, self.clock, with_body=not self._head_only))
        except ClientGone:
            self.cut = True
        return encode_head(f"{code} {phrase}", [])

    def without_content(self, head: ResponseHead) -> bool:
        """Whether the response has no content, whatever there is of it."""
        return head.bodiless or self._head_only

    # -- framing ------------------------------------------------------------------------------------------------------

    def _send_complete(self, data: bytes) -> None:
        if self.keep_alive:
            self.send(data)
        else:
            self.send_last(data)

    def _head_bytes(self, head: ResponseHead, length: int) -> bytes:
        """Complete the head; `length` is that of the whole content, -1 if it comes in pieces."""
        tunnel = not self.keep_alive and self._is_tunnel(head)
        self.head_sent = True
        if head.closes:
            self.keep_alive = False
        framing = b""
        if tunnel:
            self.unframed = True
        elif head.content_length < 0 and not head.bodiless:
            if length >= 0:
                # The length of what HEAD leaves out is unknown: nothing is better than a wrong one (RFC 9110 8.6).
                if length or not self._head_only:
                    framing = b"Content-Length: %d\r\n" % length
            elif self.minor:
                self.chunked = not self._head_only
                framing = b"Transfer-Encoding: chunked\r\n"
            else:
                self.unframed = True
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


def _of_another_length(announced: int, found: int) -> BadResponse:
    what = "longer" if found > announced else "shorter"
    return BadResponse(f"response {what} than its Content-Length announced={announced} found={found}")
