"""An application whose requests meet, count each other, stream and end threads: ``spawn crowd.application``."""

import resource
import sys
import threading
from collections.abc import Iterable, Iterator
from typing import Any, ClassVar
from urllib.parse import parse_qs

import basics  # type: ignore[import-not-found]  # lies beside this file, where the server runs

Environ = dict[str, Any]
StartResponse = Any

TEXT = ("Content-Type", "text/plain")
BLOCK = b"s" * 65536
STACK = 64 << 20


class Counts:
    """What the requests of this worker have done so far."""

    lock = threading.Lock()
    barriers: ClassVar[dict[int, threading.Barrier]] = {}
    executing = 0
    peak = 0
    produced = 0
    closed = 0


def meet(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Wait until as many requests as the query says are here at the same time."""
    parties = int(parse_qs(environ["QUERY_STRING"])["parties"][0])
    with Counts.lock:
        barrier = Counts.barriers.setdefault(parties, threading.Barrier(parties))
    barrier.wait(30)
    return _say(start_response, "met")


def hold(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Hold at a gate as ``basics`` does, and remember how many did so at a time."""
    with Counts.lock:
        Counts.executing += 1
        Counts.peak = max(Counts.peak, Counts.executing)
    result: Iterable[bytes] = basics.application(environ, start_response)
    with Counts.lock:
        Counts.executing -= 1
    return result


class Stream:
    """As many blocks as the query says; counts what it has given, and its closes."""

    def __init__(self, blocks: int) -> None:
        self._left = blocks

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        if not self._left:
            raise StopIteration
        self._left -= 1
        Counts.produced += 1
        return BLOCK

    def close(self) -> None:
        Counts.closed += 1


def stream(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    Counts.produced = 0
    start_response("200 OK", [TEXT])
    return Stream(int(parse_qs(environ["QUERY_STRING"])["blocks"][0]))


class Unhurried:
    """A response that is all there, and holds at the gate of its request when it is closed."""

    def __init__(self, environ: Environ) -> None:
        self._environ = environ

    def __iter__(self) -> Iterator[bytes]:
        return iter([b"all there"])

    def close(self) -> None:
        basics.hold(self._environ, _ignore)


def unhurried(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", [TEXT])
    return Unhurried(environ)


def leave(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    sys.exit(1)


def cage(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Leave this worker no room for the stack of a further thread."""
    threading.stack_size(STACK)
    with open("/proc/self/statm") as file:
        size = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + STACK // 2, resource.RLIM_INFINITY))
    return _say(start_response, "caged")


def peak(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    return _say(start_response, str(Counts.peak))


def produced(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    return _say(start_response, str(Counts.produced))


def closed(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    return _say(start_response, str(Counts.closed))


PATHS = {
    "/meet": meet,
    "/hold": hold,
    "/blocks": stream,
    "/unhurried": unhurried,
    "/leave": leave,
    "/cage": cage,
    "/peak": peak,
    "/produced": produced,
    "/closed": closed,
}


def application(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Dispatch by path; what is not here is in ``basics``."""
    result: Iterable[bytes] = PATHS.get(environ["PATH_INFO"], basics.application)(environ, start_response)
    return result


def _say(start_response: StartResponse, text: str) -> list[bytes]:
    start_response("200 OK", [TEXT, ("Content-Length", str(len(text)))])
    return [text.encode()]


def _ignore(_status: str, _fields: object) -> None:
    """Take what nobody will be told."""
