import os
import resource
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from spawning.ipc.channel import MAX_DATAGRAM, Channel
from spawning.ipc.messages import Born, ForkWorker, Frozen, Loaded, LoadFailed

Pair = tuple[Channel, Channel]


@pytest.fixture
def pair() -> Iterator[Pair]:
    near, far = Channel.pair()
    yield near, far
    near.close()
    far.close()


def test_messages_arrive_whole_and_in_order(pair: Pair) -> None:
    near, far = pair
    assert near.send(Born(1))
    assert near.send(Frozen())
    assert far.receive() == (Born(1), [])
    assert far.receive() == (Frozen(), [])


def test_a_message_larger_than_a_datagram_arrives_like_any_other(pair: Pair) -> None:
    near, far = pair
    message = Loaded([f"/site/package/module_{number}.py" for number in range(20_000)])
    near.send(message)
    near.send(Frozen())
    assert far.receive() == (message, [])
    assert far.receive() == (Frozen(), [])


@pytest.mark.parametrize("size", [0, MAX_DATAGRAM])
def test_descriptors_travel_beside_messages_of_any_size(pair: Pair, size: int) -> None:
    near, far = pair
    message = LoadFailed("app", "x" * size)
    with open(os.devnull, "rb") as first, open(os.devnull, "rb") as second:
        near.send(message, [first.fileno(), second.fileno()])
        received, fds = far.receive()
        assert received == message
        assert [os.fstat(fd).st_rdev for fd in fds] == [os.fstat(first.fileno()).st_rdev] * 2
        assert not any(os.get_inheritable(fd) for fd in fds)
        for fd in fds:
            os.close(fd)


def test_a_large_message_without_a_descriptor_left_for_it_is_refused(pair: Pair) -> None:
    near, far = pair
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with open(os.devnull, "rb") as first:
        near.send(LoadFailed("app", "x" * MAX_DATAGRAM), [first.fileno()])
        before = sorted(os.listdir("/proc/self/fd"))
        probe = os.dup(first.fileno())  # the lowest free number: one more descriptor fits, two do not
        os.close(probe)
        resource.setrlimit(resource.RLIMIT_NOFILE, (probe + 1, hard))
        try:
            with pytest.raises(ValueError, match="no descriptor was left"):
                far.receive()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert sorted(os.listdir("/proc/self/fd")) == before


def test_nothing_is_left_open_by_a_large_message(pair: Pair) -> None:
    near, far = pair
    before = sorted(os.listdir("/proc/self/fd"))
    near.send(LoadFailed("app", "x" * MAX_DATAGRAM))
    far.receive()
    assert sorted(os.listdir("/proc/self/fd")) == before


def test_the_death_of_the_peer_is_the_end_of_the_file(pair: Pair) -> None:
    near, far = pair
    near.send(Born(1))
    near.close()
    assert far.receive() == (Born(1), [])
    assert far.receive() == (None, [])
    assert far.receive() == (None, [])


def test_a_peer_that_dies_with_unread_messages_has_died(pair: Pair) -> None:
    near, far = pair
    far.send(Frozen())
    near.close()
    assert far.receive() == (None, [])


def test_sending_to_a_dead_peer_is_no_error(pair: Pair) -> None:
    near, far = pair
    near.close()
    assert far.send(ForkWorker(1)) is False
    assert far.send(LoadFailed("app", "x" * MAX_DATAGRAM)) is False


def test_a_channel_that_does_not_block_says_so(pair: Pair) -> None:
    near, _ = pair
    near.sock.setblocking(False)
    with pytest.raises(BlockingIOError):
        near.receive()


@pytest.mark.parametrize(
    ("data", "fds", "reason"),
    [
        (b"@", 0, "no descriptor came with it"),
        (b"@", 1, "not in a memory file"),
        (b"[" * 50_000, 0, "not a message|Expecting value"),  # how deep it is read differs between Pythons
        (b'{"":["Born"]}', 0, "not a message"),
        (b"\xff\xfe", 1, "Expecting value"),
    ],
    ids=["nothing in it", "a device", "deep", "no name", "no text"],
)
def test_a_datagram_that_is_no_message_is_refused_and_leaves_nothing_open(
    pair: Pair, data: bytes, fds: int, reason: str
) -> None:
    near, far = pair
    with open(os.devnull, "rb") as device:
        before = sorted(os.listdir("/proc/self/fd"))
        socket.send_fds(near.sock, [data], [device.fileno()] * fds)
        near.send(Frozen())
        with pytest.raises(ValueError, match=reason):
            far.receive()
        assert sorted(os.listdir("/proc/self/fd")) == before
    assert far.receive() == (Frozen(), [])


def test_a_memory_file_that_cannot_be_read_is_refused(pair: Pair, tmp_path: Path) -> None:
    near, far = pair
    with open(tmp_path / "write-only", "wb") as file:
        socket.send_fds(near.sock, [b"@"], [file.fileno()])
        with pytest.raises(ValueError, match="cannot be read"):
            far.receive()
