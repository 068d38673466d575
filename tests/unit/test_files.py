"""``wsgi.file_wrapper``: what the kernel may send, and what is read in blocks."""

import bz2
import gzip
import io
import mmap
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import pytest

from spawning.wsgi.files import FileWrapper
from unit.exchanges import answering, run


def test_a_real_file_is_sent_by_the_transport(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")
    for skipped, fields, expected in ((0, [], (0, 10)), (4, [], (4, 6)), (0, [("Content-Length", "3")], (0, 3))):
        file = path.open("rb")
        file.seek(skipped)
        response = run(answering(FileWrapper(file), *fields))
        assert response.files == [expected]
        assert response.head[-1] == f"Content-Length: {expected[1]}"
        assert (response.sent, response.cut, file.closed) == (expected[1], False, True)


def test_a_file_shorter_than_announced_is_answered_500(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")
    file = path.open("rb")
    response = run(answering(FileWrapper(file), ("Content-Length", "11")))
    assert (response.head[0], response.files, file.closed) == ("HTTP/1.1 500 Internal Server Error", [], True)
    assert "response shorter than its Content-Length announced=11 found=10 " in caplog.text
    response = run(answering(FileWrapper(path.open("rb")), ("Content-Length", "11")), method="HEAD")
    assert response.head == ["HTTP/1.1 200 OK", "Content-Length: 11"]


def test_head_of_a_file_sends_none_of_it(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")
    response = run(answering(FileWrapper(path.open("rb"))), method="HEAD")
    assert response.files == []
    assert response.head[-1] == "Content-Length: 10"


def test_anything_else_is_read_in_blocks() -> None:
    file = io.BytesIO(b"0123456789")
    response = run(answering(FileWrapper(file, 4)))
    assert response.body == b"4\r\n0123\r\n4\r\n4567\r\n2\r\n89\r\n0\r\n\r\n"
    assert file.closed


def test_a_temporary_file_is_sent_from_where_it_is() -> None:
    with tempfile.NamedTemporaryFile() as file:
        file.write(b"0123456789")
        file.flush()
        file.seek(3)
        extent = FileWrapper(file).extent()
    assert extent is not None
    assert extent[1:] == (3, 7)


@pytest.mark.parametrize("size", [0, mmap.PAGESIZE])
def test_a_file_that_does_not_say_where_its_end_is_is_read(tmp_path: Path, size: int) -> None:
    """Those of /proc and cgroups say that they have nothing, those of /sys a page and no blocks on any disk."""
    path = tmp_path / "file"
    path.touch()
    os.truncate(path, size)
    with path.open("rb") as file:
        assert FileWrapper(file).extent() is None
    response = run(answering(FileWrapper(path.open("rb"))))
    assert (response.files, response.sent, response.cut) == ([], size, False)
    with Path("/proc/self/status").open("rb") as file:
        assert FileWrapper(file).extent() is None
        assert b"Name:" in run(answering(FileWrapper(file))).body


def test_what_has_nothing_yet_is_not_at_its_end(caplog: pytest.LogCaptureFixture) -> None:
    """A file that does not wait returns None (``io.RawIOBase.read``)."""
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    with open(reader, "rb", buffering=0) as file:
        assert run(answering(FileWrapper(file))).head[0] == "HTTP/1.1 500 Internal Server Error"
    os.close(writer)
    assert "a block of the response is NoneType, not bytes" in caplog.text


def test_what_has_been_buffered_counts_as_read(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")
    with path.open("rb") as file:
        assert file.read(2) == b"01"  # the descriptor is at the end now
        extent = FileWrapper(file).extent()
    assert extent is not None
    assert extent[1:] == (2, 8)


def test_a_position_behind_the_end_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")
    with path.open("rb") as file:
        file.seek(100)
        extent = FileWrapper(file).extent()
    assert extent is not None
    assert extent[2] == 0


@pytest.mark.parametrize("file", [io.BytesIO(b"x"), io.StringIO("x"), object()])
def test_what_has_no_descriptor_has_no_extent(file: object) -> None:
    assert FileWrapper(file).extent() is None  # type: ignore[arg-type]


class Upper(io.BufferedReader):
    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(size).upper()


class Holder:
    """A wrapper as Django's ``File`` is one: ``file`` is the real one, and so are its methods."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)


class UpperHolder(Holder):
    def read(self, size: int = -1) -> bytes:
        return self.file.read(size).upper()


def test_what_reads_as_its_file_does_is_sent_as_that(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"content")
    for file in (path.open("rb"), path.open("rb", 0), path.open("r+b"), Holder(path.open("rb"))):
        extent = FileWrapper(file).extent()  # type: ignore[arg-type]
        assert extent == (file.fileno(), 0, 7)
        file.close()


PACKED: dict[str, tuple[Any, Callable[[Path], Any]]] = {
    "gzip": (gzip.compress, gzip.GzipFile),
    "bz2": (bz2.compress, bz2.BZ2File),
    "buffered gzip": (gzip.compress, lambda path: io.BufferedReader(gzip.GzipFile(path))),
    "buffered bz2": (bz2.compress, lambda path: io.BufferedReader(bz2.BZ2File(path))),
    "held gzip": (gzip.compress, lambda path: Holder(gzip.GzipFile(path))),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("kind", PACKED)
def test_what_is_unpacked_while_it_is_read_is_not_sent_packed(tmp_path: Path, kind: str) -> None:
    pack, opened = PACKED[kind]
    path = tmp_path / "file"
    path.write_bytes(pack(b"content"))
    response = run(answering(FileWrapper(opened(path))))
    assert response.files == []
    assert b"content" in response.body


@pytest.mark.parametrize("opened", [lambda path: Upper(path.open("rb", 0)), lambda path: UpperHolder(path.open("rb"))])
def test_what_reads_otherwise_than_its_file_is_read(tmp_path: Path, opened: Callable[[Path], Any]) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"content")
    response = run(answering(FileWrapper(opened(path))))
    assert response.files == []
    assert b"CONTENT" in response.body


def test_a_device_or_closed_file_has_no_extent(tmp_path: Path) -> None:
    with Path("/dev/null").open("rb") as file:
        assert FileWrapper(file).extent() is None
    assert FileWrapper(file).extent() is None


def test_it_has_close_only_if_the_file_has() -> None:
    class Readable:
        def read(self, size: int) -> bytes:
            return b""

    assert not hasattr(FileWrapper(Readable()), "close")  # type: ignore[arg-type]
    assert hasattr(FileWrapper(io.BytesIO()), "close")
