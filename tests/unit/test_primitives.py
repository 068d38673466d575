"""Threads and conditions of the server's own."""

import gc
import threading
from pathlib import Path

import pytest

from spawning import primitives
from spawning.primitives import Condition, ServerThread, allocate_lock

LONG = 30.0  # seconds; never waited for


class Seen(ServerThread):
    """Notes what an application would see in it, then waits to be let go."""

    def __init__(self) -> None:
        super().__init__("request thread 7")
        self.gate = allocate_lock()
        self.gate.acquire()
        self.entered = threading.Event()

    def run(self) -> None:
        self.facts = (threading.current_thread() is self, threading.Thread().daemon, self in threading.enumerate())
        self.entered.set()
        self.gate.acquire()


def test_a_thread_of_the_server_is_known_and_no_daemon() -> None:
    thread = Seen()
    assert not thread.is_alive()
    assert thread.ident is None
    thread.start()
    assert thread.entered.wait(LONG)
    assert thread.facts == (True, False, True)
    assert thread.is_alive()
    assert thread.native_id is not None
    thread.join(0)  # comes back although the thread has not ended
    assert thread.is_alive()
    thread.gate.release()
    thread.join(LONG)
    assert not thread.is_alive()
    assert thread not in threading.enumerate()


def test_a_condition_wakes_all_that_wait() -> None:
    condition = Condition()
    waiting, woken = threading.Semaphore(0), threading.Semaphore(0)
    open_now = False

    def wait() -> None:
        with condition:
            waiting.release()
            while not open_now:
                condition.wait()
        woken.release()

    threads = [threading.Thread(target=wait, daemon=True) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in threads:
        assert waiting.acquire(timeout=LONG)
    with condition:  # all three wait: each has held the lock since it said so
        condition.notify_all()  # in vain, they wait on
    with condition:
        open_now = True
        condition.notify_all()
    for _ in threads:
        assert woken.acquire(timeout=LONG)


# Frames of other threads (CPython before 3.11.9 may wait for ever where it collects garbage meanwhile) ----------------


@pytest.mark.parametrize("collecting", [True, False])
def test_looking_at_frames_leaves_the_garbage_collector_as_it_was(collecting: bool) -> None:
    (gc.enable if collecting else gc.disable)()
    try:
        assert threading.get_ident() in primitives.current_frames()
        assert gc.isenabled() == collecting
    finally:
        gc.enable()


def test_frames_are_looked_at_in_one_place() -> None:
    source = Path(primitives.__file__).parent
    assert [path.name for path in source.rglob("*.py") if "sys._current_frames" in path.read_text()] == [
        "primitives.py"
    ]
