"""``wsgi.input``: complete, seekable, in memory or in a file, and what happens when the disk is full."""

import io
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from spawning.errors import ProtocolError
from spawning.wsgi.input import FILES, MEDIUM, PLACES, SMALL, BodyBuffer, limit_files

SIZES = [0, 1, SMALL, SMALL + 1, MEDIUM, MEDIUM + 1, 3 * MEDIUM]


def filled(data: bytes, announced: int, piece: int = 10_000) -> BodyBuffer:
    """Make a buffer that got `data` in pieces."""
    buffer = BodyBuffer(announced)
    for start in range(0, len(data), piece):
        buffer.write(data[start : start + piece])
    return buffer


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("announces", [True, False])
def test_what_was_written_is_read(size: int, announces: bool) -> None:
    data = os.urandom(size)
    buffer = filled(data, size if announces else 0)
    assert buffer.length == size
    with buffer.file() as file:
        assert file.read() == data
        assert file.read() == file.read(10) == file.readline() == b""


@pytest.mark.parametrize("size", [50, SMALL, SMALL + 1, MEDIUM, MEDIUM + 1, 9 * MEDIUM])
def test_pieces_may_be_of_any_size_and_views(size: int) -> None:
    data = os.urandom(size)
    view = memoryview(data)
    buffer = BodyBuffer(0)
    at, piece = 0, 1
    while at < size:
        buffer.write(view[at : at + piece] if piece % 2 else data[at : at + piece])
        at += piece
        piece = 2 * SMALL if piece == 1000 else piece % 4097 + 1
    with buffer.file() as file:
        assert file.read() == data


@pytest.mark.parametrize("size", [1000, 2 * SMALL, 2 * MEDIUM])
def test_it_is_a_file_like_any_other(size: int) -> None:
    data = b"line\n" * (size // 5)
    with filled(data, size).file() as file:
        assert file.readline() == b"line\n"
        assert file.readline(2) == b"li"
        assert file.read(3) == b"ne\n"
        assert file.tell() == 10
        assert file.readlines(9) == [b"line\n", b"line\n"]
        assert list(file) == [b"line\n"] * (size // 5 - 4)
        file.seek(-5, os.SEEK_END)
        assert file.readlines() == [b"line\n"]


def test_lines_of_a_file_are_read_through_a_buffer() -> None:
    with filled(b"x" * 2 * MEDIUM, 0).file() as file:
        assert isinstance(file, io.BufferedReader)


def test_what_is_small_is_in_memory_and_what_is_large_in_an_unnamed_file() -> None:
    assert type(filled(b"x" * SMALL, 0).file()) is io.BytesIO
    with filled(b"x" * (MEDIUM + 1), MEDIUM + 1).file() as file:
        assert os.fstat(file.fileno()).st_nlink == 0


@pytest.mark.parametrize("announced", [MEDIUM, 70_000_000])
def test_what_is_announced_takes_neither_a_place_nor_a_file(announced: int, one_file: None) -> None:
    others = [filled(b"x" * SMALL, announced) for _ in range(2 * PLACES)]
    for size in (MEDIUM, MEDIUM + 1):
        with filled(b"x" * size, size).file() as file:
            assert isinstance(file, io.BytesIO) is (size == MEDIUM)
    assert all(type(other.file()) is io.BytesIO for other in others)


def test_what_is_known_to_be_large_takes_no_place() -> None:
    others = [filled(b"x" * (SMALL + 1), MEDIUM + 1) for _ in range(2 * PLACES)]
    assert isinstance(filled(b"x" * MEDIUM, MEDIUM).file(), io.BytesIO)
    for other in others:
        other.close()


@pytest.fixture
def one_file() -> Iterator[None]:
    """Allow one body in a file at a time."""
    limit_files(1)
    yield
    limit_files(FILES)


@pytest.mark.usefixtures("one_file")
def test_files_are_counted_until_nobody_has_them() -> None:
    large = b"x" * (MEDIUM + 1)
    first = filled(large, 0)
    with pytest.raises(ProtocolError) as refused:
        filled(large, 0)
    assert refused.value.status == 503
    with first.file() as file:
        with pytest.raises(ProtocolError):
            filled(large, 0)
        assert filled(b"x" * MEDIUM, 0).file().read() == large[1:]
    del file
    filled(large, 0).close()
    with filled(large, 0).file() as file:
        assert file.read() == large


def written() -> int:
    """Count the write system calls of this process."""
    fields = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return int(fields["syscw"])


def test_small_pieces_are_gathered_before_they_are_written() -> None:
    buffer = filled(b"x" * (MEDIUM + 1), MEDIUM + 1)
    before = written()
    for _ in range(2 * SMALL):
        buffer.write(b"y")
    assert written() - before <= 2
    with buffer.file() as file:
        assert file.read() == b"x" * (MEDIUM + 1) + b"y" * 2 * SMALL


@pytest.mark.parametrize("announced", [0, SMALL + 1])
def test_what_is_neither_is_in_memory_while_there_is_a_place(announced: int) -> None:
    def in_memory() -> bool:
        with filled(b"x" * (SMALL + 1), announced).file() as file:
            return isinstance(file, io.BytesIO)

    others = [filled(b"x" * MEDIUM, 0) for _ in range(PLACES)]
    assert not in_memory()
    others.pop()
    for _ in range(2 * PLACES):
        assert in_memory()
    others.clear()


def test_a_place_is_given_back_with_the_file_though_the_buffer_stays() -> None:
    buffers = [filled(b"x" * MEDIUM, 0) for _ in range(PLACES)]
    for buffer in buffers:
        buffer.file().close()
    with filled(b"x" * MEDIUM, 0).file() as file:
        assert isinstance(file, io.BytesIO)


def test_what_outgrows_memory_gives_its_place_back() -> None:
    files = [filled(b"x" * (MEDIUM + 1), 0).file() for _ in range(2 * PLACES)]
    assert isinstance(filled(b"x" * MEDIUM, MEDIUM).file(), io.BytesIO)
    for file in files:
        file.close()


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[None]:
    """Have temporary files made where none can be: their directory does not exist."""
    # Set for programs by the module's own documentation.
    before, tempfile.tempdir = tempfile.tempdir, str(tmp_path / "missing")
    yield
    tempfile.tempdir = before


@pytest.mark.usefixtures("full_disk")
def test_a_body_that_cannot_be_kept_is_507() -> None:
    with pytest.raises(ProtocolError) as announced:
        filled(b"x" * (SMALL + 1), MEDIUM + 1)
    unannounced = filled(b"x" * MEDIUM, 0)
    with pytest.raises(ProtocolError) as grown:
        unannounced.write(b"x")
    assert announced.value.status == grown.value.status == 507
