import os
from pathlib import Path

import pytest
from watchfiles import Change

from spawning.controller.paths import both_names, modified
from spawning.controller.triggers import check_exist
from spawning.controller.watch import FileFilter
from spawning.errors import ConfigError


def test_only_the_files_asked_for_count() -> None:
    wanted = FileFilter(frozenset({"/site/app.py"}))
    assert wanted(Change.modified, "/site/app.py")
    assert wanted(Change.deleted, "/site/app.py")
    assert not wanted(Change.modified, "/site/app.pyc")


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
