"""Reading the body of a request: fixed length or chunked (RFC 9112 sections 6 and 7).

A reader is fed what arrived and writes the content to a sink; the sink decides where it is kept. Outcomes as in
``request``: the bytes behind the body's end, ``None`` when more is needed, or :class:`~spawning.errors.ProtocolError`.
"""

from collections.abc import Callable
from enum import Enum
from typing import Final, Protocol

from spawning.errors import ProtocolError
from spawning.http import grammar

MAX_CHUNK_HEAD: Final = 4096  # bytes of a chunk's size with its extensions
MAX_TRAILERS: Final = 16384  # bytes of all trailer fields

# Sizes of two digits at most, as they are written, without zero: it ends a body.
_SIZES: Final = {form % size: size for form in (b"%x", b"%X") for size in range(1, 256)}
_SHORT: Final = 4  # bytes of such a head with its CRLF


class Sink(Protocol):
    """Where the content of a body goes."""

    def write(self, data: bytes | memoryview, /) -> object: ...


SinkFactory = Callable[[int], Sink]  # gets the announced length in bytes, 0 if it is unknown


class BodyReader(Protocol):
    def feed(self, data: bytes | memoryview) -> bytes | memoryview | None: ...


class FixedReader:
    """A body of known length.

    :param sink: gets the content.
    :param length: its bytes.
    """

    __slots__ = ("_missing", "_sink")

    def __init__(self, sink: Sink, length: int) -> None:
        self._sink = sink
        self._missing = length

    def feed(self, data: bytes | memoryview) -> bytes | memoryview | None:
        missing = self._missing
        if len(data) < missing:
            if data:
                self._sink.write(data)
            self._missing = missing - len(data)
            return None
        self._sink.write(data[:missing])
        self._missing = 0
        return data[missing:]


class _Part(Enum):
    HEAD = "size and extensions"
    DATA = "content"
    END = "CRLF behind the content"
    TRAILERS = "trailer fields"


class ChunkedReader:
    """A chunked body. Extensions and trailers are checked, bounded and dropped; line ends are CRLF exactly.

    The content of all chunks that arrived together goes to the sink together, however small they are.

    :param sink: gets the content.
    :param limit: most bytes of content; 0 is unlimited.
    """

    __slots__ = ("_found", "_limit", "_missing", "_part", "_sink", "_total", "_trailers", "_unread")

    def __init__(self, sink: Sink, limit: int) -> None:
        self._sink = sink
        self._limit = limit
        self._total = 0
        self._missing = 0
        self._trailers = 0
        self._part = _Part.HEAD
        self._unread = b""
        self._found: list[bytes] = []  # content that is not with the sink yet

    def feed(self, data: bytes | memoryview) -> bytes | None:
        data = self._unread + data  # what is unread is never longer than a chunk's head or a trailer may be
        position = 0
        while True:
            step = self._STEPS[self._part](self, data, position)
            if step is None:
                self._unread = data[position:] if self._part is not _Part.DATA else b""
                self._pass_on()
                return None
            if step < 0:
                self._pass_on()
                return data[-step:]
            position = step

    def _pass_on(self) -> None:
        found = self._found
        if found:
            self._sink.write(found[0] if len(found) == 1 else b"".join(found))
            self._found = []

    # Each step reads one part from a position on and gives the position behind it, None if more is needed, or the
    # negative position behind the body's end.

    def _head(self, data: bytes, position: int) -> int | None:
        """Read chunks as long as they are there whole, and the head of one that is not."""
        began = position
        found = self._found
        while True:
            line_end = data.find(b"\r\n", position, position + _SHORT)
            size = _SIZES.get(data[position:line_end], 0) if line_end > 0 else 0  # a quick way for small chunks
            start = line_end + 2
            if not size:
                match = grammar.CHUNK_HEAD.match(data, position)
                if match is None:
                    return self._check_unfinished(data, position) if position == began else position
                start = match.end()
                if start - position > MAX_CHUNK_HEAD:
                    raise ProtocolError(400, "chunk extensions too long")
                size = int(match[1], 16)
            self._total += size
            if self._limit and self._total > self._limit:
                raise ProtocolError(413, "request body too large")
            if not size:
                self._part = _Part.TRAILERS
                return start
            end = start + size
            position = end + 2
            if data[end:position] != b"\r\n":
                self._missing = size
                self._part = _Part.DATA
                return start
            found.append(data[start:end])

    def _check_unfinished(self, data: bytes, position: int) -> int | None:
        if not _may_become_chunk_head(data[position : position + MAX_CHUNK_HEAD]):
            raise ProtocolError(400, "malformed chunk size or extension")
        if len(data) - position > MAX_CHUNK_HEAD:
            raise ProtocolError(400, "chunk extensions too long")
        return None

    def _data(self, data: bytes, position: int) -> int | None:
        piece = data[position : position + self._missing]
        if piece:
            self._found.append(piece)
        self._missing -= len(piece)
        if self._missing:
            return None
        self._part = _Part.END
        return position + len(piece)

    def _end(self, data: bytes, position: int) -> int | None:
        end = data[position : position + 2]
        if end == b"\r\n":
            self._part = _Part.HEAD
            return position + 2
        if not b"\r\n".startswith(end):
            raise ProtocolError(400, "chunk longer than its size")
        return None

    def _trailer(self, data: bytes, position: int) -> int | None:
        end = data.find(b"\r\n", position)
        # The last byte of an unfinished line may be the CR of its end.
        length = (len(data) - 1 if end < 0 else end) - position
        if self._trailers + length > MAX_TRAILERS:
            raise ProtocolError(431, "trailer fields too large")
        if end < 0:
            return None
        line = data[position:end]
        self._trailers += length + 2
        if not line:
            return -(end + 2)
        if not grammar.FIELD.fullmatch(line.decode("latin-1")):
            raise ProtocolError(400, "malformed trailer field")
        return end + 2

    _STEPS: Final = {_Part.HEAD: _head, _Part.DATA: _data, _Part.END: _end, _Part.TRAILERS: _trailer}


def _may_become_chunk_head(data: bytes) -> bool:
    """Whether some continuation of `data` is a chunk's head, so that garbage is refused as soon as it is seen."""
    return not data or grammar.CHUNK_HEAD_BEGUN.fullmatch(data) is not None
