"""What the corpus cannot say about bodies: limits to the byte, and that content goes to the sink as it comes."""

from io import BytesIO

import pytest

from spawning.errors import ProtocolError
from spawning.http.body import MAX_CHUNK_HEAD, MAX_TRAILERS, ChunkedReader, FixedReader
from unit.requests import byte_by_byte


class Pieces:
    """A sink that keeps the pieces apart."""

    def __init__(self) -> None:
        self.pieces: list[bytes | memoryview] = []

    def write(self, data: bytes | memoryview) -> None:
        self.pieces.append(data)


def test_a_fixed_body_is_passed_on_as_it_comes() -> None:
    sink = Pieces()
    reader = FixedReader(sink, 6)
    assert reader.feed(b"") is None
    assert reader.feed(b"abc") is None
    assert sink.pieces == [b"abc"]
    assert reader.feed(b"defg") == b"g"
    assert b"".join(sink.pieces) == b"abcdef"


def test_a_chunk_is_passed_on_before_it_is_complete() -> None:
    sink = Pieces()
    reader = ChunkedReader(sink, 0)
    assert reader.feed(b"10\r\nabc") is None
    assert sink.pieces == [b"abc"]


def test_chunks_that_arrive_together_are_passed_on_together() -> None:
    sink = Pieces()
    reader = ChunkedReader(sink, 0)
    assert reader.feed(b"1\r\na\r\n2;x\r\nbc\r\n05\r\ndefgh\r\nB\r\nijk") is None
    assert reader.feed(b"lmnopqrs\r\n0\r\n\r\nrest") == b"rest"
    assert sink.pieces == [b"abcdefghijk", b"lmnopqrs"]


def refused(data: bytes) -> list[int]:
    """Feed `data` whole, byte by byte and split near its limits; list the statuses of the refusals (0: none)."""
    ends = [offset for near in (MAX_CHUNK_HEAD, MAX_TRAILERS) for offset in range(near - 4, near + 12)]
    ways = [[data], list(byte_by_byte(data)), *([data[:end], data[end:]] for end in ends if end < len(data))]
    found = []
    for way in ways:
        reader = ChunkedReader(BytesIO(), 0)
        try:
            assert [reader.feed(piece) for piece in way][-1] == b""
            found.append(0)
        except ProtocolError as error:
            found.append(error.status)
    return sorted(set(found))


@pytest.mark.parametrize("head", [b"5", b"a5;b", b'5 ; a = "b\\"\\\\" ;\tc;d=e', b'1;a="";b'])
def test_what_can_become_a_chunk_head_is_awaited(head: bytes) -> None:
    """And what cannot is refused by the byte that shows it: a control character can stand nowhere."""
    for end in range(len(head) + 1):
        assert ChunkedReader(BytesIO(), 0).feed(head[:end]) is None
        with pytest.raises(ProtocolError, match="malformed chunk"):
            ChunkedReader(BytesIO(), 0).feed(head[:end] + b"\x01")


@pytest.mark.parametrize(("excess", "status"), [(0, 0), (1, 400)])
def test_a_chunk_head_has_a_longest_length(excess: int, status: int) -> None:
    extension = b"a" * (MAX_CHUNK_HEAD - len(b"5;\r\n") + excess)
    assert refused(b"5;" + extension + b"\r\nhello\r\n0\r\n\r\n") == [status]


@pytest.mark.parametrize(("excess", "status"), [(0, 0), (1, 431)])
def test_trailers_have_a_largest_size_together(excess: int, status: int) -> None:
    first = b"X-A: " + b"a" * 1000
    second = b"X-B: " + b"b" * (MAX_TRAILERS - len(first) - 2 - len(b"X-B: ") + excess - 2)
    assert refused(b"0\r\n" + first + b"\r\n" + second + b"\r\n\r\n") == [status]
