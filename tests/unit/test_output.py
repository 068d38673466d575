"""What waits to be sent: order, partial sends, the high-water mark, and the client that goes."""

import threading
from typing import Any

import pytest

from spawning.worker.output import ALL, BLOCKED, HIGH_WATER, BytesSegment, Output
from spawning.wsgi.responder import ClientGone


class Socket:
    """Takes as many bytes as there is room for."""

    def __init__(self, room: int = 0) -> None:
        self.room = room
        self.data = b""

    def send(self, data: memoryview, flags: int) -> int:
        taken = bytes(data[: self.room])
        if not taken:
            raise BlockingIOError
        self.data += taken
        self.room -= len(taken)
        return len(taken)


def flush(output: Output, sock: Socket) -> bool:
    """Whether nothing is left."""
    socket: Any = sock
    flushed = output.flush(socket)
    assert flushed in (ALL, BLOCKED)
    return flushed is ALL


def test_segments_go_out_in_order_as_far_as_there_is_room() -> None:
    output, sock = Output(), Socket(4)
    for segment in (BytesSegment(b"xhello", 1), BytesSegment(b" ", 0), BytesSegment(b"world", 0)):
        output.put(segment)
    assert not flush(output, sock)
    assert sock.data == b"hell"
    sock.room = 3
    assert not flush(output, sock)
    sock.room = 100
    assert flush(output, sock)
    assert sock.data == b"hello world"
    assert output.empty


def test_putting_tells_whether_anything_was_kept_so_that_it_gets_sent() -> None:
    output, sock = Output(), Socket(100)
    assert output.put(BytesSegment(b"a", 0))
    assert not output.put(BytesSegment(b"b", 0))
    assert flush(output, sock)
    assert output.put(BytesSegment(b"c", 0))


def test_a_producer_waits_above_the_mark_until_the_client_has_taken_enough() -> None:
    output, sock = Output(), Socket(1)
    output.put(BytesSegment(b"x" * HIGH_WATER, 0))
    assert not output.above_high_water
    output.wait()
    output.put(BytesSegment(b"yz", 0))
    assert output.above_high_water
    producer = threading.Thread(target=output.wait)
    producer.start()
    assert not flush(output, sock)
    assert output.above_high_water
    sock.room = 1
    assert not flush(output, sock)
    producer.join(30)
    assert not producer.is_alive()


def test_a_producer_whose_client_goes_is_told() -> None:
    output = Output()
    output.put(BytesSegment(b"x" * (HIGH_WATER + 1), 0))
    told = threading.Event()

    def produce() -> None:
        with pytest.raises(ClientGone):
            output.wait()
        told.set()

    producer = threading.Thread(target=produce)
    producer.start()
    output.give_up()
    assert told.wait(30)
    producer.join()
    assert output.empty
    with pytest.raises(ClientGone):
        output.put(BytesSegment(b"x", 0))
