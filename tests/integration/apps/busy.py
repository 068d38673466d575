"""An application whose requests compute or sleep for as many milliseconds as they say, and tell which one they are."""

import os
from collections.abc import Callable, Iterable
from time import sleep, thread_time
from typing import Any
from urllib.parse import parse_qs

import basics  # type: ignore[import-not-found]  # lies beside this file, where the server runs

Environ = dict[str, Any]
StartResponse = Callable[..., Any]

DONE: list[None] = []  # one for each request that has computed or slept


def application(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Do so, and answer with the number in the query, or how many have done so; all else is in ``basics``.

    ``X-Turn`` is the process, and how many requests had been done there when this one began and ended.
    """
    if environ["PATH_INFO"] == "/count":
        return _respond(start_response, str(len(DONE)).encode())
    wait = _WAITS.get(environ["PATH_INFO"])
    if wait is None:
        other: Iterable[bytes] = basics.application(environ, start_response)
        return other
    query = parse_qs(environ["QUERY_STRING"])
    begun = len(DONE)
    wait(int(query["ms"][0]) / 1000)
    DONE.append(None)
    turn = ("X-Turn", f"{os.getpid()} {begun} {len(DONE)}")
    return _respond(start_response, query["number"][0].encode(), turn)


def _compute(seconds: float) -> None:
    until = thread_time() + seconds
    while thread_time() < until:
        pass


_WAITS = {"/busy": _compute, "/sleep": sleep}


def _respond(start_response: StartResponse, body: bytes, *fields: tuple[str, str]) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body))), *fields])
    return [body]
