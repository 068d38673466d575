"""Interrupting a request: only inside the application, once, and never whoever has the thread afterwards."""

import _thread
import gc
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from time import monotonic, sleep
from typing import Any

import pytest

from spawning.errors import RequestTimeout
from spawning.http.line import RequestLine
from spawning.http.response import Clock
from spawning.worker.timeouts import INTERRUPTED, PATIENCE, STUCK, Timeouts
from spawning.wsgi.exchange import Exchange, WSGIApplication
from spawning.wsgi.files import FileWrapper
from spawning.wsgi.responder import Responder
from unit.interleave import eventually


class Transport(Responder):
    """Collects what is sent; with `inside`, calls it in the middle."""

    def __init__(self, inside: Callable[[], object] | None = None) -> None:
        self.line = RequestLine("GET", "/", "/", "", "")
        self.clock = Clock()
        self.begin(minor=1, keep_alive=True)
        self.data = b""
        self._inside = inside

    def send(self, data: bytes) -> None:
        if self._inside is not None:
            self._inside()
        self.data += data

    send_last = send

    def send_two(self, head: bytes, body: bytes) -> None:
        self.send(head + body)

    def send_file(self, head: bytes, descriptor: int, offset: int, count: int) -> None:
        raise NotImplementedError

    def has_gone(self) -> bool:
        return False


def exchange(transport: Transport) -> Exchange:
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/"}
    made = Exchange(transport, environ)
    made.started = monotonic()
    return made


def at_once() -> Timeouts:
    """Timeouts for which everything takes too long already."""
    return Timeouts("1.1", -1.0)


def look(timeouts: Timeouts, at: float = 0.0, answers: list[str] | None = None) -> str:
    """Look from another thread, as the main thread does in a worker, and wait for it.

    A bare thread: what is raised here must not strike inside ``threading``, whose locks would stay taken.

    :param answers: what it says is appended here, for whom this wait is interrupted.
    """
    answers = [] if answers is None else answers
    done = _thread.allocate_lock()

    def watch() -> None:
        answers.append(timeouts.look(at or monotonic()))
        done.release()

    done.acquire()
    _thread.start_new_thread(watch, ())
    done.acquire()
    return answers[0]


class Closing:
    """An iterable that interrupts itself, and notes its closing."""

    def __init__(self, look: Callable[[], object], closed: list[str]) -> None:
        self._look = look
        self._closed = closed

    def __iter__(self) -> Iterator[bytes]:
        yield b"one"
        self._look()
        yield b"two"

    def close(self) -> None:
        self._closed.append("closed")


def test_inside_the_application_it_becomes_504() -> None:
    timeouts, transport = at_once(), Transport()
    reasons: list[str] = []

    def application(environ: Any, start_response: Any) -> list[bytes]:
        look(timeouts, answers=reasons)
        raise AssertionError("never reached")

    run = exchange(transport)
    timeouts.run(run, application)
    eventually(lambda: reasons == [INTERRUPTED], "the worker is to be replaced")
    assert transport.data.startswith(b"HTTP/1.1 504 Gateway Timeout\r\n")
    assert not transport.keep_alive


def test_under_a_tracer_too() -> None:
    """A coverage tool or a debugger; in a process of its own, since one that fails never ends."""
    test = f"{__file__}::{test_inside_the_application_it_becomes_504.__name__}"
    code = "import sys, pytest; sys.settrace(lambda *_: None); sys.exit(pytest.main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, "-q", "-p", "no:cacheprovider", test]
    subprocess.run(command, check=True, capture_output=True, timeout=60)


