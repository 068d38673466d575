"""The descriptors 0 to 2: nothing of the server's gets their numbers."""

import os
import socket
import stat
from collections.abc import Iterator

import pytest

from spawning.ipc.channel import Channel
from spawning.ipc.messages import Start
from spawning.standard import copy, moved, occupy


@pytest.fixture
def closed() -> Iterator[None]:
    """Descriptor 0 is closed."""
    before = copy(0)
    os.close(0)
    yield
    os.dup2(before, 0)
    os.close(before)


def is_null(descriptor: int) -> bool:
    found, null = os.fstat(descriptor), os.stat(os.devnull)
    return stat.S_ISCHR(found.st_mode) and found.st_rdev == null.st_rdev


@pytest.mark.usefixtures("closed")
def test_what_is_closed_is_occupied() -> None:
    assert occupy() == [0]
    assert is_null(0)
    assert os.get_inheritable(0)
    assert occupy() == []


@pytest.mark.usefixtures("closed")
def test_what_has_got_one_of_the_numbers_is_moved() -> None:
    reader, writer = os.pipe()
    assert reader == 0
    reader = moved(reader)
    assert reader > 2
    assert not os.get_inheritable(reader)
    assert is_null(0)
    os.write(writer, b"through")
    assert os.read(reader, 7) == b"through"
    assert moved(reader) == reader
    os.close(reader)
    os.close(writer)


@pytest.mark.usefixtures("closed")
def test_descriptors_that_come_with_a_message() -> None:
    """The kernel gives them the lowest numbers, as any others."""
    os.open(os.devnull, os.O_RDONLY)
    near, far = Channel.pair()
    one, other = socket.socketpair()
    near.send(Start(1), [one.fileno(), other.fileno()])
    os.close(0)
    message, descriptors = far.receive()
    assert message == Start(1)
    assert all(fd > 2 for fd in descriptors)
    assert is_null(0)
    for fd in descriptors:
        os.close(fd)
    for each in (near, far, one, other):
        each.close()
