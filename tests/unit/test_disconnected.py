"""What requests want to have called when their clients go: when it is, and when not."""

from collections.abc import Callable
from typing import Any

from spawning.worker.disconnected import Disconnects
from spawning.wsgi.exchange import Exchange
from unit.exchanges import Recorder


class Client(Recorder):
    gone = False

    def has_gone(self) -> bool:
        return self.gone


def wanted() -> tuple[Disconnects, Exchange, Client, list[str]]:
    """A request that wants to have something called, and what has been called."""
    client = Client()
    exchange = Exchange(client, {})
    called: list[str] = []
    disconnects = Disconnects()
    disconnects.add(exchange, lambda: called.append("once"))
    return disconnects, exchange, client, called


def at_once(function: Callable[[], None]) -> None:
    function()


def refuses(_function: Callable[[], None]) -> None:
    raise RuntimeError("can't start new thread")


def test_it_is_called_once_when_the_client_has_gone() -> None:
    disconnects, _, client, called = wanted()
    disconnects.look(at_once)
    assert called == []
    client.gone = True
    disconnects.look(at_once)
    disconnects.look(at_once)
    assert called == ["once"]


def test_it_is_not_called_behind_the_end_of_the_request() -> None:
    disconnects, exchange, client, called = wanted()
    client.gone = exchange.ended = True
    disconnects.look(at_once)
    exchange.ended = False
    disconnects.look(at_once)  # nor is it kept
    assert called == []


def test_an_end_between_the_two_looks_counts() -> None:
    disconnects, exchange, client, called = wanted()

    def ends() -> bool:
        exchange.ended = True
        return True

    client.has_gone = ends  # type: ignore[method-assign]
    disconnects.look(at_once)
    assert called == []


def test_a_request_that_has_ended_is_kept_nothing_for() -> None:
    disconnects, exchange, client, called = wanted()
    exchange.ended = True
    disconnects.look(at_once)
    disconnects.add(exchange, lambda: called.append("late"))
    exchange.ended, client.gone = False, True
    disconnects.look(at_once)
    assert called == []


def test_what_cannot_be_started_now_is_started_later() -> None:
    disconnects, _, client, called = wanted()
    client.gone = True
    disconnects.look(refuses)
    assert called == []
    disconnects.look(at_once)
    assert called == ["once"]


def test_what_raises_is_told_and_nothing_else(caplog: Any) -> None:
    client = Client()
    client.gone = True
    disconnects = Disconnects()
    disconnects.add(Exchange(client, {"REQUEST_METHOD": "GET", "PATH_INFO": "/events"}), lambda: 1 / 0)
    disconnects.look(at_once)
    assert "raised method=GET path='/events'" in caplog.text
