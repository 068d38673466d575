"""Whether files are still what was loaded."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from spawning.stamps import ChangedError, check_same, stamps

LATER = 2**62  # nanoseconds; long after any file of a test was written


def loaded(*files: Path, since: int = LATER) -> dict[str, str]:
    names = [str(file) for file in files]
    return dict(zip(names, stamps(names, since), strict=True))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "site.py"
    path.write_text("version = 1\n")
    return path


def test_what_is_as_it_was_is_the_same(file: Path, tmp_path: Path) -> None:
    check_same(loaded(file, tmp_path / "gone", file / "inside.py"))


def _written_anew(file: Path) -> None:
    file.write_text("version = 22\n")


def _touched(file: Path) -> None:
    os.utime(file, ns=(1, file.stat().st_mtime_ns + 1))


def _removed(file: Path) -> None:
    file.unlink()


def _replaced(file: Path) -> None:
    """Replace by one of the same size and time."""
    time = file.stat().st_mtime_ns
    other = file.with_name("other")
    other.write_text("version = 2\n")
    os.utime(other, ns=(time, time))
    other.replace(file)


@pytest.mark.parametrize("change", [_written_anew, _touched, _removed, _replaced])
def test_every_change_is_seen(file: Path, change: Callable[[Path], None]) -> None:
    before = loaded(file)
    change(file)
    with pytest.raises(ChangedError, match=rf"^files have changed since they were loaded: {file}$"):
        check_same(before)


def test_a_file_that_appears_is_a_change(tmp_path: Path) -> None:
    before = loaded(tmp_path / "new.py")
    (tmp_path / "new.py").touch()
    with pytest.raises(ChangedError, match=r"new\.py"):
        check_same(before)


def test_a_module_of_an_archive_has_its_archives_stamp(file: Path) -> None:
    before = loaded(file / "package" / "module.py")
    file.write_text("another archive")
    with pytest.raises(ChangedError, match=r"module\.py"):
        check_same(before)


def test_a_file_that_has_changed_while_it_was_loaded_is_never_the_same(file: Path) -> None:
    with pytest.raises(ChangedError, match=r"site\.py"):
        check_same(loaded(file, since=file.stat().st_mtime_ns))


def test_many_files_are_not_all_named(tmp_path: Path) -> None:
    files = [tmp_path / f"{number}.py" for number in range(9)]
    before = loaded(*files)
    for each in files:
        each.touch()
    with pytest.raises(ChangedError, match=r"4\.py and 4 more$"):
        check_same(before)


def test_nothing_is_the_same_as_what_nobody_knows() -> None:
    with pytest.raises(ChangedError, match="not known"):
        check_same({})
