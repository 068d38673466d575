"""An application that does not come back, in each of the ways there are: ``spawn stuck.application``."""

import ctypes
import os
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from basics import application as other  # type: ignore[import-not-found]  # beside this file, where the server looks

Environ = dict[str, Any]
StartResponse = Callable[..., Any]


def loop(environ: Environ, start_response: StartResponse) -> list[bytes]:
    while True:
        time.sleep(0.01)


def retry(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Go on whatever happens, as code that retries does."""
    while True:
        try:
            time.sleep(0.01)
        except Exception:
            continue


def swallow(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Answer, although the time is over."""
    try:
        return loop(environ, start_response)
    except BaseException:
        return pid(environ, start_response)


def begun(environ: Environ, start_response: StartResponse) -> Iterator[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    yield b"so far so good\n"
    while True:
        time.sleep(0.01)


def written(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])(b"so far so good\n")
    return loop(environ, start_response)


def slow(environ: Environ, start_response: StartResponse) -> Iterator[bytes]:
    """Take long in all, but send something all the time."""
    start_response("200 OK", [("Content-Type", "text/plain")])
    for _ in range(25):
        time.sleep(0.1)
        yield b"."


def lock(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Sleep with the interpreter lock held, as an extension module may."""
    ctypes.PyDLL(None).sleep(600)
    return pid(environ, start_response)


def pid(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(os.getpid()).encode()]


PATHS: dict[str, Callable[[Environ, StartResponse], Iterable[bytes]]] = {
    "/loop": loop,
    "/retry": retry,
    "/swallow": swallow,
    "/begun": begun,
    "/written": written,
    "/slow": slow,
    "/lock": lock,
    "/hold": other,
}


def application(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Dispatch by path."""
    return PATHS.get(environ["PATH_INFO"], pid)(environ, start_response)
