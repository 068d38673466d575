"""The stream over TLS: what the kernel does not take is kept, what it has is received whole, and the end is said."""

import contextlib
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from spawning.worker.context import READ_SIZE
from spawning.worker.output import ALL, BytesSegment, FileSegment, Output
from spawning.worker.stream import Stream, never_waiting
from spawning.worker.tls import FILE_BLOCK, MOST, TLS

OWN = Path(__file__).parent / "own.pem"  # signed by itself, valid until 2126, and of no use elsewhere
VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


class Peer:
    """The client's end: a session in memory, so that its records can be held back and cut."""

    def __init__(self, sock: socket.socket, version: ssl.TLSVersion) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.minimum_version = context.maximum_version = version
        self.sock = sock
        self._from, self._to = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.session = context.wrap_bio(self._from, self._to)

    def shake_hands(self) -> bool:
        try:
            self.session.do_handshake()
        except ssl.SSLWantReadError:
            return False
        else:
            return True

    def take(self) -> None:
        """Receive what has come."""
        with contextlib.suppress(BlockingIOError):
            while data := self.sock.recv(1 << 16):
                self._from.write(data)
            self._from.write_eof()

    def records(self, *contents: bytes) -> bytes:
        """Make records of contents, and of what the session has to say."""
        for content in contents:
            self.session.write(content)
        return self._to.read()

    def read(self) -> bytes:
        """Return all content that has come."""
        self.take()
        data = b""
        with contextlib.suppress(ssl.SSLWantReadError):
            while content := self.session.read(1 << 16):
                data += content
        return data


@pytest.fixture(scope="module")
def context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(OWN)
    return context


@pytest.fixture(params=VERSIONS, ids=lambda version: version.name)
def ends(request: pytest.FixtureRequest, context: ssl.SSLContext) -> Iterator[tuple[TLS, Peer]]:
    """A stream whose handshake is complete, and the other side of it."""
    near, far = socket.socketpair()
    with far:
        far.setblocking(False)
        stream, peer = connected(near, far, request.param, context)
        yield stream, peer
        stream.close()


def connected(
    near: socket.socket, far: socket.socket, version: ssl.TLSVersion, context: ssl.SSLContext
) -> tuple[TLS, Peer]:
    peer = Peer(far, version)
    assert not peer.shake_hands()
    stream = TLS(plain(near), context, peer.records())
    while True:
        try:
            stream.shake_hands()
        except BlockingIOError:
            peer.take()
            peer.shake_hands()
            far.send(peer.records())
        else:
            peer.take()
            assert peer.shake_hands()
            return stream, peer


def plain(sock: socket.socket) -> Stream:
    return Stream(sock.family, never_waiting(sock.type), sock.proto, sock.detach())


def everything(stream: TLS) -> list[bytes]:
    """Receive until there is nothing more."""
    found = []
    with contextlib.suppress(BlockingIOError):
        while data := stream.recv(READ_SIZE):
            found.append(data)
    return found


# Receiving -----------------------------------------------------------------------------------------------------------


def test_all_records_that_have_come_are_received_at_once(ends: tuple[TLS, Peer]) -> None:
    stream, peer = ends
    peer.sock.send(peer.records(b"one", b"two", b"three"))
    assert stream.recv(READ_SIZE) == b"onetwothree"
    with pytest.raises(BlockingIOError):
        stream.recv(READ_SIZE)


def test_a_part_of_a_record_is_nothing_yet(ends: tuple[TLS, Peer]) -> None:
    stream, peer = ends
    records = peer.records(b"whole")
    for octet in range(len(records) - 1):
        peer.sock.send(records[octet : octet + 1])
        with pytest.raises(BlockingIOError):
            stream.recv(READ_SIZE)
    peer.sock.send(records[-1:])
    assert stream.recv(READ_SIZE) == b"whole"


@pytest.mark.parametrize("size", [1, READ_SIZE - 1, READ_SIZE, READ_SIZE + 1, 3 * READ_SIZE + 7])
def test_less_than_asked_for_is_received_only_when_the_kernel_has_no_more(ends: tuple[TLS, Peer], size: int) -> None:
    stream, peer = ends
    content = bytes(octet % 251 for octet in range(size))
    records = peer.records(*(content[at : at + 16384] for at in range(0, size, 16384)))
    assert peer.sock.send(records) == len(records)
    found = everything(stream)
    assert b"".join(found) == content
    assert [len(each) for each in found[:-1]] == [READ_SIZE] * (len(found) - 1)


def test_what_comes_along_with_the_handshake_is_received(context: ssl.SSLContext) -> None:
    near, far = socket.socketpair()
    with far:
        peer = Peer(far, ssl.TLSVersion.TLSv1_3)
        peer.shake_hands()
        stream = TLS(plain(near), context, peer.records())
        with pytest.raises(BlockingIOError):
            stream.shake_hands()
        far.setblocking(False)
        peer.take()
        assert peer.shake_hands()
        far.send(peer.records(b"hello"))
        stream.shake_hands()
        assert stream.recv(READ_SIZE) == b"hello"
        stream.close()


