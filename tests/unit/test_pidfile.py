"""The pidfile: who has its lock, and what the moments between two steps of somebody else can do."""

import fcntl
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from spawning.controller.pidfile import Pidfile
from spawning.errors import ConfigError

OURS = f"{os.getpid()}\n"


def pidfile(path: Path, lock: Callable[[int, int], None] = fcntl.flock) -> Pidfile:
    return Pidfile(str(path), "option --pidfile", lock)


def first(action: Callable[[], None]) -> Callable[[int, int], None]:
    """Make a lock before whose first use something happens."""
    left = [action]

    def lock(fd: int, operation: int) -> None:
        if left:
            left.pop()()
        fcntl.flock(fd, operation)

    return lock


def test_it_is_there_from_write_to_remove(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    one = pidfile(path)
    one.write()
    assert path.read_text() == OURS
    assert path.stat().st_mode & 0o777 == 0o644
    with pytest.raises(
        ConfigError, match=rf"^option --pidfile: .*pid belongs to process {os.getpid()}, which is alive"
    ):
        pidfile(path).write()
    assert path.read_text() == OURS
    one.remove()
    assert list(tmp_path.iterdir()) == []


def test_one_that_was_removed_before_it_is_locked_is_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    one = pidfile(path)
    one.write()
    two = pidfile(path, first(one.remove))
    two.write()
    assert path.read_text() == OURS
    with pytest.raises(ConfigError):
        pidfile(path).write()
    two.remove()
    assert list(tmp_path.iterdir()) == []


def test_one_that_somebody_replaces_before_it_is_locked_is_respected(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    path.write_text("1\n")
    winner = pidfile(path)
    with pytest.raises(ConfigError, match=f"belongs to process {os.getpid()}, which is alive"):
        pidfile(path, first(winner.write)).write()
    assert path.read_text() == OURS
    winner.remove()


def test_one_that_has_become_another_s_is_not_removed(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    one, two = pidfile(path), pidfile(path)
    one.write()
    path.unlink()  # by a person
    two.write()
    one.remove()
    assert path.read_text() == OURS
    with pytest.raises(ConfigError):
        pidfile(path).write()
    two.remove()


def test_a_file_that_cannot_be_locked_is_left_as_it_was(tmp_path: Path) -> None:
    def refuse(fd: int, operation: int) -> None:
        raise OSError(37, "No locks available")

    path = tmp_path / "pid"
    path.write_text("17\n")
    with pytest.raises(ConfigError, match=re.escape(f"cannot write {path}: No locks available")):
        pidfile(path, refuse).write()
    assert path.read_text() == "17\n"


def test_nothing_is_left_when_it_cannot_be_written(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    calls: list[int] = []

    def second(fd: int, operation: int) -> None:
        calls.append(fd)
        if len(calls) == 2:
            raise OSError(28, "No space left on device")
        fcntl.flock(fd, operation)

    with pytest.raises(ConfigError, match="No space left on device"):
        pidfile(path, second).write()
    assert list(tmp_path.iterdir()) == []


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "pid").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigError, match="cannot write"):
        pidfile(tmp_path / "pid").write()
    assert not (tmp_path / "elsewhere").exists()


def test_the_next_program_has_the_lock(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    one = pidfile(path)
    one.write()
    two = Pidfile.handed_on(str(path), os.dup(one.fd))
    os.close(one.fd)
    with pytest.raises(ConfigError):
        pidfile(path).write()
    two.remove()
    assert list(tmp_path.iterdir()) == []


def test_the_next_program_locks_what_a_program_without_locks_has_written(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    path.write_text(OURS)
    one = Pidfile.handed_on(str(path), -1)
    with pytest.raises(ConfigError):
        pidfile(path).write()
    one.remove()
    assert list(tmp_path.iterdir()) == []
    Pidfile.handed_on(str(path), -1).remove()
    assert list(tmp_path.iterdir()) == []
    path.write_text("1\n")
    Pidfile.handed_on(str(path), -1).remove()
    assert path.read_text() == "1\n"
