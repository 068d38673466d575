"""Waiting, as the standard library does it, and all that is particular of coroutines: ``spawn -t 0
greens.application``.
"""

import ctypes
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from multiprocessing import get_context
from typing import Any

import gevent
from basics import application as other  # type: ignore[import-not-found]  # beside this file, where the server looks

Environ = dict[str, Any]
StartResponse = Callable[..., Any]

happened = threading.Event()
waiting: list[str] = []  # paths of requests that wait
local = threading.local()
beats: list[float] = []  # of a thread that was started at the import
beaten = threading.Event()


def _beat() -> None:
    while True:
        time.sleep(0.01)
        beats.append(time.monotonic())
        beaten.set()


threading.Thread(target=_beat, daemon=True).start()


def poll(environ: Environ, start_response: StartResponse) -> list[bytes]:
    """Answer when something happens."""
    waiting.append(environ["PATH_INFO"])
    happened.wait()
    return respond(start_response, b"it has happened")


def happen(environ: Environ, start_response: StartResponse) -> list[bytes]:
    happened.set()
    return respond(start_response, b"now")


def count(environ: Environ, start_response: StartResponse) -> list[bytes]:
    """Answer how many requests wait."""
    return respond(start_response, str(len(waiting)).encode())


def beating(environ: Environ, start_response: StartResponse) -> list[bytes]:
    """Answer whether the thread of the import runs in this worker."""
    before = len(beats)
    time.sleep(0.1)
    return respond(start_response, str(len(beats) > before).encode())


def ready(environ: Environ, start_response: StartResponse) -> list[bytes]:
    """Wait for that thread."""
    beaten.wait()
    return respond(start_response, b"ready")


def block(environ: Environ, start_response: StartResponse) -> list[bytes]:
    """Wait in C, so that nobody else runs."""
    ctypes.CDLL(None).usleep(900_000)
    return respond(start_response, b"blocked")


def compute(environ: Environ, start_response: StartResponse) -> list[bytes]:
    """Never yield, and never end."""
    while True:
        pass


class Silent:
    """A response that begins and then waits for what never comes; says when it is closed."""

    def __init__(self, environ: Environ) -> None:
        self._errors = environ["wsgi.errors"]
        self._name = environ["QUERY_STRING"]

    def __iter__(self) -> Iterator[bytes]:
        yield b"begun\n"
        queue.Queue[None]().get()

    def close(self) -> None:
        self._errors.write(f"{self._name} is closed\n")


def silent(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return Silent(environ)


def empty(environ: Environ, start_response: StartResponse) -> Iterator[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    yield b"begun\n"
    try:
        while True:
            time.sleep(0.1)
            yield b""
    finally:
        environ["wsgi.errors"].write(f"{environ['QUERY_STRING']} is closed\n")


def asking(environ: Environ, start_response: StartResponse) -> list[bytes]:
    """Wait until the client has gone, before there is a response."""
    while not environ["spawning.client_disconnected"]():
        time.sleep(0.05)
    environ["wsgi.errors"].write("asked, and nobody is there\n")
    return respond(start_response, b"")


def late(environ: Environ, start_response: StartResponse) -> list[bytes]:
    """Work on, whoever waits, before there is a response."""
    waiting.append("late")
    happened.wait()
    environ["wsgi.errors"].write("the work is done\n")
    return respond(start_response, b"done")


def large(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return (b"x" * (1 << 20) for _ in range(16))


def fork(environ: Environ, start_response: StartResponse) -> list[bytes]:
    """Have another process wait, and start a program there."""
    there = get_context("fork")
    result = there.SimpleQueue()
    process = there.Process(target=_in_child, args=(result,))
    process.start()
    process.join()
    return respond(start_response, str(result.get()).encode())


def _in_child(result: Any) -> None:
    time.sleep(0.3)
    result.put(subprocess.check_output([sys.executable, "-c", "print('from a program')"]).decode().strip())


def program(environ: Environ, start_response: StartResponse) -> list[bytes]:
    return respond(start_response, subprocess.check_output(["sleep", "0.1"]) + b"ended")


def leaving(environ: Environ, start_response: StartResponse) -> list[bytes]:
    """Have a greenlet of its own end the program, which is not its to end."""
    gevent.spawn(sys.exit, 3).join()
    return respond(start_response, b"still here")


def overtime(environ: Environ, start_response: StartResponse) -> list[bytes]:
    """Forget to cancel a time-out."""
    gevent.Timeout.start_new(0.2)
    return respond(start_response, b"started")


def lines(environ: Environ, start_response: StartResponse) -> list[bytes]:
    """Begin a line, wait, and end it."""
    errors = environ["wsgi.errors"]
    name = environ["QUERY_STRING"]
    errors.write(f"begun by {name}, ")
    time.sleep(0.2)
    errors.write(f"ended by {name}\n")
    return respond(start_response, b"written")


def own(environ: Environ, start_response: StartResponse) -> list[bytes]:
    """Answer whether what a request has put into thread-local storage is there behind a wait."""
    local.name = name = environ["QUERY_STRING"]
    time.sleep(0.1)
    return respond(start_response, str(local.name == name).encode())


def pid(environ: Environ, start_response: StartResponse) -> list[bytes]:
    return respond(start_response, str(os.getpid()).encode())


def respond(start_response: StartResponse, body: bytes) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]


PATHS = {
    f"/{each.__name__}": each
    for each in (
        poll, happen, count, beating, ready, block, compute, silent, empty, asking, late, large, fork, program, leaving,
        overtime, lines, own, pid,
    )
}  # fmt: skip


def application(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Dispatch by path."""
    answer: Callable[..., Iterable[bytes]] = PATHS.get(environ["PATH_INFO"], other)
    return answer(environ, start_response)
