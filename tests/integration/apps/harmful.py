"""An application that breaks what the server needs to tell of it: ``spawn harmful.application``.

With ``wait`` in the query a request only waits for a moment, so that its route gets threads of its own.
"""

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from types import FrameType
from typing import Any

Environ = dict[str, Any]
StartResponse = Callable[..., Any]


class Unshowable:
    """Neither ``str()`` nor ``repr()`` shows it."""

    def __str__(self) -> str:
        raise LookupError("not to be shown")

    __repr__ = __str__


class Interrupting:
    """What ``str()`` of it raises is no ``Exception``."""

    def __str__(self) -> str:
        raise KeyboardInterrupt

    __repr__ = __str__


def no_record(*_arguments: Any, **_more: Any) -> Any:
    raise LookupError("no records")


def path(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    environ["PATH_INFO"] = Unshowable()
    raise LookupError("on purpose")


def method(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    environ["REQUEST_METHOD"] = Interrupting()
    raise LookupError("on purpose")


def user(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    environ["REMOTE_USER"] = Unshowable()
    return respond(start_response)


def user_interrupts(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    environ["REMOTE_USER"] = Interrupting()
    return respond(start_response)


def records(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    logging.setLogRecordFactory(no_record)
    environ["REMOTE_USER"] = Unshowable()
    raise LookupError("on purpose")


def stderr(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    sys.stderr.close()
    environ["REMOTE_USER"] = Unshowable()
    raise LookupError("on purpose")


RAISED: list[type[BaseException]] = [TimeoutError]  # by the signal handler


def on_alarm(_signal: int, _frame: FrameType | None) -> None:
    raise RAISED[0]("by the application's signal handler")


signal.signal(signal.SIGALRM, on_alarm)


def alarm(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Set off an alarm. Python has handlers run in the main thread."""
    RAISED[0] = SystemExit if environ["QUERY_STRING"] == "exit" else TimeoutError
    main = threading.main_thread().ident
    assert main is not None
    signal.pthread_kill(main, signal.SIGALRM)
    return respond(start_response)


def leave(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    sys.exit(3)


class Leaving:
    """A complete response whose ``close()`` ends the interpreter, or tries to."""

    def __init__(self, error: BaseException) -> None:
        self._error = error

    def __iter__(self) -> Iterator[bytes]:
        yield b"o"
        yield b"k"

    def close(self) -> None:
        raise self._error


def close(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "2")])
    return Leaving(SystemExit(3))


def close_interrupts(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return Leaving(KeyboardInterrupt())


def pid(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    return respond(start_response, str(os.getpid()).encode())


def respond(start_response: StartResponse, body: bytes = b"ok") -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]


PATHS: dict[str, Callable[[Environ, StartResponse], Iterable[bytes]]] = {
    "/path": path,
    "/method": method,
    "/user": user,
    "/user-interrupts": user_interrupts,
    "/records": records,
    "/stderr": stderr,
    "/alarm": alarm,
    "/leave": leave,
    "/close": close,
    "/close-interrupts": close_interrupts,
}


def application(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Dispatch by path."""
    if environ["QUERY_STRING"] == "wait":
        time.sleep(0.01)
        return respond(start_response)
    return PATHS.get(environ["PATH_INFO"], pid)(environ, start_response)
