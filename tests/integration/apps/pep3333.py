"""An application with one path for each of WSGI's finer points: ``spawn pep3333.application``."""

import json
from collections.abc import Callable, Iterable
from typing import Any

Environ = dict[str, Any]
StartResponse = Callable[..., Any]

TEXT = ("Content-Type", "text/plain")


def show_environ(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Answer with the environ, as far as it is plain."""
    shown = {name: value for name, value in environ.items() if isinstance(value, str | bool | tuple)}
    return respond(start_response, json.dumps(shown).encode())


def errors(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Write to ``wsgi.errors``: two lines in three pieces, and one that does not end."""
    stream = environ["wsgi.errors"]
    stream.write("first ")
    print("line", file=stream)
    stream.writelines(["second line\n", "unended line"])
    if environ["QUERY_STRING"] == "flush":
        stream.flush()
    return respond(start_response, b"written")


def fail(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    raise LookupError("on purpose")


PATHS = {"/errors": errors, "/fail": fail}


def application(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Dispatch by path."""
    return PATHS.get(environ["PATH_INFO"], show_environ)(environ, start_response)


def respond(start_response: StartResponse, body: bytes) -> list[bytes]:
    start_response("200 OK", [TEXT, ("Content-Length", str(len(body)))])
    return [body]
