"""What an application returns or writes, as it is sent: blocks of plain bytes, or an error that names what they are."""

from collections.abc import Iterable, Iterator
from typing import Final

HAVE_ALL: Final = (type(iter(list[bytes]())), type(iter(tuple[bytes]())))
"""Iterators of what is there already, as Django's responses have: nothing has to be waited for."""


class BadResponse(Exception):
    """What the application returns or writes cannot be sent as a response; the message says why."""


def plain(block: object) -> bytes:
    """Return a block as plain bytes: of a subclass what it holds, whatever it makes of the methods.

    :raises BadResponse: it is not bytes.
    """
    if isinstance(block, bytes):
        return b"".join((block,))
    hint = "; bytes that are to be one block belong into a list" if type(block) is int else ""
    raise BadResponse(f"a block of the response is {type(block).__name__}, not bytes (PEP 3333){hint}")


def joined(blocks: list[bytes]) -> bytes:
    """Return all blocks as one.

    :raises BadResponse: one of them is not bytes; ``join`` alone would take any buffer.
    """
    for block in blocks:
        if type(block) is not bytes:
            return b"".join([plain(each) for each in blocks])
    return b"".join(blocks)


def iterator(result: Iterable[bytes]) -> Iterator[bytes]:
    """Return an iterator of what the application has returned.

    :raises BadResponse: that cannot be iterated over.
    """
    try:
        return iter(result)
    except TypeError:
        if isinstance(result, Iterable) or hasattr(result, "__getitem__"):
            raise  # by code of its own
        kind = type(result).__name__
        raise BadResponse(f"the application returned {kind}, not an iterable of bytes (PEP 3333)") from None
