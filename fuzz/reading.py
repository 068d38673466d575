"""Bytes to requests: the same however they are split, no error but ``ProtocolError``, nothing kept beyond the limits.

An input is one byte of choices, as many cuts as it says (two bytes each), and what a client sends.
"""

import re
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import h11

from spawning.errors import ProtocolError
from spawning.http.request import RequestReader
from unit.requests import Story, byte_by_byte, forget, reader, story

CORPUS = Path(__file__).parents[1] / "tests" / "corpus"

# Small, so that a short input can reach them; or the usual ones.
TIGHT = {"max_head": 200, "max_fields": 5, "max_body": 40}
CUTS = 7  # the choices' lowest bits: how many cuts
IS_TIGHT = 8  # the next bit
IS_ENDLESS = 16  # and the next: the last piece is sent again and again

# What h11 refuses and RFC 9112 allows: an empty line before a request, whitespace before a chunk's extension, and
# trailers with the names of fields that mean something in a head.
STRICTER_HEAD = re.compile("no request line received")
STRICTER_BODY = re.compile(
    r".*(Transfer-Encoding|Content-Length)|illegal chunk header: bytearray\(b['\"]\w+([ ]|\\t)+;"
)
STATUSES = {0, 400, 413, 414, 417, 431, 501, 505}
REPEATS = 400  # how often the last piece is sent again
MOST_KEPT = 1 << 17  # bytes that the usual limits may let a reader keep: head, chunk head, trailers


def seeds() -> Iterator[tuple[str, bytes]]:
    """Yield every case of the corpus with its name, without cuts and with two."""
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
    agrees_with_another(whole, data)
    # The second time, what the first has left is remembered.
    requests, blocks = ends_of_requests(data, limits), ends_of_blocks(data)
    for name, pieces in (
        ("whole", [data]),
        ("cut", split(data, cuts)),
        ("request by request", split(data, requests)),
        ("heads and bodies apart", split(data, {*requests, *blocks})),
        ("byte by byte", list(byte_by_byte(data))),
    ):
        for temperature in ("cold", "warm"):
            seen = story(pieces, reader(**limits)) if temperature == "warm" else read(pieces, limits)
            assert seen == whole, f"{name}, {temperature}: {seen}\nwhole, cold: {whole}"


def read(pieces: Iterable[bytes], limits: dict[str, int]) -> Story:
    """Return the story of a reader without memories."""
    forget()
    return story(pieces, reader(**limits))


def split(data: bytes, cuts: Iterable[int]) -> list[bytes]:
    """Cut `data` at each of `cuts`."""
    return [data[start:end] for start, end in pairwise(sorted({0, len(data), *cuts}))]


def ends_of_blocks(data: bytes) -> list[int]:
    """List the places behind empty lines."""
    return [end + 4 for end in range(len(data)) if data.startswith(b"\r\n\r\n", end)]


def ends_of_requests(data: bytes, limits: dict[str, int]) -> list[int]:
    """List the places where a request is complete: a client that waits for responses sends such pieces."""
    source = reader(**limits)
    ends = []
    try:
        for end, piece in enumerate(byte_by_byte(data), 1):
            if source.receive(piece):
                ends.append(end)
    except ProtocolError:
        pass
    return ends


def agrees_with_another(whole: Story, data: bytes) -> None:
    """Compare with h11, which others have written and which is more lenient: what is accepted here means the same
    there. Two servers that read the same bytes differently are how requests are smuggled.
    """
    other = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    other.receive_data(data)
    for request in whole.requests:
        if not request["target"].isascii():
            return  # h11 refuses bytes above 127, which RFC 9112 does not allow, and clients send
        event = step(other, STRICTER_HEAD)
        if event is None:
            return
        assert (event.method.decode(), event.target.decode()) == (request["method"], request["target"]), event
        body = b""
        while not isinstance(part := step(other, STRICTER_BODY), h11.EndOfMessage):
            if part is None:
                return
            body += part.data
        assert body.decode("latin-1") == request["body"], body
        if not request["keep_alive"]:
            return  # h11 does not look at what follows
        other.send(h11.Response(status_code=200, headers=[("Content-Length", "0")]))
        other.send(h11.EndOfMessage())
        if h11.MUST_CLOSE in other.states.values():
            return
        other.start_next_cycle()


def step(other: h11.Connection, stricter: re.Pattern[str]) -> Any:
    """Return h11's next event; None if it refuses something that it may."""
    try:
        return other.next_event()
    except h11.RemoteProtocolError as error:
        if stricter.match(str(error)):
            return None
        raise


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
