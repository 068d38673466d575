"""``basics``, and requests that take all descriptors and give them back; there are few of them."""

import os
import resource
from collections.abc import Iterable
from typing import Any

import basics  # type: ignore[import-not-found]  # lies beside this file, where the server runs

Environ = dict[str, Any]
StartResponse = Any

DESCRIPTORS = 256

resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, DESCRIPTORS))

hoarded: list[int] = []


def hoard(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Take every descriptor there is."""
    try:
        while True:
            hoarded.append(os.open(os.devnull, os.O_RDONLY))
    except OSError:
        return _say(start_response, str(len(hoarded)))


def one(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Take one and give it back."""
    os.close(os.open(os.devnull, os.O_RDONLY))
    return _say(start_response, "opened")


def release(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    while hoarded:
        os.close(hoarded.pop())
    return _say(start_response, "released")


PATHS = {"/hoard": hoard, "/one": one, "/release": release}


def application(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Dispatch by path; what is not here is in ``basics``."""
    result: Iterable[bytes] = PATHS.get(environ["PATH_INFO"], basics.application)(environ, start_response)
    return result


def _say(start_response: StartResponse, text: str) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(text)))])
    return [text.encode()]
