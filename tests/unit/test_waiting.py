"""Who is next of those that wait for a thread, and who has waited too long."""

from time import monotonic
from typing import Any, cast

from spawning.worker.waiting import Waiting


class Line:
    def __init__(self, path: str) -> None:
        self.path = path


class Waiter:
    """A connection as far as waiting is concerned."""

    def __init__(self, path: str) -> None:
        self.line = Line(path)


def queue(*paths: str, health: tuple[str, ...] = (), timed: bool = True) -> Waiting:
    waiting = Waiting(health, timed=timed)
    for path in paths:
        waiting.put(cast("Any", Waiter(path)))
    return waiting


def taken(waiting: Waiting) -> list[str]:
    return [waiting.take().line.path for _ in range(waiting.size)]


def test_first_come_first_served() -> None:
    waiting = queue("/1", "/2", "/3")
    assert waiting.size == 3
    assert taken(waiting) == ["/1", "/2", "/3"]
    assert waiting.size == 0


def test_health_checks_go_first() -> None:
    assert taken(queue("/1", "/alive", "/a b", "/2", health=("/alive?deep=1", "/a%20b"))) == [
        "/alive",
        "/a b",
        "/1",
        "/2",
    ]


def test_only_others_are_overdue() -> None:
    before = monotonic()
    waiting = queue("/alive", "/1", "/2", health=("/alive",))
    assert before <= waiting.since <= monotonic()
    assert waiting.take_overdue(before) is None
    later = monotonic() + 1
    overdue = [waiting.take_overdue(later), waiting.take_overdue(later)]
    assert [item and item[0].line.path for item in overdue] == ["/1", "/2"]
    assert waiting.take_overdue(later) is None
    assert waiting.since == float("inf")
    assert taken(waiting) == ["/alive"]
