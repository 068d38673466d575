"""What answers a request for which no thread was free in time (``--queue-timeout``)."""

import math
from collections.abc import Callable, Iterable
from typing import Any, Final

from spawning.wsgi.environ import Environ

_BODY: Final = b"503 Service Unavailable: all threads are busy\n"


class Overloaded:
    """A WSGI application that asks to come again later.

    :param seconds: when (RFC 9110 section 10.2.3), rounded up.
    """

    def __init__(self, seconds: float) -> None:
        self._headers = [
            ("Content-Type", "text/plain"),
            ("Content-Length", str(len(_BODY))),
            ("Retry-After", str(math.ceil(seconds))),
        ]

    def __call__(self, environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        start_response("503 Service Unavailable", self._headers)
        return [_BODY]
