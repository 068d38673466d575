"""When a worker accepts: its states, driven by a loop and a listener that are none."""

import contextlib
import errno
import logging
import os
import socket
from collections.abc import Callable
from functools import partial
from typing import Any, cast

import pytest

from spawning.worker.accepting import (
    ACCEPTS,
    CALM,
    CROWDED,
    FULL,
    FULL_FOR,
    LEFTOVERS,
    OFF,
    ON,
    ROOM,
    SIBLINGS_FIRST,
    STARVED,
    STARVED_FOR,
    TRANSITIONS,
    Accept,
    Accepting,
)


class Epoll:
    """Remembers what is registered."""

    def __init__(self) -> None:
        self.registered: set[int] = set()

    def register(self, fd: int, _mask: int) -> None:
        assert fd not in self.registered
        self.registered.add(fd)

    def unregister(self, fd: int) -> None:
        self.registered.remove(fd)


class Poller:
    """Knows connections, and an epoll instance that polls nothing."""

    def __init__(self) -> None:
        self.epoll = Epoll()
        self.pollables: dict[int, Any] = {}
        self.tells = False

    def drop(self, connection: object) -> None:
        raise AssertionError("nothing goes wrong here")


class Listener:
    """A listening socket with a queue of clients; where it is empty, or for want of descriptors, an error."""

    family = socket.AF_INET
    proto = 0

    sock: Any
    name = "listener"

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self.sock = self
        self.kind = int(socket.SOCK_STREAM)
        self.first = Client
        self.error: OSError = BlockingIOError()
        self.queue: list[socket.socket] = []
        self.asked = 0
        self.closed = False

    def fileno(self) -> int:
        return self._fd

    def close(self) -> None:
        self.closed = True

    def accept(self) -> tuple[int, Any]:
        self.asked += 1
        if self.closed:
            raise OSError(errno.EBADF, "Bad file descriptor")
        if self.queue:
            return os.dup(self.queue.pop().fileno()), ""
        raise self.error


class Client:
    """A connection that has been accepted; `deadline` tells how long it has been idle."""

    registered = True

    def __init__(self, *_: object) -> None:
        self.stream = _[2] if _ else None
        self.idle = False
        self.deadline = 0.0
        self.forget: Callable[[], object] = lambda: None

    def on_event(self) -> None:
        """Nothing has come."""

    def close_if_idle(self, fresh_too: bool) -> None:
        self.forget()


class Context:
    def __init__(self) -> None:
        self.now = 0.0
        self.full = False
        self.crowded = False


class Handoff:
    receiving_fd = 1001

    def receive(self) -> None:
        """Nobody is on the way."""


class Scene:
    """Accepting with stand-ins for everything around it.

    :param listening: tells whether somebody waits; by default somebody always does.
    """

    def __init__(self, room: int = 10, listening: int = 1000) -> None:
        self.context, self.poller, self.listener = Context(), Poller(), Listener(listening)
        self.accepting = Accepting(
            cast("Any", self.context),
            cast("Any", self.poller),
            [cast("Any", self.listener)],
            cast("Any", Handoff()),
            room,
        )
        self.accepting.start()

    @property
    def connections(self) -> dict[int, Any]:
        return self.poller.pollables

    @property
    def state(self) -> Accept:
        on = self.accepting.state is ON
        assert self.poller.epoll.registered == ({self.listener.fileno(), 1001} if on else set())
        return self.accepting.state

    def asked(self) -> int:
        return self.listener.asked

    def event(self) -> None:
        self.accepting.on_event(self.listener.fileno())

    def look(self, seconds: float = 0.0) -> Accept:
        """Let time pass, and have it look."""
        self.context.now += seconds
        self.accepting.look()
        self.accepting.sweep()
        return self.state


@pytest.fixture
def scene() -> Scene:
    return Scene()


def messages(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records]


def test_it_accepts_from_start_to_stop(scene: Scene) -> None:
    assert scene.state is ON
    scene.accepting.stop()
    assert scene.state is OFF
    assert scene.look() is OFF
    scene.event()
    assert not scene.asked()
    assert scene.listener.closed  # its own descriptor: who connects now is to be refused when nobody else accepts


def test_it_leaves_connections_to_its_siblings_while_all_threads_are_busy(scene: Scene) -> None:
    scene.context.full = scene.context.crowded = True
    scene.event()
    assert not scene.asked()
    assert scene.look() is CROWDED
    assert scene.look() is CROWDED
    assert not scene.asked()
    assert scene.look(SIBLINGS_FIRST) is CROWDED
    assert scene.asked() == 1  # what no sibling has wanted
    scene.context.full = False
    assert scene.look() is ON


def test_a_burst_is_left_to_the_siblings_but_not_for_long() -> None:
    """Who works on something long for each client would come to the last of a burst after many rounds otherwise."""
    scene = Scene(room=1000)

    def accepted(seconds: float) -> int:
        before = len(scene.connections)
        scene.context.now += seconds
        scene.event()
        return len(scene.connections) - before

    with contextlib.ExitStack() as stack:
        burst = 3 * ACCEPTS + 2 * LEFTOVERS + 1
        scene.listener.queue = _clients(burst, stack)
        brief = SIBLINGS_FIRST / 4
        assert [accepted(brief) for _ in range(3)] == [ACCEPTS] * 3
        assert [accepted(SIBLINGS_FIRST) for _ in range(3)] == [LEFTOVERS, LEFTOVERS, 1]  # nobody else wanted them
        scene.listener.queue = _clients(2 * ACCEPTS, stack)
        assert accepted(SIBLINGS_FIRST) == ACCEPTS  # the next burst
        for connection in scene.connections.values():
            stack.callback(connection.stream.close)


