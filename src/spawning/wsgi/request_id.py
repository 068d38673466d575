"""``REQUEST_ID`` (``--request-id-header``): one name for a request in the logs of proxy, server and application.

It is the proxy's, if the peer is trusted and its field holds something reasonable; otherwise it is made: random for
each worker, so that no restart and no other worker repeats it, and a number for each request.
"""

import itertools
import re
import secrets
from collections.abc import Callable, Iterable
from typing import Any, Final, TypeGuard

Environ = dict[str, Any]
WSGIApplication = Callable[[Environ, Any], Iterable[bytes]]

# What goes unquoted into any log, URL or database: UUIDs, hexadecimal and base64 numbers, W3C traceparent, ULIDs …
_REASONABLE: Final = re.compile(r"[A-Za-z0-9._:=@/+\-]{1,128}")


class Identified:
    """Wrap an application: each request that has no id yet gets one. Called by any thread."""

    def __init__(self, application: WSGIApplication) -> None:
        self._application = application
        self._worker = secrets.token_hex(6)
        self._numbers = itertools.count(1)  # next() is atomic

    def __call__(self, environ: Environ, start_response: Any) -> Iterable[bytes]:
        if "REQUEST_ID" not in environ:
            environ["REQUEST_ID"] = f"{self._worker}-{next(self._numbers)}"
        return self._application(environ, start_response)


def identified(application: WSGIApplication, header: str | None) -> WSGIApplication:
    """Return the application with ids for its requests; itself if no header is named for them."""
    return Identified(application) if header else application


def reasonable(value: object) -> TypeGuard[str]:
    """Whether a value can serve as an id: bounded, and of characters that need no quoting."""
    return isinstance(value, str) and _REASONABLE.fullmatch(value) is not None


def id_at_end(environ: Environ) -> str:
    """Return what a log line about this request ends with: its id, or nothing."""
    value = environ.get("REQUEST_ID")
    return f" request_id={str.__str__(value)}" if reasonable(value) else ""
