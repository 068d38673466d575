"""The application of ``fingerprint.py``, but some requests wait, some compute, and some answer in pieces.

So requests are executed inline, are taken over, and are handed to threads, in turn.
"""

import itertools
import time
from collections.abc import Iterable, Iterator
from typing import Any

import fingerprint  # type: ignore[import-not-found]  # lies beside this file

_numbers = itertools.count()


def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    """Answer as ``fingerprint.application`` does, sooner or later."""
    number = next(_numbers)
    if number % 50 == 0:
        time.sleep(0.03)  # long enough to be taken over
    elif number % 25 == 0:
        end = time.thread_time() + 0.004
        while time.thread_time() < end:
            pass
    elif number % 2:
        time.sleep(0.001)
    (content,) = fingerprint.application(environ, start_response)
    return _pieces(content) if number % 3 == 0 else [content]


def _pieces(content: bytes) -> Iterator[bytes]:
    yield content[:5]
    time.sleep(0.0005)
    yield content[5:]
