"""Following a log (``spawnctl logs -f``): what is written while nothing is read."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from spawning.ctl_logs import follow, last_lines


class Ended(Exception):
    """Nothing is written any more."""


def read(path: Path, steps: Sequence[Callable[[], object]]) -> bytes:
    """Follow a file; a step is done whenever there is nothing new."""
    todo: Iterator[Callable[[], object]] = iter(steps)

    def wait() -> None:
        step = next(todo, None)
        if step is None:
            raise Ended
        step()

    found = b""
    with contextlib.suppress(Ended):
        for lines in follow(path, path.open("rb"), wait):
            found += lines
    return found


def append(path: Path, text: bytes) -> None:
    with path.open("ab") as file:
        file.write(text)


def nothing() -> None:
    pass


def test_lines_that_are_written_to_a_rotated_file_come_before_those_of_the_new_one(tmp_path: Path) -> None:
    path, rotated = tmp_path / "log", tmp_path / "log.1"
    append(path, b"1\n")

    def rotate() -> None:
        path.rename(rotated)
        append(rotated, b"2\n")
        append(path, b"4\n")

    steps = [nothing, rotate, lambda: append(rotated, b"3\n"), *[nothing] * 5, lambda: append(path, b"5\n"), nothing]
    assert read(path, steps) == b"1\n2\n3\n4\n5\n"


def test_a_file_may_be_rotated_between_its_last_lines_and_the_next_ones(tmp_path: Path) -> None:
    path, rotated = tmp_path / "log", tmp_path / "log.1"
    append(path, b"1\n2\n3\n4")
    with path.open("rb") as file:
        assert last_lines(file, 2) == b"2\n3\n"
        path.rename(rotated)
        following = follow(path, file, lambda: append(path, b"6\n"))
        append(rotated, b"4\n5\n")
        assert [next(following), next(following)[:2]] == [b"44\n5\n", b"6\n"]


def test_a_file_that_is_truncated_is_read_from_its_beginning(tmp_path: Path) -> None:
    path = tmp_path / "log"
    append(path, b"1\n2\n")
    assert read(path, [lambda: path.write_bytes(b"3\n"), nothing]) == b"1\n2\n3\n"


def test_a_line_comes_when_it_is_whole_and_a_name_may_be_missing_for_a_while(tmp_path: Path) -> None:
    path = tmp_path / "log"
    append(path, b"1\n2")
    steps = [lambda: append(path, b"2\n"), lambda: path.rename(tmp_path / "old"), nothing, nothing, nothing, nothing]
    assert read(path, [*steps, lambda: append(path, b"3\n"), *[nothing] * 5]) == b"1\n22\n3\n"