def _clients(count: int, stack: contextlib.ExitStack) -> list[socket.socket]:
    """Make connected sockets; the stack closes them and their other ends."""
    pairs = [socket.socketpair() for _ in range(count)]
    for pair in pairs:
        for sock in pair:
            stack.callback(sock.close)
    return [near for near, _ in pairs]


def test_as_many_connections_as_it_may_have(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    scene = Scene(room=2)
    scene.connections.update({1: Client(), 2: Client()})
    for _ in range(3):
        scene.event()
        assert scene.state is FULL
        assert scene.look() is FULL
        del scene.connections[1]
        assert scene.look() is ON
        scene.connections[1] = Client()
    scene.event()
    assert not scene.asked()
    assert messages(caplog) == ["connection limit reached connections=2"]
    del scene.connections[1]
    assert scene.look(CALM + 1) is ON
    assert messages(caplog)[1:] == ["accepting again connections=1 reason=connections"]


def test_where_there_is_no_room_the_longest_idle_are_closed_for_whom_no_sibling_has_wanted() -> None:
    scene = Scene(room=round(2 / ROOM))
    for number in range(round(2 / ROOM)):
        client = scene.connections[2000 + number] = Client()
        client.idle = number != 0  # the first one is busy
        client.deadline = float(number)
        client.forget = partial(scene.connections.pop, 2000 + number)
    scene.event()
    assert scene.look() is FULL
    assert scene.look(FULL_FOR) is ON
    assert 2000 in scene.connections
    assert sorted(set(range(2000, 2004)) - set(scene.connections)) == [2001, 2002]


def test_nobody_is_closed_for_whom_a_sibling_has_wanted() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        scene = Scene(room=2, listening=listening.fileno())
        for number in (1, 2):
            client = scene.connections[number] = Client()
            client.idle = True
            client.forget = partial(scene.connections.pop, number)
        scene.event()
        for _ in range(3):
            assert scene.look(FULL_FOR) is FULL
        assert set(scene.connections) == {1, 2}
        with socket.create_connection(listening.getsockname()):
            assert scene.look(FULL_FOR) is ON
        assert len(scene.connections) == 1


def standing_back(scene: Scene) -> type[Client]:
    """Make a kind of connection whose request tells that the worker has been succeeded (``Loop.stand_back``)."""

    class Late(Client):
        registered = False
        leaving = False

        def on_event(self) -> None:
            self.leaving = True
            scene.accepting.stop()

        def close_if_idle(self, fresh_too: bool) -> None:
            self.on_event()

        def register(self) -> None:
            raise AssertionError("it is on its way to another worker")

    return Late


@pytest.mark.parametrize("state", [ON, CROWDED, FULL])
def test_it_may_be_stopped_by_what_it_accepts_or_looks_at(state: Accept) -> None:
    scene = Scene(room=2)
    scene.listener.first = standing_back(scene)
    with contextlib.ExitStack() as stack:
        scene.listener.queue = _clients(2, stack)
        if state is ON:
            scene.event()
        elif state is CROWDED:
            scene.context.crowded = scene.context.full = True
            assert scene.look() is CROWDED
            scene.look(SIBLINGS_FIRST)
        else:
            scene.connections.update({2000 + number: scene.listener.first() for number in range(2)})
            for connection in scene.connections.values():
                connection.idle = True
            scene.event()
            assert scene.look() is FULL
            scene.look(FULL_FOR)
        assert scene.state is OFF
        assert scene.listener.closed
        for connection in scene.connections.values():
            if connection.stream is not None:
                connection.stream.close()


def test_no_descriptors(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    scene.listener.error = OSError(errno.EMFILE, os.strerror(errno.EMFILE))
    for _ in range(3):
        scene.event()
        assert scene.state is STARVED
        assert scene.look() is STARVED
        assert scene.look(STARVED_FOR) is ON
    scene.event()
    assert messages(caplog) == ["cannot accept connections=0 error=Too many open files"]
    scene.listener.error = BlockingIOError()
    assert scene.look(STARVED_FOR) is ON
    assert scene.look(CALM + 1) is ON
    assert messages(caplog)[1:] == ["accepting again connections=0 reason=descriptors"]


def test_what_is_queued_is_accepted_in_the_end_unless_it_never_accepted() -> None:
    scene = Scene()
    scene.accepting.finish(100)
    assert (scene.state, scene.asked()) == (OFF, 1)
    assert scene.listener.closed
    scene.accepting.finish(100)
    assert scene.asked() == 1


def test_every_state_can_end() -> None:
    assert set(TRANSITIONS) == set(Accept)
    assert all(state is OFF or OFF in following for state, following in TRANSITIONS.items())
