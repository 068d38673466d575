"""What is watched, and what of it counts."""

import contextlib
import os
import socket
import sqlite3
import threading
import time
from pathlib import Path

import pytest

from spawning.controller.ignored import Counted
from spawning.controller.paths import both_names, modified
from spawning.controller.polling import changes
from spawning.controller.rewritten import LOADS, Rewritten
from spawning.controller.triggers import check_exist
from spawning.errors import ConfigError

WRITTEN = [
    "db.sqlite3", "db.sqlite3-journal", "data.db", "data.db-wal", "site.log", "site.log.1", "site.log.2026-11-27",
    "x.pyc", "server.pid", ".views.py.swp", "views.py~", "4913", ".#views.py", ".coverage.host.17", "a.py___jb_tmp___",
]  # fmt: skip
EDITED = [
    "views.py",
    "page.html",
    "site.css",
    "catalog.txt",
    ".env",
    "logging.conf",
    "db.py",
    "changelog.md",
    "log.html",
]
TOOLS = [".git", "node_modules", "__pycache__", ".mypy_cache", ".venv"]


@pytest.mark.parametrize(("names", "counts"), [(WRITTEN, False), (EDITED, True)])
def test_what_is_written_by_programs_does_not_count(tmp_path: Path, names: list[str], counts: bool) -> None:
    counted = Counted()
    for name in names:
        assert counted.file(str(tmp_path / name)) is counts, f"{name}, which is gone"
        (tmp_path / name).touch()
        assert counted.file(str(tmp_path / name)) is counts, name


def test_a_database_does_not_count_whatever_its_name(tmp_path: Path) -> None:
    with contextlib.closing(sqlite3.connect(tmp_path / "anything")) as database:
        database.execute("create table t (x)")
    assert not Counted().file(str(tmp_path / "anything"))


def test_what_is_no_file_does_not_count(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "control"))
        assert [Counted().file(str(tmp_path / name)) for name in ("pipe", "control", "")] == [False] * 3


def test_what_the_server_writes_does_not_count(tmp_path: Path) -> None:
    (tmp_path / "requests.txt").touch()
    (tmp_path / "link").symlink_to("requests.txt")
    counted = Counted(own=[str(tmp_path / "link")])
    assert not counted.file(str(tmp_path / "requests.txt"))
    assert not counted.file(str(tmp_path / "link"))


def test_a_tree_has_no_directory_in_which_nothing_counts(tmp_path: Path) -> None:
    for name in (*TOOLS, "shop/templates/shop", "uploads/2026", "deep/env/lib"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "deep" / "env" / "pyvenv.cfg").touch()
    (tmp_path / "shop" / "again").symlink_to(tmp_path)  # for ever, if links were followed blindly
    (tmp_path / "linked").symlink_to(tmp_path.parent / "elsewhere")
    (tmp_path.parent / "elsewhere").mkdir(exist_ok=True)
    found = Counted(unwatched=[str(tmp_path / "uploads")]).tree(str(tmp_path))
    expected = {"", "deep", "shop", "shop/templates", "shop/templates/shop", "linked"}
    assert {os.path.relpath(path, tmp_path).removeprefix(".") for path in found} == expected


def test_a_tool_s_directory_counts_when_it_is_named(tmp_path: Path) -> None:
    (tmp_path / ".well-known").mkdir()
    assert list(Counted().tree(str(tmp_path / ".well-known"))) == [str(tmp_path / ".well-known")]


def test_polling_finds_what_has_changed_come_and_gone(tmp_path: Path) -> None:
    changed, gone, come, link = (tmp_path / name for name in ("changed", "gone", "come", "link"))
    changed.write_text("1")
    gone.touch()
    link.symlink_to("changed")
    since = time.time() + 3600  # nothing was missed
    looks = 0

    def look() -> list[str]:
        nonlocal looks
        looks += 1
        if looks == 2:  # behind the first look
            changed.write_text("another")
            gone.unlink()
            come.touch()
        return [str(path) for path in (changed, gone, come, link, tmp_path)]

    ended = threading.Event()
    for found in changes(look, since, ended):
        assert found == sorted(map(str, (changed, gone, come, link)))
        ended.set()
    assert looks == 3, "and once more, for whether they are quiet"


def test_polling_finds_what_was_written_before_its_first_look(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    old.touch()
    os.utime(old, (100.0, 100.0))

    def look() -> list[str]:
        new.touch()  # at the last moment
        return [str(path) for path in (old, new, tmp_path)]

    ended = threading.Event()
    for found in changes(look, 200.0, ended):
        assert found == [str(new)]
        ended.set()


def test_a_file_behind_a_link_is_known_by_both_names(tmp_path: Path) -> None:
    real, link = tmp_path / "real.py", tmp_path / "link.py"
    real.touch()
    link.symlink_to(real)
    assert both_names([str(link)]) == {str(link), os.path.realpath(real)}


def test_what_was_written_since_a_time_is_found(tmp_path: Path) -> None:
    old, new, of_the_future = (tmp_path / name for name in ("old", "new", "of_the_future"))
    for path, written_at in ((old, 100.0), (new, 150.0), (of_the_future, 900.0)):
        path.touch()
        os.utime(path, (written_at, written_at))
    files = [str(old), str(new), str(of_the_future), str(tmp_path / "absent")]
    assert modified(files, since=100.0, until=200.0) == [str(new)]


def test_a_path_that_does_not_exist_is_named_with_its_origin(tmp_path: Path) -> None:
    check_exist([str(tmp_path)], "option --watch")
    with pytest.raises(ConfigError, match=r"^option --watch: /absent/file does not exist"):
        check_exist([str(tmp_path), "/absent/file"], "option --watch")


# Files that the code itself writes -----------------------------------------------------------------------------------


def loads(rewritten: Rewritten, *began: float) -> None:
    for at in began:
        rewritten.load_began(at)
        rewritten.load_ended(at + 1.0)


def test_what_is_written_in_each_of_several_loads_is_the_code_s_own() -> None:
    rewritten = Rewritten()
    for at in range(10, 10 * LOADS, 10):
        loads(rewritten, at)
        assert rewritten.edited({"/version.py": at + 0.5, "/views.py": at + 2.0}) == ["/version.py", "/views.py"]
        assert rewritten.own == set()
    loads(rewritten, 100.0)
    assert rewritten.edited({"/version.py": 100.5, "/views.py": 102.0}) == ["/views.py"]
    assert rewritten.own == {"/version.py"}
    assert rewritten.edited({"/version.py": 105.0}) == ["/version.py"], "somebody has edited it"
    loads(rewritten, 110.0)
    assert rewritten.edited({"/version.py": 110.5}) == []


def test_while_it_is_loaded() -> None:
    rewritten = Rewritten()
    loads(rewritten, *(10.0 * number for number in range(1, LOADS)))
    for number in range(1, LOADS):
        rewritten.edited({"/version.py": 10.0 * number + 0.5})
    rewritten.load_began(100.0)
    assert rewritten.edited({"/version.py": 100.5}) == []


def test_an_edit_in_every_other_load_is_one() -> None:
    rewritten = Rewritten()
    for number in range(10):
        loads(rewritten, 10.0 * number)
        written_at = 10.0 * number + (0.5 if number % 2 else 5.0)
        assert rewritten.edited({"/views.py": written_at}) == ["/views.py"]


def test_what_is_gone_asks_for_a_reload() -> None:
    rewritten = Rewritten()
    for number in range(1, 6):
        loads(rewritten, 10.0 * number)
        assert rewritten.edited({"/views.py": 0.0}) == ["/views.py"]
