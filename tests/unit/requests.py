"""What tests of the protocol layer share: a reader without memories, and its story as plain values.

The readers of one process share what they remember of request lines, heads, header blocks and field lines, so a test
that wants to know what a reader makes of bytes *alone* has to begin by forgetting.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from typing import Any

from spawning.errors import ProtocolError
from spawning.http import fields, line, request
from spawning.http.limits import Limits
from spawning.http.request import RequestReader


def forget() -> None:
    """Drop the request lines, heads, header blocks and field lines that earlier readers left."""
    line._lines.clear()
    fields._blocks.clear()
    fields._lines.clear()
    request._heads.clear()


@cache
def limited(**limits: Any) -> Limits:
    """Make limits; equal ones are one object, as they are in a worker, so that readers share heads as well."""
    return Limits(**limits)


def reader(**limits: Any) -> RequestReader:
    """Make a reader that collects bodies in memory; `limits` replace the usual ones."""
    return RequestReader(lambda length: BytesIO(), limited(**limits))


@dataclass(frozen=True, slots=True)
class Story:
    """What a reader made of bytes: complete requests, and how it ended if it was with an error.

    `is_head` says that it was a HEAD request that was refused, so no content answers it.
    """

    requests: list[dict[str, Any]]
    status: int = 0
    reason: str = ""
    is_head: bool = False


def told(source: RequestReader) -> dict[str, Any]:
    """Describe the request that the reader has just completed, in the words of the corpus."""
    asked, found, body = source.line, source.fields, source.body
    assert body is None or isinstance(body, BytesIO)
    return {
        "method": asked.method,
        "target": asked.target,
        "path": asked.path,
        "query": asked.query,
        "host": asked.host,
        "minor": found.minor,
        "keep_alive": found.keep_alive,
        "expects_continue": found.expects_continue,
        "fields": [[field.name, field.value] for field in found.all],
        "body": body.getvalue().decode("latin-1") if body is not None else "",
    }


def story(pieces: Iterable[bytes], source: RequestReader) -> Story:
    """Feed `pieces` one after the other, as a connection would."""
    requests: list[dict[str, Any]] = []
    try:
        for piece in pieces:
            complete = source.receive(piece)
            while complete:
                requests.append(told(source))
                complete = bool(source.unread) and source.receive(b"")
    except ProtocolError as error:
        return Story(requests, error.status, error.reason, source.is_head)
    return Story(requests)


def cold(pieces: Iterable[bytes], **limits: Any) -> Story:
    """Return the story of a new reader that nobody has left memories for."""
    forget()
    return story(pieces, reader(**limits))


def byte_by_byte(data: bytes) -> Iterator[bytes]:
    """Split `data` wherever it can be split."""
    return (data[position : position + 1] for position in range(len(data)))
