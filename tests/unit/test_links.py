"""Channels that do not take what they are sent: nothing that matters is lost, and the order stays."""

import os
import resource
import select
from collections.abc import Iterator

import pytest

from spawning.controller.links import MOST_WAITING, Links
from spawning.controller.records import Source
from spawning.ipc.channel import MAX_DATAGRAM, Channel
from spawning.ipc.messages import AskDetails, Boot, ForkWorker, Message, Retire, Start, Stop

ONE, TWO = Source(1, 1), Source(1, 2)


@pytest.fixture
def links() -> Iterator[Links]:
    wakeup = os.eventfd(0, os.EFD_CLOEXEC)
    links = Links(wakeup)
    yield links
    links.close()
    os.close(wakeup)


@pytest.fixture
def far(links: Links) -> Iterator[Channel]:
    """Make the other end of the channel of worker 1.1."""
    near, far = Channel.pair()
    links.add(ONE, near)
    yield far
    far.close()


def fill(links: Links) -> None:
    """Send questions until the channel takes no more and one of them waits."""
    number = 0
    while not links.unsent():
        number += 1
        links.send(ONE, AskDetails(number, stacks=False))


def read(links: Links, far: Channel) -> list[Message]:
    """Read all that comes, letting the controller's side send on; questions are left out."""
    messages: list[Message] = []
    far.sock.setblocking(False)
    while True:
        try:
            message, fds = far.receive()
        except BlockingIOError:
            if not links.unsent():
                return messages
            links.wait(0)
            continue
        assert message is not None
        for fd in fds:
            os.close(fd)
        if not isinstance(message, AskDetails):
            messages.append(message)


def test_what_a_full_channel_does_not_take_is_sent_in_order_when_it_does(links: Links, far: Channel) -> None:
    fill(links)
    orders: list[Message] = [Start(), Retire(3.0), Stop(2.0)]
    for order in orders:
        links.send(ONE, order)
    assert read(links, far) == orders


def test_descriptors_wait_beside_their_message_and_are_the_callers_meanwhile(links: Links, far: Channel) -> None:
    fill(links)
    reading, writing = os.pipe()
    links.send(ONE, ForkWorker(7), [writing])
    os.close(writing)
    assert read(links, far) == [ForkWorker(7)]
    assert os.read(reading, 1) == b"", "nobody holds the other end any more"
    os.close(reading)


def test_other_channels_do_not_wait_for_a_full_one(links: Links, far: Channel) -> None:
    near, other = Channel.pair()
    links.add(TWO, near)
    fill(links)
    links.send(TWO, Start())
    assert other.receive() == (Start(), [])
    other.close()


def test_questions_are_kept_up_to_a_bound_and_orders_beyond_it(links: Links, far: Channel) -> None:
    fill(links)
    for _ in range(2 * MOST_WAITING):
        links.send(ONE, AskDetails(1, stacks=True))
    assert len(links.unsent()) == MOST_WAITING
    links.send(ONE, Stop(1.0))
    assert read(links, far) == [Stop(1.0)]


def test_a_full_channel_does_not_wake_the_loop_until_there_is_room(links: Links, far: Channel) -> None:
    fill(links)
    assert links.wait(0) == []
    poll = select.poll()
    poll.register(far.fileno(), select.POLLIN)
    assert poll.poll(0)
    assert links.unsent(), "nothing has been read, so nothing can have been sent"


def test_a_dropped_channel_takes_what_waits_along(links: Links, far: Channel) -> None:
    before = len(os.listdir("/proc/self/fd"))
    reading, writing = os.pipe()
    fill(links)
    links.send(ONE, ForkWorker(7), [writing])
    links.drop(ONE)
    os.close(reading)
    os.close(writing)
    assert links.unsent() == []
    assert len(os.listdir("/proc/self/fd")) == before - 1


def test_a_message_waits_for_descriptors_too(links: Links, far: Channel) -> None:
    """A large message needs one for its memory file; the loop does not spin until there is one."""
    boot = Boot(1, {"args": ["x" * MAX_DATAGRAM]}, 0.0, "/", 1)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    probe = os.dup(0)
    os.close(probe)
    resource.setrlimit(resource.RLIMIT_NOFILE, (probe, hard))
    try:
        links.send(ONE, boot)
        links.send(ONE, Start())
        assert [each.message[:11] for each in links.unsent()] == ['{"":"Boot",', '{"":"Start"']
        assert links.wait(0) == []
        assert len(links.unsent()) == 2
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert read(links, far) == [boot, Start()]


def test_what_waits_outlives_the_program(links: Links, far: Channel) -> None:
    fill(links)
    links.send(ONE, Start())
    left = [each._replace(fds=[os.dup(fd) for fd in each.fds]) for each in links.unsent()]
    near = Channel(links._links[ONE].channel.sock.dup())
    links.drop(ONE)
    links.add(ONE, near)
    links.restore(left)
    assert read(links, far) == [Start()]
