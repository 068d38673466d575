"""Names of files and directories: through links, before they exist, after they have moved."""

import os
from pathlib import Path

import pytest

from spawning.controller.paths import identity, links_above, modified, nearest, working_directory


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """A release directory, and ``current`` beside it that leads there."""
    (tmp_path / "releases" / "1").mkdir(parents=True)
    (tmp_path / "current").symlink_to("releases/1")
    return tmp_path / "current"


def test_the_working_directory_is_known_by_the_name_that_the_shell_has_for_it(release: Path) -> None:
    here = os.getcwd()
    os.chdir(release)
    try:
        assert working_directory({"PWD": str(release)}) == str(release)
        for other in ("", "/", str(release / "absent"), "."):
            assert working_directory({"PWD": other}) == str(release.resolve())
    finally:
        os.chdir(here)


def test_links_on_the_way_are_found_also_behind_links(release: Path, tmp_path: Path) -> None:
    (tmp_path / "site").symlink_to(release)
    found = links_above([str(tmp_path / "site" / "package" / "module.py")])
    assert {str(tmp_path / "site"), str(release)} <= found
    assert str(tmp_path / "releases") not in found


def test_what_does_not_exist_is_waited_for_where_it_would_begin(tmp_path: Path) -> None:
    assert nearest(str(tmp_path / "a" / "b" / "c.py")) == str(tmp_path / "a")
    assert nearest(str(tmp_path / "c.py")) == str(tmp_path / "c.py")


def test_a_link_that_leads_elsewhere_is_another_directory(release: Path, tmp_path: Path) -> None:
    before = identity(str(release))
    (tmp_path / "releases" / "2").mkdir()
    release.unlink()
    release.symlink_to("releases/2")
    assert identity(str(release)) != before
    assert identity(str(tmp_path / "absent")) == (0, 0)


def test_a_directory_is_not_modified_by_what_is_created_in_it(release: Path, tmp_path: Path) -> None:
    (release / "file").touch()
    files = [str(release), str(release.resolve()), str(release / "file")]
    assert modified(files, since=1.0, until=2.0**40) == [str(release), str(release / "file")]
