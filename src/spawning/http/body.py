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
    """A chunked body. Extensions and trailers are bounded and dropped; line ends are CRLF exactly.

    :param sink: gets the content.
    :param limit: most bytes of content; 0 is unlimited.
    """

    __slots__ = ("_limit", "_missing", "_part", "_sink", "_total", "_trailers", "_unread")

    def __init__(self, sink: Sink, limit: int) -> None:
        self._sink = sink
        self._limit = limit
        self._total = 0
        self._missing = 0
        self._trailers = 0
        self._part = _Part.HEAD
        self._unread = b""

    def feed(self, data: bytes | memoryview) -> bytes | None:
        data = self._unread + data  # what is unread is never longer than a chunk's head or a trailer may be
        position = 0
        while True:
            step = self._STEPS[self._part](self, data, position)
            if step is None:
                self._unread = data[position:] if self._part is not _Part.DATA else b""
                return None
            if step < 0:
                return data[-step:]
            position = step

    # Each step reads one part from a position on and gives the position behind it, None if more is needed, or the
    # negative position behind the body's end.

    def _head(self, data: bytes, position: int) -> int | None:
        match = grammar.CHUNK_HEAD.match(data, position)
        if match is None:
            if not _may_become_chunk_head(data[position : position + MAX_CHUNK_HEAD]):
                raise ProtocolError(400, "malformed chunk size")
            if len(data) - position > MAX_CHUNK_HEAD:
                raise ProtocolError(400, "chunk extensions too long")
            return None
        if match.end() - position > MAX_CHUNK_HEAD:
            raise ProtocolError(400, "chunk extensions too long")
        size = int(match[1], 16)
        self._total += size
        if self._limit and self._total > self._limit:
            raise ProtocolError(413, "request body too large")
        self._missing = size
        self._part = _Part.DATA if size else _Part.TRAILERS
        return match.end()

    def _data(self, data: bytes, position: int) -> int | None:
        piece = data[position : position + self._missing]
        if piece:
            self._sink.write(piece)
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
    """Tell whether some continuation of `data` is a chunk's head, so that garbage is refused as soon as it is seen."""
    if not data:
        return True
    end = b"\n" if data.endswith(b"\r") else b";\r\n"  # whitespace is allowed before an extension only
    return grammar.CHUNK_HEAD.fullmatch(data + end) is not None
