"""Writing lines to a descriptor that may not take them: what is kept, what is lost and counted, what stays whole."""

import os
import resource
import select
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from spawning.logs.streams import open_file
from spawning.logs.writer import Writer

DEADLINE = 30.0  # seconds


class Pipe:
    """A pipe, of which the test decides when it is read; `told` gets the counts of lost lines."""

    def __init__(self) -> None:
        self.reader, self.end = os.pipe()
        self.told: list[int] = []
        self.reported = threading.Event()

    def writer(self, most: int = 1 << 20) -> Writer:
        return Writer(os.dup(self.end), self.report, most=most)

    def report(self, count: int) -> None:
        self.told.append(count)
        self.reported.set()

    def fill(self) -> int:
        """Write until nothing more goes in; return how many bytes that is."""
        os.set_blocking(self.end, False)
        try:
            count = 0
            while select.select([], [self.end], [], 0)[1]:
                count += os.write(self.end, b"\0" * 4096)
        finally:
            os.set_blocking(self.end, True)
        return count

    def read(self, count: int) -> bytes:
        """Read so many bytes."""
        data = b""
        while len(data) < count:
            data += os.read(self.reader, count - len(data))
        return data


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe()
    yield pipe
    for fd in (pipe.reader, pipe.end):
        os.close(fd)


def test_lines_are_written_in_order(pipe: Pipe) -> None:
    writer = pipe.writer()
    for number in range(100):
        writer.put(f"line {number}\n")
    assert writer.drain(DEADLINE)
    expected = "".join(f"line {number}\n" for number in range(100)).encode()
    assert pipe.read(len(expected)) == expected
    assert writer.take_lost() == 0


def test_a_reader_that_stalls_costs_lines_and_nobody_waits(pipe: Pipe) -> None:
    filling = pipe.fill()
    writer = pipe.writer(most=1000)
    for number in range(300):
        writer.put(f"{number:09}\n")  # none of these calls comes back if it waits for the reader
    assert not writer.drain(0)
    pipe.read(filling)
    assert writer.drain(DEADLINE)
    lines = pipe.read(100 * 10).decode().split()
    assert lines == [f"{number:09}" for number in range(100)]
    assert pipe.reported.wait(DEADLINE)
    assert pipe.told == [200]
    writer.put("it goes again\n")
    assert writer.drain(DEADLINE)
    assert pipe.read(14) == b"it goes again\n"
    assert writer.take_lost() == 0


def test_to_wait_for_what_was_put_is_to_wait_a_moment(pipe: Pipe) -> None:
    writer = pipe.writer()
    writer.put("read\n")
    writer.settle()
    assert os.read(pipe.reader, 100) == b"read\n"
    full = pipe.fill()
    for _ in range(3):
        writer.put("not read\n")
        writer.settle()
    pipe.read(full)
    assert pipe.read(27) == b"not read\n" * 3
    writer.settle()


def test_at_the_end_what_a_stalled_reader_has_not_taken_is_counted(pipe: Pipe) -> None:
    pipe.fill()
    writer = pipe.writer(most=1000)
    for number in range(300):
        writer.put(f"{number:09}\n")
    assert not writer.drain(0)
    assert writer.give_up() == 300


def test_lines_of_several_writers_do_not_mix_on_a_pipe(pipe: Pipe) -> None:
    """The first bytes that fit are less than what one writer has: in one write its last line would be cut."""
    lines = {mark: [f"{mark * 150} {number:04}\n" for number in range(400)] for mark in "abc"}
    writers = {mark: pipe.writer() for mark in lines}
    for mark, writer in writers.items():
        writer.put("".join(lines[mark]))
    found = pipe.read(sum(len(line) for each in lines.values() for line in each)).decode().splitlines(keepends=True)
    assert {mark: [line for line in found if line[0] == mark] for mark in lines} == lines


def test_a_line_longer_than_a_pipe_takes_at_once_arrives_whole(pipe: Pipe) -> None:
    text = "short\n" + "x" * 200_000 + "\nshort\n"
    writer = pipe.writer()
    writer.put(text)
    assert pipe.read(len(text)).decode() == text


def test_a_description_that_somebody_has_made_non_blocking(pipe: Pipe) -> None:
    """Writes to it are short, or fail, when the pipe is full; the thread waits, and continues where it was."""
    os.set_blocking(pipe.end, False)
    text = "".join(f"{number:0500}\n" for number in range(1000)) + "y" * 100_000 + "\n"
    writer = pipe.writer()
    writer.put(text)
    assert pipe.read(len(text)).decode() == text
    assert writer.drain(DEADLINE)
    assert writer.take_lost() == 0


class Disk:
    """A file, and a limit on its size that is reached in the middle of a line."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.told: list[int] = []
        self.writer = Writer(open_file(str(path)), self.told.append)


def test_a_disk_that_is_full_in_the_middle_of_a_line(tmp_path: Path, limit_size: Callable[[int], None]) -> None:
    disk = Disk(tmp_path / "log")
    limit_size(15)
    disk.writer.put("complete\n")
    disk.writer.put("torn in the middle\nand one more\n")
    disk.writer.put("lost\n")
    assert disk.writer.drain(DEADLINE)
    assert disk.path.read_text() == "complete\ntorn i"
    limit_size(1000)
    disk.writer.put("it goes again\n")
    assert disk.writer.drain(DEADLINE)
    assert disk.path.read_text() == "complete\ntorn i\nit goes again\n"
    assert disk.told == [3]


@pytest.fixture
def limit_size() -> Iterator[Callable[[int], None]]:
    """Set how large a file may become, of those that this process writes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.parametrize("text", ["\udcff\n", "\u4e2d\n"])
def test_whatever_a_text_has_can_be_written(pipe: Pipe, text: str) -> None:
    writer = pipe.writer()
    writer.put(text)
    assert writer.drain(DEADLINE)
    assert os.read(pipe.reader, 100) == text.encode("utf-8", "backslashreplace")


def test_a_descriptor_that_is_left_is_written_to_the_end_and_closed(pipe: Pipe) -> None:
    filling = pipe.fill()
    writer = pipe.writer()
    writer.put("to the end\n")
    writer.finish()
    os.close(pipe.end)
    pipe.read(filling)
    assert pipe.read(11) == b"to the end\n"
    assert os.read(pipe.reader, 1) == b""  # nobody can write any more
    pipe.end = os.open(os.devnull, os.O_RDONLY)


def test_a_reader_that_has_gone(pipe: Pipe) -> None:
    writer = pipe.writer()
    os.close(pipe.reader)
    writer.put("nobody\nreads\n")
    assert writer.drain(DEADLINE)
    assert writer.take_lost() == 2
    pipe.reader = os.open(os.devnull, os.O_RDONLY)


def test_lines_that_come_together_are_kept_as_far_as_there_is_room(pipe: Pipe) -> None:
    filling = pipe.fill()
    writer = pipe.writer(most=1000)
    writer.put("".join(f"{number:09}\n" for number in range(150)))
    writer.put("one more\n")
    pipe.read(filling)
    assert writer.drain(DEADLINE)
    assert pipe.read(1000).decode().split() == [f"{number:09}" for number in range(100)]
    assert pipe.told == [51]
