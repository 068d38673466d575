"""An application with one path for each of WSGI's finer points: ``spawn pep3333.application``."""

import gc
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from basics import hold  # type: ignore[import-not-found]  # found in the server's working directory

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
    stream.writelines(["\x1b[1msecond\x1b[0m line\n", "unended line"])
    if environ["QUERY_STRING"] == "flush":
        stream.flush()
    return respond(start_response, b"written")


def fail(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    raise LookupError("on purpose")


def hints(environ: Environ, start_response: StartResponse) -> Iterator[bytes]:
    """Send early hints wherever one can: at first, with no field, behind start_response, behind the head."""
    hint = environ["wsgi.early_hints"]
    hint([("Link", "</a.css>; rel=preload; as=style"), ("Link", "</b.js>; rel=preload; as=script")])
    hint([])
    start_response("200 OK", [TEXT])
    hint([("X-Second", "1")])
    yield b"first, "
    hint([("X-Late", "1")])
    yield b"last"


def bad_hints(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    environ["wsgi.early_hints"]([("X-Split", "a\r\n\r\nHTTP/1.1 200 OK")])
    return respond(start_response, b"not reached")


kept: list[Environ] = []


def keep(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Keep the environ for longer than the request, as nobody should."""
    kept.append(environ)
    return respond(start_response, b"kept")


def use_kept(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Use what another request's environ holds."""
    kept[-1]["wsgi.early_hints"]([("X-Stale", "1")])
    return respond(start_response, str(kept[-1]["spawning.client_disconnected"]()).encode())


def gone(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Log and answer whether the client has gone; with a gate, when that is opened."""
    if environ["QUERY_STRING"]:
        hold(environ, lambda *_: None)
    answers = {environ[f"{owner}.client_disconnected"]() for owner in ("spawning", "waitress")}
    print("gone", answers, file=environ["wsgi.errors"])
    return respond(start_response, str(answers).encode())


def connections(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Count the connections in this worker's memory, where nothing is collected but what nobody refers to."""
    gc.disable()
    count = sum(type(each).__name__ == "Http1" for each in gc.get_objects())
    return respond(start_response, str(count).encode())


def file_part(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Send a part of a file: ``?PATH&START&LENGTH``, or up to its end."""
    path, start, length = environ["QUERY_STRING"].split("&")
    file = Path(path).open("rb")  # noqa: SIM115 - whoever sends it closes it
    file.seek(int(start))
    start_response("200 OK", [TEXT, ("Content-Length", length)] if length else [TEXT])
    wrapped: Iterable[bytes] = environ["wsgi.file_wrapper"](file)
    return wrapped


PATHS = {
    "/file-part": file_part,
    "/errors": errors,
    "/fail": fail,
    "/hints": hints,
    "/bad-hints": bad_hints,
    "/keep": keep,
    "/use-kept": use_kept,
    "/gone": gone,
    "/hold": gone,
    "/connections": connections,
}


def application(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Dispatch by path."""
    return PATHS.get(environ["PATH_INFO"], show_environ)(environ, start_response)


def respond(start_response: StartResponse, body: bytes) -> list[bytes]:
    start_response("200 OK", [TEXT, ("Content-Length", str(len(body)))])
    return [body]