@pytest.mark.parametrize("politely", [True, False])
def test_the_end_comes_behind_the_data(ends: tuple[TLS, Peer], politely: bool) -> None:
    stream, peer = ends
    records = peer.records(b"last")
    if politely:
        with contextlib.suppress(ssl.SSLError):
            peer.session.unwrap()
    peer.sock.send(records + peer.records())
    peer.sock.shutdown(socket.SHUT_WR)
    assert stream.recv(READ_SIZE) == b"last"
    assert stream.recv(READ_SIZE) == b""


def test_what_is_no_record_breaks_the_connection(ends: tuple[TLS, Peer]) -> None:
    stream, peer = ends
    peer.sock.send(peer.records(b"good") + b"\x17\x03\x03\x00\x20" + bytes(32))
    assert stream.recv(READ_SIZE) == b"good"
    assert stream.recv(READ_SIZE) == b""


# Sending -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 16384, 16385, 1 << 20, MOST + 1])
def test_what_the_kernel_does_not_take_is_sent_when_it_does(ends: tuple[TLS, Peer], size: int, tmp_path: Path) -> None:
    stream, peer = ends
    content = bytes(octet % 251 for octet in range(size))
    output = Output()
    output.put(BytesSegment(b"head", 0))
    output.put(BytesSegment(content, 0))
    output.put(BytesSegment(b"between", 0))
    file = tmp_path / "file"
    file.write_bytes(content)
    with file.open("rb") as opened:
        output.put(FileSegment(opened.fileno(), 0, size))
        output.put(BytesSegment(b"tail", 0))
        found = b""
        while output.flush(stream) is not ALL:
            found += peer.read()
    found += peer.read()
    assert found == b"head" + content + b"between" + content + b"tail"


def test_one_call_is_one_turn_at_most(ends: tuple[TLS, Peer]) -> None:
    stream, peer = ends
    taken = 0
    with contextlib.suppress(BlockingIOError):
        taken = stream.send(bytes(4 * MOST))
    assert taken <= MOST
    assert len(peer.read()) >= taken


def test_a_file_is_read_in_blocks_of_256_kib(ends: tuple[TLS, Peer], tmp_path: Path) -> None:
    """It is encrypted here, so the kernel cannot send it from the file."""
    stream, peer = ends
    (tmp_path / "file").write_bytes(bytes(1 << 20))
    peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 22)
    with open(tmp_path / "file", "rb") as file:
        assert stream.send_file(file.fileno(), 0, 1 << 20) == FILE_BLOCK == 256 << 10
        assert stream.send_file(file.fileno(), (1 << 20) - 5, 1 << 20) == 5
        assert stream.send_file(file.fileno(), 1 << 20, 1 << 20) == 0
    assert len(peer.read()) == FILE_BLOCK + 5


def test_nothing_taken_is_told_as_by_a_socket(ends: tuple[TLS, Peer]) -> None:
    stream, peer = ends
    content = bytes(1 << 16)
    sent = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            sent += stream.send(content)
    with pytest.raises(BlockingIOError):  # the same bytes again, as after any call that takes nothing
        stream.send(content)
    found = len(peer.read())
    assert sent <= found
    sent += stream.send(content)
    found += len(peer.read())
    assert sent <= found


# The end -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["end_sending", "close"])
def test_the_end_is_said(ends: tuple[TLS, Peer], way: str) -> None:
    stream, peer = ends
    stream.send(b"last")
    getattr(stream, way)()
    assert peer.read() == b"last"
    assert peer.session.read(1) == b""  # close_notify; without it this is an error


def test_after_the_end_it_goes_on_receiving(ends: tuple[TLS, Peer]) -> None:
    stream, peer = ends
    stream.end_sending()
    peer.sock.send(peer.records(b"still"))
    assert stream.recv(READ_SIZE) == b"still"


@pytest.mark.parametrize("way", ["reset", "disown"])
def test_the_end_is_not_said_by_who_must_not(ends: tuple[TLS, Peer], way: str) -> None:
    stream, peer = ends
    peer.read()
    getattr(stream, way)()
    if way == "reset":
        stream.close()
    with contextlib.suppress(ConnectionResetError):
        assert peer.sock.recv(100) == b""


def test_a_handshake_that_fails_is_told_to_the_client(context: ssl.SSLContext) -> None:
    near, far = socket.socketpair()
    with far:
        stream = TLS(plain(near), context, b"\x16\x03\x01\x00\x04nono")
        with pytest.raises(ssl.SSLError):
            stream.shake_hands()
        stream.close()
        assert far.recv(100)[:1] == b"\x15"  # an alert
