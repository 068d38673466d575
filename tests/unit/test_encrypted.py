"""A blocking socket over a session that never waits: what it does when the session would have to."""

import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from spawning.wsgi.encrypted import EncryptedSocket
from unit.interleave import DEADLINE


class Session:
    """A session that encrypts nothing.

    :param takes: bytes a call that it takes, one after the other; negative: it would have to wait. Then it takes all.

    :ivar within: called in each call.
    """

    def __init__(self, sock: socket.socket, takes: list[int]) -> None:
        self._sock = sock
        self._takes = takes
        self.ended = 0
        self.retried: list[bytes] = []
        self.within: Callable[[], object] = _nothing

    def recv(self, size: int) -> bytes:
        return self._sock.recv(size, socket.MSG_DONTWAIT)

    def send(self, data: memoryview) -> int:
        self.within()
        most = self._takes.pop(0) if self._takes else len(data)
        self.retried.append(bytes(data))
        if most < 0:
            raise BlockingIOError
        return self._sock.send(data[:most])

    def end_sending(self) -> None:
        self.ended += 1
        self._sock.shutdown(socket.SHUT_WR)


def _nothing() -> None: ...


class Ends:
    """Both ends of a connection."""

    def __init__(self) -> None:
        self.client, server = socket.socketpair()
        self.client.settimeout(DEADLINE)
        self.session = Session(server, [])
        self.takes = self.session._takes
        self.server = EncryptedSocket(server.dup(), self.session)
        self._all = self.client, server, self.server

    def close(self) -> None:
        for each in self._all:
            each.close()


@pytest.fixture
def ends() -> Iterator[Ends]:
    made = Ends()
    yield made
    made.close()


def test_it_waits_for_what_the_session_does_not_have_yet(ends: Ends) -> None:
    received: list[bytes] = []
    thread = threading.Thread(target=lambda: received.append(ends.server.recv(10)))
    thread.start()
    ends.client.sendall(b"hello")
    thread.join(DEADLINE)
    assert received == [b"hello"]


def test_it_sends_on_with_what_the_session_has_not_taken(ends: Ends) -> None:
    ends.takes.extend([2, -1, 0, 1])
    assert ends.server.send(b"hello") == 5
    assert ends.session.retried == [b"hello", b"llo", b"llo", b"llo", b"lo"]
    assert ends.client.recv(10) == b"hello"


def test_several_buffers_are_one_message(ends: Ends) -> None:
    assert ends.server.sendmsg([b"he", b"llo"]) == 5
    assert ends.session.retried == [b"hello"]


def test_it_may_have_a_timeout(ends: Ends) -> None:
    ends.server.settimeout(0.01)
    with pytest.raises(TimeoutError):
        ends.server.recv(1)
    ends.server.setblocking(False)
    with pytest.raises(BlockingIOError):
        ends.server.recv_into(bytearray(1))


def test_the_end_is_told_through_the_session(ends: Ends) -> None:
    ends.server.shutdown(socket.SHUT_RD)
    assert ends.session.ended == 0
    assert ends.server.recv(1) == b""
    ends.server.shutdown(socket.SHUT_RDWR)
    assert ends.session.ended == 1
    assert ends.client.recv(1) == b""


def test_behind_its_request_it_is_over(ends: Ends) -> None:
    ends.server.revoke()
    assert ends.server.recv(1) == b""
    with pytest.raises(BrokenPipeError):
        ends.server.sendall(b"x")
    ends.server.say(b"bye")
    ends.server.shutdown(socket.SHUT_WR)
    assert (ends.session.retried, ends.session.ended) == ([], 0)


def test_last_words_do_not_wait_for_who_is_sending(ends: Ends) -> None:
    ends.session.within = lambda: ends.server.say(b"bye")  # from inside, with the lock
    ends.server.sendall(b"hello")
    ends.session.within = _nothing
    ends.server.say(b"bye")
    assert ends.session.retried == [b"hello", b"bye"]


def test_what_would_go_past_the_session_is_refused(ends: Ends) -> None:
    with pytest.raises(OSError, match="cannot be detached"):
        ends.server.detach()
    with pytest.raises(ValueError, match="no flags"):
        ends.server.recv(1, socket.MSG_PEEK)
    with pytest.raises(ValueError, match="no flags"):
        ends.server.send(b"x", socket.MSG_MORE)
    assert ends.server.family == socket.AF_UNIX
