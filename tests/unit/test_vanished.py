"""Waking what waits for a client that has gone. The greenlets are real ones; the hub is the test."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest
from greenlet import getcurrent, greenlet

from spawning.worker.output import HIGH_WATER, Output
from spawning.worker.vanished import Vanished
from spawning.wsgi.exchange import Exchange
from spawning.wsgi.responder import ClientGone
from unit.exchanges import Recorder


class Job:
    """A request under way, whose client sends nothing more."""

    def __init__(self) -> None:
        self.ended = True
        self.executing = True
        self.sent = 0


class Running(greenlet):
    """Runs an exchange until the application leaves the thread to the test.

    :ivar raised: in the application, where it waits.
    """

    def __init__(self, application: Callable[["Running"], Iterable[bytes]], responder: Recorder | None = None) -> None:
        super().__init__(self._exchange)
        self.job: Any = Job()
        self.raised: list[type[BaseException]] = []
        self._application = application
        self._responder = responder or Recorder()
        self.switch()

    def _exchange(self) -> None:
        Exchange(self._responder, {"REQUEST_METHOD": "GET", "PATH_INFO": "/"}).run(self._answer)

    def _answer(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", [])
        return self._application(self)

    def wait(self) -> None:
        """Leave the thread to the test."""
        try:
            self.parent.switch()  # type: ignore[union-attr]
        except BaseException as error:
            self.raised.append(type(error))
            raise


def makes_blocks(running: Running) -> Iterator[bytes]:
    yield b"begun"
    running.wait()


def has_not_begun(running: Running) -> list[bytes]:
    running.wait()
    return []


class Slow(Recorder):
    """Its client has not taken what was sent before."""

    def send(self, data: bytes) -> None:
        super().send(data)
        output = Output()
        output.put_bytes(b"x" * (HIGH_WATER + 1), 0)
        output.wait(Bell)


class Bell:
    """The second time that it is acquired it waits."""

    def __init__(self) -> None:
        self._acquired = 0

    def acquire(self) -> bool:
        self._acquired += 1
        if self._acquired > 1:
            running = getcurrent()
            assert isinstance(running, Running)
            running.wait()
        return True

    def release(self) -> None: ...


@pytest.fixture
def vanished() -> Vanished:
    return Vanished(lambda function, *arguments: function(*arguments))


def test_what_makes_a_block_for_nobody_is_woken_at_the_second_look(vanished: Vanished) -> None:
    running = Running(makes_blocks)
    vanished.look([running])
    assert running.raised == []
    vanished.look([running])
    assert (running.raised, running.dead) == ([ClientGone], True)


@pytest.mark.parametrize(
    "running",
    [
        lambda: Running(has_not_begun),
        lambda: Running(makes_blocks, Slow()),
    ],
    ids=["before the response", "for a slow reader"],
)
def test_what_waits_elsewhere_is_not(vanished: Vanished, running: Callable[[], Running]) -> None:
    waiting = running()
    for _ in range(3):
        vanished.look([waiting])
    assert (waiting.raised, waiting.dead) == ([], False)


def test_a_client_that_is_there_wakes_nobody(vanished: Vanished) -> None:
    running = Running(makes_blocks)
    running.job.ended = False
    for _ in range(3):
        vanished.look([running])
    assert running.raised == []


def test_neither_does_one_that_gets_something_meanwhile(vanished: Vanished) -> None:
    running = Running(makes_blocks)
    for _ in range(3):
        running.job.sent += 5
        vanished.look([running])
    assert running.raised == []


def test_nothing_is_raised_behind_the_request() -> None:
    posted: list[tuple[Any, ...]] = []
    vanished = Vanished(lambda *call: posted.append(call))
    running = Running(makes_blocks)
    vanished.look([running])
    vanished.look([running])
    running.job.executing = False
    ((function, *arguments),) = posted
    function(*arguments)
    assert running.raised == []
