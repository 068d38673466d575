"""What is served: small WSGI applications (PEP 3333), one a workload. They import nothing that costs.

Every response has a ``Content-Length``, so that no server has to choose a framing. The sizes are those that
``workloads`` expects.
"""

import os
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

Environ = dict[str, Any]
StartResponse = Callable[..., Any]

GREETING = b"Hello, world!\n"
LARGE = 2**20
CHUNK = 2**16
CPU_ROUNDS = int(os.environ.get("BENCH_CPU_ROUNDS", "8000"))

_LARGE_BODY = bytes(LARGE)
_LARGE_FILE = Path(os.environ.get("BENCH_WORK", Path(__file__).parent / ".work")) / "large.bin"
_GREETING_HEADERS = [("Content-Type", "text/plain"), ("Content-Length", str(len(GREETING)))]
_LARGE_HEADERS = [("Content-Type", "application/octet-stream"), ("Content-Length", str(LARGE))]


def hello(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Answer at once."""
    start_response("200 OK", list(_GREETING_HEADERS))
    return [GREETING]


def sleep_10ms(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Wait as for a slow query."""
    time.sleep(0.01)
    return hello(environ, start_response)


def sleep_300us(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Wait as for a cache on the next machine."""
    time.sleep(0.0003)
    return hello(environ, start_response)


def mixed(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Sleep 50 ms for ``/slow``, answer everything else at once.

    The instant responses give the client's ``X-Sent`` back: wrk's scripts see no connections, and this is how
    ``lua/mixed.lua`` knows when the request of a response was sent.
    """
    if environ["PATH_INFO"] == "/slow":
        time.sleep(0.05)
        return hello(environ, start_response)
    start_response("200 OK", [*_GREETING_HEADERS, ("X-Sent", environ.get("HTTP_X_SENT", "0"))])
    return [GREETING]


def compute(rounds: int = CPU_ROUNDS) -> int:
    """Hold the interpreter lock for `rounds` of arithmetic; ``measure.calibrate`` makes that 0.3 ms."""
    total = 0
    for number in range(rounds):
        total += number & 7
    return total


def cpu_300us(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Compute for 0.3 ms (the same work for every server, not the same time)."""
    compute()
    return hello(environ, start_response)


def upload(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Read the whole body, answer with its length."""
    source, length = environ["wsgi.input"], 0
    while data := source.read(CHUNK):
        length += len(data)
    body = b"%d\n" % length
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]


def from_memory(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Return 1 MB as one bytes object."""
    start_response("200 OK", list(_LARGE_HEADERS))
    return [_LARGE_BODY]


def from_generator(environ: Environ, start_response: StartResponse) -> Iterator[bytes]:
    """Yield 1 MB in chunks of 64 KB."""
    start_response("200 OK", list(_LARGE_HEADERS))
    chunk = _LARGE_BODY[:CHUNK]
    for _ in range(LARGE // CHUNK):
        yield chunk


def paused(environ: Environ, start_response: StartResponse) -> Iterator[bytes]:
    """Yield a line, and another one a second later: whoever streams sends the first at once."""
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "14")])
    yield b"first\n"
    time.sleep(1)
    yield b"second\n\n"


def from_file(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Return a file of 1 MB, by ``wsgi.file_wrapper`` where the server has one."""
    file = _LARGE_FILE.open("rb")
    start_response("200 OK", list(_LARGE_HEADERS))
    wrapper = environ.get("wsgi.file_wrapper")
    wrapped: Iterable[bytes] = wrapper(file, CHUNK) if wrapper else iter(lambda: file.read(CHUNK), b"")
    return wrapped


WAIT_SECONDS = 0.5
VERY_LARGE = 10 * 2**20


def beside_slow(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """What ``slow`` asks for: ``/`` at once, ``/wait`` after half a second, ``/upload``, and ``/large``, 10 MB."""
    path = environ["PATH_INFO"]
    if path == "/upload":
        return upload(environ, start_response)
    if path == "/large":
        # Made for each request, as pages are: one body for all would hide what readers that take little cost. So would
        # bytes(VERY_LARGE), whose zeroes take no memory until somebody writes to them.
        start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(VERY_LARGE))])
        return [b"x" * VERY_LARGE]
    if path == "/wait":
        time.sleep(WAIT_SECONDS)
    return hello(environ, start_response)