def test_a_response_that_has_begun_is_cut_and_closed_once() -> None:
    timeouts, transport = at_once(), Transport()
    closed: list[str] = []

    def application(environ: Any, start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", [("Content-Length", "6")])
        return Closing(lambda: look(timeouts), closed)

    run = exchange(transport)
    timeouts.run(run, application)
    assert transport.data.endswith(b"\r\n\r\none")
    assert transport.cut
    assert closed == ["closed"]


def test_what_only_has_to_be_taken_out_of_a_list_goes_out_whole() -> None:
    """As without timeouts: no step of such an iterator is the application's."""

    class Prepared:
        def __iter__(self) -> Iterator[bytes]:
            return iter([b"on", b"e"])

    def application(environ: Any, start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", [])
        return Prepared()

    transport = Transport()
    Timeouts("1.1", 60.0).run(exchange(transport), application)
    assert b"\r\nContent-Length: 3\r\n" in transport.data
    assert transport.data.endswith(b"\r\n\r\none")


def test_an_application_that_swallows_it_cannot_answer_any_more() -> None:
    timeouts, transport = at_once(), Transport()
    caught: list[BaseException] = []

    def application(environ: Any, start_response: Any) -> list[bytes]:
        try:
            look(timeouts)
        except RequestTimeout as error:
            caught.append(error)
        start_response("200 OK", [])
        return [b"late"]

    run = exchange(transport)
    timeouts.run(run, application)
    assert len(caught) == 1
    assert transport.data.startswith(b"HTTP/1.1 504 ")


@pytest.mark.parametrize("way", ["list", "iterable", "write", "file"])
def test_while_it_is_sent_nothing_is_interrupted(way: str) -> None:
    timeouts = at_once()
    transport = Transport(lambda: look(timeouts))

    class Once:
        def read(self, size: int) -> bytes:
            return b""

    def application(environ: Any, start_response: Any) -> Iterable[bytes]:
        write = start_response("200 OK", [])
        if way == "write":
            write(b"all")
            return []
        if way == "file":
            return FileWrapper(Once())  # type: ignore[arg-type]
        return [b"all"] if way == "list" else iter([b"all"])

    run = exchange(transport)
    timeouts.run(run, application)
    assert transport.data.startswith(b"HTTP/1.1 200 OK\r\n")
    assert not transport.cut
    assert timeouts.stuck == set()


def test_one_that_goes_on_after_its_interruption_is_stuck_until_it_ends() -> None:
    timeouts, transport = at_once(), Transport()
    seen: list[Any] = []

    def application(environ: Any, start_response: Any) -> list[bytes]:
        try:
            look(timeouts)
        except RequestTimeout:
            later = monotonic() + PATIENCE
            seen.extend([look(timeouts, later), look(timeouts, later), set(timeouts.stuck)])
        raise LookupError

    run = exchange(transport)
    timeouts.run(run, application)
    assert seen == [STUCK, "", {run}]
    assert timeouts.stuck == set()


def test_whatever_the_moment_every_request_ends_whole_and_nothing_strikes_later() -> None:
    """The race itself: a thread runs short requests while another one interrupts whatever it can.

    The collector is off: it may run callbacks of other libraries (hypothesis has one) in the middle of the application,
    and what is raised there is nobody's.
    """
    timeouts = at_once()
    results: list[str] = []
    over = threading.Event()
    struck: list[str] = []

    def body() -> Iterator[bytes]:
        for _ in range(3):
            sleep(0)  # the other thread may run
            yield b"abc"

    def application(environ: Any, start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", [("Content-Length", "9")])
        return body()

    def run_one(application: WSGIApplication) -> str:
        transport = Transport()
        run = exchange(transport)
        timeouts.run(run, application)
        if transport.data.startswith(b"HTTP/1.1 504 "):
            return "504"
        if transport.cut:
            return "cut"
        return "whole" if transport.data.endswith(b"\r\n\r\nabcabcabc") else repr(transport.data)

    def work() -> None:
        try:
            while len(results) < 150 or (len(struck) < 20 and len(results) < 10**6):
                results.append(run_one(application))
        except BaseException as error:
            results.append(repr(error))
        finally:
            over.set()

    thread = threading.Thread(target=work)
    gc.disable()
    try:
        thread.start()
        while not over.is_set():
            if reason := timeouts.look(monotonic()):
                struck.append(reason)
        thread.join()
    finally:
        gc.enable()
    assert len(struck) >= 20
    assert {"504", "cut"} & set(results)
    assert set(results) <= {"504", "cut", "whole"}
