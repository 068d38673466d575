"""An application whose requests compute for as many milliseconds as they say, and tell which one they are."""

from collections.abc import Callable, Iterable
from time import thread_time
from typing import Any
from urllib.parse import parse_qs

import basics  # type: ignore[import-not-found]  # lies beside this file, where the server runs

Environ = dict[str, Any]
StartResponse = Callable[..., Any]

DONE: list[None] = []  # one for each request that has computed


def application(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Compute, and answer with the number in the query, or how many have done so; all else is in ``basics``."""
    if environ["PATH_INFO"] == "/count":
        return _respond(start_response, str(len(DONE)).encode())
    if environ["PATH_INFO"] != "/busy":
        other: Iterable[bytes] = basics.application(environ, start_response)
        return other
    query = parse_qs(environ["QUERY_STRING"])
    until = thread_time() + int(query["ms"][0]) / 1000
    while thread_time() < until:
        pass
    DONE.append(None)
    return _respond(start_response, query["number"][0].encode())


def _respond(start_response: StartResponse, body: bytes) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
