"""An application that writes to every stream, and does to its process what it is told: ``spawn noisy.application``.

``AT_IMPORT`` is code to run while it is imported.
"""

import io
import logging
import logging.config
import os
import sys
import time
from collections.abc import Callable, Iterable
from typing import Any

Environ = dict[str, Any]
StartResponse = Callable[..., Any]

MODULES = {"io": io, "logging": logging, "os": os, "sys": sys, "time": time}

exec(os.environ.get("AT_IMPORT", ""), dict(MODULES))


def do(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Run the body."""
    exec(environ["wsgi.input"].read(), {**MODULES, "environ": environ})
    return answer(start_response, b"done\n")


def fail(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Raise an exception that says the path, as many do."""
    raise LookupError(f"nothing at {environ['PATH_INFO']}")


def application(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    if environ["PATH_INFO"] == "/do":
        return do(environ, start_response)
    if environ["PATH_INFO"].startswith("/fail"):
        return fail(environ, start_response)
    return answer(start_response, b"Hello, world!\n")


def answer(start_response: StartResponse, body: bytes) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
