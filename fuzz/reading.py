"""Bytes to requests: the same however they are split, no error but ``ProtocolError``, nothing kept beyond the limits.

An input is one byte of choices, as many cuts as it says (two bytes each), and what a client sends.
"""

from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path

from spawning.errors import ProtocolError
from spawning.http.request import RequestReader
from unit.requests import Story, byte_by_byte, forget, reader, story

CORPUS = Path(__file__).parents[1] / "tests" / "corpus"

# Small, so that a short input can reach them; or the usual ones.
TIGHT = {"max_head": 200, "max_fields": 5, "max_body": 40}
CUTS = 7  # the choices' lowest bits: how many cuts
IS_TIGHT = 8  # the next bit
IS_ENDLESS = 16  # and the next: the last piece is sent again and again

STATUSES = {0, 400, 413, 414, 417, 431, 501, 505}
REPEATS = 400  # how often the last piece is sent again
MOST_KEPT = 1 << 17  # bytes that the usual limits may let a reader keep: head, chunk head, trailers


def seeds() -> Iterator[tuple[str, bytes]]:
    """Give every case of the corpus with its name, without cuts and with two."""
    for path in CORPUS.rglob("*.http"):
        data = path.read_bytes()
        if len(data) <= 4096:
            yield path.stem, b"\0" + data
            middle = len(data) // 2
            cuts = middle.to_bytes(2) + (middle + 3).to_bytes(2)
            yield path.stem + "-cut", bytes([IS_TIGHT + IS_ENDLESS + 2]) + cuts + data


def one_input(source: bytes) -> None:
    """Raise if a promise is broken."""
    choices = source[0] if source else 0
    limits = TIGHT if choices & IS_TIGHT else {}
    count = choices & CUTS
    data = source[1 + 2 * count :]
    cuts = {int.from_bytes(source[1 + 2 * i : 3 + 2 * i]) % (len(data) + 1) for i in range(count)}
    check(data, cuts, limits)
    if choices & IS_ENDLESS:
        keeps_within_limits(split(data, cuts), limits)


def check(data: bytes, cuts: Iterable[int], limits: dict[str, int]) -> None:
    """Read `data` in every way; raise if two of them differ."""
    whole = read([data], limits)
    assert whole.status in STATUSES, whole
    # The second time, what the first has left is remembered.
    for name, pieces in (
        ("warm", [data]),
        ("cut", split(data, cuts)),
        ("cut behind each block", split(data, ends_of_blocks(data))),
        ("byte by byte", list(byte_by_byte(data))),
    ):
        for temperature in ("cold", "warm"):
            seen = story(pieces, reader(**limits)) if temperature == "warm" else read(pieces, limits)
            assert seen == whole, f"{name}, {temperature}: {seen}\nwhole, cold: {whole}"


def read(pieces: Iterable[bytes], limits: dict[str, int]) -> Story:
    """Give the story of a reader without memories."""
    forget()
    return story(pieces, reader(**limits))


def split(data: bytes, cuts: Iterable[int]) -> list[bytes]:
    """Cut `data` at each of `cuts`."""
    return [data[start:end] for start, end in pairwise(sorted({0, len(data), *cuts}))]


def ends_of_blocks(data: bytes) -> list[int]:
    """List the places behind empty lines: a client that waits for responses sends such pieces."""
    return [end + 4 for end in range(len(data)) if data.startswith(b"\r\n\r\n", end)]


def keeps_within_limits(pieces: list[bytes], limits: dict[str, int]) -> None:
    """Send the last piece again and again: a client that never comes to an end must not be remembered for ever."""
    source = reader(**limits)
    try:
        for piece in [*pieces, *pieces[-1:] * REPEATS]:
            complete = source.receive(piece)
            while complete:
                complete = bool(source.unread) and source.receive(b"")
            assert kept(source) <= MOST_KEPT, kept(source)
    except ProtocolError:
        pass


def kept(source: RequestReader) -> int:
    """Count what a reader keeps of an unfinished request, but for its body, which has a limit of its own."""
    unread: bytes = getattr(source._reader, "_unread", b"")
    return len(source.unread) + len(unread)
