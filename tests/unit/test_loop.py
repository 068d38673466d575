"""The loop and its connections at the moments that matter: each race is forced, and costs nobody anything."""

import contextlib
import errno
import logging
import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from spawning.ipc.messages import Handoff
from spawning.worker.http1 import Http1
from spawning.worker.lifecycle import CLOSED, EXECUTING, LEAVING, READING
from spawning.worker.roles import Job, LeadLost
from spawning.wsgi.responder import ClientGone
from unit.crew import Held
from unit.interleave import DEADLINE, Stop, eventually, stopping
from unit.office import REQUEST, Office, answer, ask, nothing_executes, respond


class Site:
    """An application: ``/held`` waits for the test, ``/lose`` gives the lead away, everything else answers at once."""

    def __init__(self) -> None:
        self.held = Held()
        self.office: Office | None = None
        self.kept: list[Any] = []

    def __call__(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
        path = environ["PATH_INFO"]
        if path == "/held":
            self.held()
        elif path == "/lose":
            assert self.office is not None
            assert self.office.dispatch.lead.give_up()
        elif path == "/keep":
            self.kept = [start_response("200 OK", [("Content-Length", "2")]), environ["wsgi.early_hints"]]
            return [b"ok"]
        return respond(start_response)


@pytest.fixture
def site() -> Site:
    return Site()


def opened(site: Site, **settings: Any) -> Office:
    site.office = Office(site, **settings)
    return site.office


def held_request(office: Office, site: Site) -> tuple[socket.socket, Http1]:
    """Have a request executed that lasts; it has cost the lead."""
    client = office.connect()
    client.sendall(REQUEST % b"/held")
    site.held.wait()
    eventually(lambda: office.dispatch.lead.box, "the token is in the box")
    assert office.dispatch.take_lead() is not None
    (connection,) = office.connections
    assert connection.state is EXECUTING
    return client, connection


# The sweep -----------------------------------------------------------------------------------------------------------

LOOKS = "if self.deadline >= self.context.polled"


@pytest.mark.parametrize(
    ("meanwhile", "state"),
    [
        pytest.param(lambda connection: connection.abandon(), CLOSED, id="closed"),
        pytest.param(lambda connection: connection.finish(), READING, id="renewed"),
    ],
)
def test_a_sweep_ends_nothing_that_its_owner_has_closed_or_renewed(
    site: Site, meanwhile: Callable[[Http1], object], state: object
) -> None:
    look = Stop("Expiring.on_deadline", LOOKS)
    with stopping(look), opened(site) as office:
        client, connection = held_request(office, site)
        connection.deadline = 0.0
        swept = threading.Event()
        office.context.post(lambda: office.loop._for_each(Http1.on_deadline))
        office.context.post(swept.set)
        look.wait()
        meanwhile(connection)  # as its owner does behind the response
        look.go_on()
        assert swept.wait(30)
        assert connection.state is state
        if state is READING:
            connection.state = EXECUTING  # for the rest of the request
        site.held.leave()
        nothing_executes(office)
        assert ask(office.connect()) == b"ok"
        assert not office.failed
        client.close()


def test_a_sweep_that_comes_behind_a_close_finds_nothing_to_do(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    """It goes through a list that was made before; on each visit the state is what it is by then."""
    with opened(site) as office:
        ask(office.connect())
        (connection,) = office.connections

        def close_and_visit() -> None:
            connection.close()
            connection.deadline = 0.0
            for visit in (connection.on_deadline, connection.freeze, connection.depart, connection.forget):
                visit()
            connection.close_if_idle(True)
            connection.on_event()

        office.done(close_and_visit)
        assert connection.state is CLOSED
        assert not caplog.records
        assert ask(office.connect()) == b"ok"


def test_what_has_come_since_the_poll_is_in_time(site: Site) -> None:
    """A call that is measured tells the leader how late it is; then the sweep may come before the next poll."""
    with opened(site) as office:
        client = office.connect()
        assert ask(client) == b"ok"
        (connection,) = office.connections

        def last_long() -> None:
            client.sendall(REQUEST % b"/")
            office.context.now = connection.deadline + 1.0
            cast("Any", office.loop)._sweep()

        office.done(last_long)
        assert answer(client) == b"ok"


def test_what_one_connection_raises_in_a_sweep_costs_that_one(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    with opened(site) as office:
        clients = [office.connect() for _ in range(3)]
        for client in clients:
            ask(client)
        bad = office.connections[1]

        def fail(connection: Any) -> None:
            if connection is bad:
                raise LookupError("on purpose")

        office.done(lambda: office.loop._for_each(fail))
        assert bad.state is CLOSED
        assert sorted(_asked(client) for client in clients) == [b"", b"ok", b"ok"]
        assert "a connection is closed" in caplog.text


def _asked(client: socket.socket) -> bytes:
    try:
        return ask(client)
    except OSError:
        return b""


@pytest.mark.parametrize("mode", ["inline", "taken over"])
def test_a_bug_found_while_a_request_runs_is_told_once_and_leaves_nothing(
    site: Site, caplog: pytest.LogCaptureFixture, mode: str
) -> None:
    def run(_exchange: object, _application: object) -> None:
        if mode == "taken over":
            site.held()
        raise LookupError("a bug")

    with opened(site) as office:
        before = office.dispatch.run_exchange
        office.dispatch.run_exchange = run
        if mode == "taken over":
            client, _ = held_request(office, site)
            site.held.leave()
        else:
            client = office.connect()
            client.sendall(REQUEST % b"/")
        with contextlib.suppress(ConnectionResetError):
            assert client.recv(1) == b""
        office.dispatch.run_exchange = before
        assert ask(office.connect()) == b"ok"
        assert caplog.text.count("this is a bug in Spawning") == 1
        assert "a connection is closed" in caplog.text


def test_who_finds_a_bug_in_the_midst_of_a_close_completes_it(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(site) as office:
        ask(office.connect())
        (connection,) = office.connections
        with monkeypatch.context() as patch:
            patch.setattr(Http1, "let_go", lambda *_: int("no room for one more call"))
            office.context.post(connection.close)
            office.done(lambda: None)
        assert office.connections == [connection]
        office.done(connection.abandon)
        assert office.connections == []
        assert connection.stream.fileno() == -1


# Mail and events -----------------------------------------------------------------------------------------------------


class Broken:
    """Records of the log cannot be made."""

    def __enter__(self) -> None:
        self._before = logging.getLogRecordFactory()

        def factory(*_arguments: Any, **_more: Any) -> Any:
            raise LookupError("no records")

        logging.setLogRecordFactory(factory)

    def __exit__(self, *_: object) -> None:
        logging.setLogRecordFactory(self._before)


def test_an_action_that_raises_does_not_strand_those_behind_it(site: Site) -> None:
    """Not even when that cannot be told."""

    def fail() -> None:
        raise LookupError("on purpose")

    with opened(site) as office:
        done = threading.Event()

        def both() -> None:
            office.context.post(fail)
            office.context.post(done.set)

        with Broken():
            office.done(both)
            assert done.wait(30)
        assert ask(office.connect()) == b"ok"
        assert not office.failed


def test_a_connection_in_which_a_bug_is_found_is_closed_although_that_cannot_be_told(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(site) as office:
        client = office.connect()
        ask(client)
        with Broken(), monkeypatch.context() as patch:
            patch.setattr(Http1, "_serve", lambda *_: int("a bug"))
            assert _asked(client) == b""
        assert ask(office.connect()) == b"ok"
        assert not office.failed


def lose_lead(office: Office) -> None:
    """Lose the lead, as a call does from which it is taken. The leader."""
    dispatch = office.dispatch
    dispatch.lead.box.append(cast("Job", None))
    assert dispatch.executor.executing == 0
    dispatch.lead.take()
    raise LeadLost


def test_the_next_leader_goes_on_with_the_mail(site: Site) -> None:
    with opened(site) as office:
        old = office.dispatch.lead.leader
        by: list[object] = []
        done = threading.Event()
        office.connect().sendall(REQUEST % b"/held")
        site.held.wait()  # the leader; so all of it is posted before it looks
        office.context.post(lambda: lose_lead(office))
        office.context.post(lambda: by.append(office.dispatch.lead.leader))
        office.context.post(lambda: by.append(threading.current_thread()))
        office.context.post(done.set)
        site.held.leave()
        assert done.wait(30)
        assert by[0] is by[1]
        assert by[0] is not old


def test_the_next_leader_goes_on_with_what_was_polled(site: Site) -> None:
    with opened(site, threads=4) as office:
        clients = [office.connect() for _ in range(4)]
        for client in clients:
            ask(client)
        together, leave = threading.Event(), threading.Event()

        def block() -> None:
            together.set()
            assert leave.wait(30)

        office.context.post(block)
        assert together.wait(30)
        for client in clients:
            client.sendall(REQUEST % b"/lose")  # each of them costs the lead
        leave.set()
        assert [answer(client) for client in clients] == [b"ok"] * 4
        nothing_executes(office)
        assert ask(office.connect()) == b"ok"


# Retiring ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("function", "line"),
    [
        ("Dispatch._lose_lead", "self._finish_in_thread"),
        ("Http1.finish", "if context.closing and self.leave()"),
        ("Http1.finish", "if not self.registered"),
        ("Http1.finish", "self.state = READING"),
        ("Http1.finish_in_thread", "if context.closing"),
    ],
)
def test_a_taken_over_first_request_that_ends_while_its_worker_retires_moves_on(
    site: Site, function: str, line: str
) -> None:
    end = Stop(function, line)
    with stopping(end), opened(site) as office:
        client, connection = held_request(office, site)
        site.held.leave()
        end.wait()
        office.done(office.loop.retire)
        office.done(office.loop.leave)
        end.go_on()
        message, fd = office.received()
        assert message.unread == ""
        assert answer(client) == b"ok"
        with socket.socket(fileno=fd) as moved:
            client.sendall(b"next")
            assert moved.recv(100) == b"next"
        eventually(lambda: connection.state is CLOSED, "it is closed here")
        assert not office.connections


def test_what_is_frozen_is_not_read_any_more(site: Site) -> None:
    with opened(site) as office:
        client = office.connect()
        ask(client)
        office.done(office.loop.retire)
        (connection,) = office.connections
        assert connection.state is LEAVING
        client.sendall(REQUEST % b"/")
        office.done(lambda: None)
        office.context.post(office.loop.leave)  # the last thing that this worker does
        _, fd = office.received()
        with socket.socket(fileno=fd) as moved:
            assert moved.recv(1000) == REQUEST % b"/"


def test_a_frozen_connection_is_not_closed_for_being_idle(site: Site) -> None:
    """It is not read any more: a request may have come in time, and waits."""
    with opened(site) as office:
        client = office.connect()
        ask(client)
        office.done(office.loop.retire)
        client.sendall(REQUEST % b"/")
        (connection,) = office.connections
        connection.deadline = 0.0
        office.done(connection.on_deadline)
        office.context.post(office.loop.leave)
        _, fd = office.received()
        with socket.socket(fileno=fd) as moved:
            assert moved.recv(1000) == REQUEST % b"/"


@pytest.mark.parametrize("unread", ["", "GET "])
def test_what_came_on_the_way_is_read_although_the_way_was_long(site: Site, unread: str) -> None:
    """The deadline has passed meanwhile, and the sweep may come before the first event of the connection."""
    with opened(site) as office:
        client, moved = socket.socketpair()
        office.clients.append(client)
        client.settimeout(DEADLINE)
        client.sendall((REQUEST % b"/")[len(unread) :])
        loop: Any = office.loop

        def arrive() -> None:
            loop._handoff.take_up(Handoff("", "", socket.AF_UNIX, 0.0, unread, ""), moved.detach())
            (connection,) = office.connections
            connection.on_deadline()

        office.done(arrive)
        assert answer(client) == b"ok"


def test_an_idle_connection_that_is_chosen_to_be_closed_is_served_if_a_request_is_on_its_way(site: Site) -> None:
    with opened(site) as office:
        client = office.connect()
        ask(client)
        (connection,) = office.connections
        connection.deadline -= 1.0

        def arrive_and_choose() -> None:
            client.sendall(REQUEST % b"/")
            connection.close_if_idle(False)

        office.done(arrive_and_choose)
        assert answer(client) == b"ok"
        assert ask(client) == b"ok"  # it is not the longest idle any more
        office.done(lambda: connection.close_if_idle(False))
        assert connection.state is CLOSED


class Unready:
    """A connection to be sent that has no descriptor yet, as one over TLS while none is left; see ``roles.Leaver``."""

    def __init__(self, error: Exception) -> None:
        self.error: Exception | None = error
        self.leaving = True
        self.left = self.abandoned = False
        self._descriptor = os.open(os.devnull, os.O_RDONLY)

    @property
    def fd(self) -> int:
        if self.error is not None:
            raise self.error
        return self._descriptor

    def luggage(self) -> Handoff:
        return Handoff("", "", socket.AF_UNIX, 0.0, "unready", "")

    def has_left(self) -> None:
        self.left = True
        os.close(self._descriptor)

    def abandon(self) -> None:
        self.abandoned = True
        os.close(self._descriptor)


def leave_alone(office: Office) -> None:
    """Have the only connection leave, while its worker stays."""
    (connection,) = office.connections
    office.done(connection.freeze)
    office.done(connection.depart)


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOMEM])
def test_a_connection_that_cannot_be_sent_yet_does_not_hold_up_others(site: Site, number: int) -> None:
    with opened(site) as office:
        ask(office.connect())
        unready = Unready(OSError(number, os.strerror(number)))
        office.done(lambda: office.context.hand_off(unready))
        leave_alone(office)
        message, fd = office.received()
        os.close(fd)
        assert (message.unread, unready.left) == ("", False)
        unready.error = None  # it is tried again
        message, fd = office.received()
        os.close(fd)
        assert message.unread == "unready"
        eventually(lambda: unready.left, "it has left")


def test_a_connection_that_cannot_be_sent_at_all_is_closed_and_does_not_hold_up_others(site: Site) -> None:
    with opened(site) as office:
        ask(office.connect())
        broken = Unready(LookupError("a bug"))
        office.done(lambda: office.context.hand_off(broken))
        leave_alone(office)
        message, fd = office.received()
        os.close(fd)
        assert (message.unread, broken.abandoned) == ("", True)


# Descriptors ---------------------------------------------------------------------------------------------------------


def test_what_is_kept_beyond_its_request_reaches_nobody(site: Site) -> None:
    with opened(site) as office:
        first, second = office.connect(), office.client()
        assert ask(first, "/keep") == b"ok"
        (closed,) = office.connections
        number = closed.fd
        office.done(closed.close)
        assert closed.fd == -1
        office.connect(second)
        assert ask(second) == b"ok"
        assert office.connections[0].fd == number  # it has the number by now
        write, hint = site.kept
        with pytest.raises(RuntimeError, match="after the response has ended"):
            write(b"late")
        hint([("Link", "</late>")])
        assert ask(second) == b"ok"
        second.setblocking(False)
        with pytest.raises(BlockingIOError):
            second.recv(100)


@pytest.mark.parametrize("contended", [False, True])
@pytest.mark.parametrize("send", ["send", "send_last", "send_two", "send_file"])
def test_a_closed_connection_sends_nothing_to_who_has_its_number_by_then(
    site: Site, send: str, contended: bool
) -> None:
    with opened(site) as office:
        ask(office.connect())
        (connection,) = office.connections
        number = connection.fd

        def close_and_send() -> None:
            connection.close()
            near, far = socket.socketpair()
            if near.fileno() != number:
                os.dup2(near.fileno(), number)
            office.context.contended = contended
            arguments: dict[str, tuple[Any, ...]] = {"send_two": (b"a", b"b"), "send_file": (b"a", 0, 0, 1)}
            with pytest.raises(ClientGone):
                getattr(connection, send)(*arguments.get(send, (b"late",)))
            far.setblocking(False)
            try:
                seen.append(far.recv(100))
            except BlockingIOError:
                seen.append(b"nothing")
            if near.fileno() != number:
                os.close(number)
            near.close()
            far.close()

        seen: list[bytes] = []
        office.done(close_and_send)
        assert seen == [b"nothing"]


def test_a_file_that_cannot_be_kept_for_a_slow_client_leaves_no_descriptor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "large"
    with path.open("wb") as file:
        file.truncate(20_000_000)

    def application(environ: dict[str, Any], start_response: Any) -> Any:
        start_response("200 OK", [])
        return environ["wsgi.file_wrapper"](path.open("rb"))

    def fail(_fd: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with Office(application) as office:
        client = office.client()
        monkeypatch.setattr(office.poller, "register", fail)
        before = len(os.listdir("/proc/self/fd"))
        # By the leader, so that the request is there when the connection is accepted, and it is not registered before.
        office.done(lambda: office.connect(client).sendall(REQUEST % b"/"))
        with contextlib.suppress(ConnectionResetError):
            while client.recv(1_000_000):
                pass
        eventually(lambda: not office.connections, "the connection is closed")
        office.done(lambda: None)
        assert len(os.listdir("/proc/self/fd")) == before
