"""The connection as an application takes it, over one end of a socket pair."""

import os
import pprint
import select
import socket
from collections.abc import Iterator

import pytest

from spawning.wsgi.tunnel import GOING_AWAY, Tunnel

SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\n\r\n"


class Offer:
    """A connection that counts how often it is taken, and its client.

    :param ahead: what the client has sent behind its request.
    :param error: is raised in place of giving the connection away.
    """

    def __init__(self, ahead: bytes = b"", error: OSError | None = None) -> None:
        self.client, self.server = socket.socketpair()
        self.client.settimeout(10)
        self.taken = 0
        self._ahead = ahead
        self._error = error
        self.tunnel = Tunnel(self)

    def give_away(self, tunnel: Tunnel) -> tuple[int, bytes, None]:
        assert tunnel is self.tunnel
        if self._error is not None:
            raise self._error
        self.taken += 1
        return os.dup(self.server.fileno()), self._ahead, None

    def close(self) -> None:
        self.tunnel.close()
        self.client.close()
        self.server.close()


@pytest.fixture
def offer() -> Iterator[Offer]:
    made = Offer()
    yield made
    made.close()


@pytest.fixture
def early() -> Iterator[Offer]:
    """One whose client has sent something ahead, and then more."""
    made = Offer(b"ahead, ")
    made.client.sendall(b"behind")
    yield made
    made.close()


def test_to_look_at_it_takes_nothing(offer: Offer) -> None:
    tunnel = offer.tunnel
    assert repr(tunnel) == str(tunnel) == "<offered connection of spawning.socket>"
    pprint.pformat({"spawning.socket": tunnel})
    for name in ("__html__", "_sock", "do_not_call_in_templates", "read", "items", "_repr_html_"):
        assert not hasattr(tunnel, name)
    assert bool(tunnel)
    assert (offer.taken, tunnel.taken) == (0, False)


def test_its_first_use_takes_it_and_no_later_one(offer: Offer) -> None:
    tunnel = offer.tunnel
    tunnel.sendall(b"a")
    assert tunnel.send(b"b") == 1
    assert tunnel.sendmsg([b"c", b"d"]) == 2
    assert offer.client.recv(4) == b"abcd"
    assert (offer.taken, tunnel.taken) == (1, True)
    assert tunnel.family == socket.AF_UNIX
    assert tunnel.gettimeout() is None


def test_a_socket_that_the_application_does_not_let_be_made_leaves_nothing_behind(
    offer: Offer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cannot(fileno: int) -> None:
        raise RuntimeError("no sockets in these tests")

    before = os.listdir("/proc/self/fd")
    with monkeypatch.context() as patch:
        patch.setattr(socket, "socket", cannot)
        with pytest.raises(RuntimeError, match="no sockets"):
            offer.tunnel.recv(1)
    assert os.listdir("/proc/self/fd") == before
    with pytest.raises(OSError, match="closed"):
        offer.tunnel.recv(1)


@pytest.mark.parametrize("default", [None, 0.01])
def test_it_waits_whatever_is_the_default(offer: Offer, default: float | None) -> None:
    socket.setdefaulttimeout(default)
    try:
        os.set_blocking(offer.server.fileno(), False)
        assert offer.tunnel.gettimeout() is None
        assert os.get_blocking(offer.tunnel.fileno())
    finally:
        socket.setdefaulttimeout(None)


def test_what_was_sent_ahead_comes_first(early: Offer) -> None:
    tunnel = early.tunnel
    assert tunnel.pending() == 7
    assert tunnel.recv(2, socket.MSG_PEEK) == b"ah"
    assert tunnel.recv(2) == b"ah"
    buffer = bytearray(10)
    assert tunnel.recv_into(buffer, 3) == 3
    assert buffer[:3] == b"ead"
    assert tunnel.recv_into(memoryview(buffer)[5:7]) == 2
    assert buffer[5:7] == b", "
    assert tunnel.pending() == 0
    assert tunnel.recv(100) == b"behind"


def test_a_file_of_it_has_all(early: Offer) -> None:
    early.client.shutdown(socket.SHUT_WR)
    with early.tunnel.makefile("rb") as file:
        assert file.read() == b"ahead, behind"


def test_a_file_of_it_keeps_it_open(offer: Offer) -> None:
    file = offer.tunnel.makefile("wb")
    offer.tunnel.close()
    file.write(b"still")
    file.close()  # and this ends it
    assert offer.client.recv(100) == b"still"
    assert offer.client.recv(100) == b""


def test_its_end_is_the_end_for_the_client_though_the_server_has_a_copy(offer: Offer) -> None:
    with offer.tunnel as tunnel:
        tunnel.sendall(b"last words")
    assert offer.client.recv(100) == b"last words"
    assert offer.client.recv(100) == b""
    with pytest.raises(OSError, match="closed"):
        tunnel.sendall(b"more")
    tunnel.close()


def test_one_that_was_not_used_is_not_ended(offer: Offer) -> None:
    offer.tunnel.close()
    assert offer.taken == 0
    with pytest.raises(OSError, match="closed"):
        offer.tunnel.recv(1)
    assert not select.select([offer.client], [], [], 0)[0]


def test_a_descriptor_that_was_detached_is_the_applications(offer: Offer) -> None:
    with socket.socket(fileno=offer.tunnel.detach()) as own:
        offer.tunnel.close()
        own.sendall(b"alive")
        assert offer.client.recv(100) == b"alive"
    assert offer.tunnel.detached
    with pytest.raises(OSError, match="Bad file descriptor"):
        offer.tunnel.sendall(b"x")


def test_one_that_cannot_be_had_can_not_be_had_later_either() -> None:
    offer = Offer(error=OSError("no more"))
    for _ in range(2):
        with pytest.raises(OSError, match="no more"):
            offer.tunnel.fileno()
    assert not offer.tunnel.taken
    offer.close()


@pytest.mark.parametrize(
    ("sent", "code", "count"),
    [
        ([SWITCH], 101, 0),
        ([SWITCH, b"hello"], 101, 5),
        ([SWITCH + b"hello"], 101, 5),
        ([b"HTTP/1.1 400 Bad Request\r\n\r\n"], 400, 0),
        ([SWITCH[:20], SWITCH[20:]], 101, len(SWITCH) - 20),
        ([b"raw"], 0, 3),
        ([], 0, 0),
    ],
    ids=["head", "head and more", "in one", "refused", "head in two", "no head", "nothing"],
)
@pytest.mark.parametrize("method", ["send", "sendall", "sendmsg"])
def test_the_answer_and_what_is_sent_behind_it_are_noted(
    offer: Offer, method: str, sent: list[bytes], code: int, count: int
) -> None:
    for data in sent:
        getattr(offer.tunnel, method)([data] if method == "sendmsg" else data)
    assert (offer.tunnel.code, offer.tunnel.sent) == (code, count)


def test_who_leaves_is_told_and_has_last_words(offer: Offer) -> None:
    offer.tunnel.farewell = lambda: b"bye %d" % offer.tunnel.leaving
    assert offer.tunnel.leaving == 0
    assert offer.tunnel.leave(GOING_AWAY) == b"bye 1001"
