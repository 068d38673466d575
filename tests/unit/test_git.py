"""Reading a repository's files as git lays them out; no git is needed."""

from pathlib import Path

import pytest

from spawning.controller.git import Repository, check
from spawning.errors import ConfigError

ONE, TWO = "1" * 40, "2" * 64


def make(path: Path, head: str = "ref: refs/heads/main") -> Path:
    """Make a repository with nothing but a HEAD; give its ``.git``."""
    directory = path / ".git"
    directory.mkdir(parents=True)
    put(directory / "HEAD", head)
    return directory


def put(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{text}\n")


def commit(path: Path) -> str | None:
    repository = Repository.around(str(path))
    assert repository is not None
    return repository.commit()


def test_a_branch_is_a_file(tmp_path: Path) -> None:
    directory = make(tmp_path)
    assert commit(tmp_path) is None
    put(directory / "refs/heads/main", ONE)
    put(directory / "packed-refs", f"# pack-refs with: peeled\n{TWO} refs/heads/main")
    assert commit(tmp_path) == ONE


def test_or_a_line(tmp_path: Path) -> None:
    directory = make(tmp_path)
    put(directory / "packed-refs", f"{ONE} refs/heads/not/refs/heads/main2\n{TWO} refs/heads/main\n^{ONE}")
    assert commit(tmp_path) == TWO


def test_or_leads_to_another(tmp_path: Path) -> None:
    directory = make(tmp_path)
    put(directory / "refs/heads/main", "ref: refs/heads/other")
    put(directory / "refs/heads/other", ONE)
    assert commit(tmp_path) == ONE
    put(directory / "refs/heads/other", "ref: refs/heads/main")
    assert commit(tmp_path) is None


def test_a_commit_that_is_checked_out_without_a_branch(tmp_path: Path) -> None:
    make(tmp_path, TWO)
    (tmp_path / "deep" / "er").mkdir(parents=True)
    assert commit(tmp_path / "deep" / "er") == TWO


def test_a_further_work_tree_has_its_own_head_and_shares_the_branches(tmp_path: Path) -> None:
    directory = make(tmp_path / "main")
    put(directory / "refs/heads/side", ONE)
    put(directory / "worktrees/side/HEAD", "ref: refs/heads/side")
    put(directory / "worktrees/side/commondir", "../..")
    put(tmp_path / "side/.git", "gitdir: ../main/.git/worktrees/side")
    assert commit(tmp_path / "side") == ONE


@pytest.mark.parametrize("name", ["index.lock", "MERGE_HEAD", "rebase-merge/done"])
def test_an_operation_under_way_is_seen(tmp_path: Path, name: str) -> None:
    directory = make(tmp_path, ONE)
    repository = Repository.around(str(tmp_path))
    assert repository is not None
    assert not repository.is_busy
    put(directory / name, "")
    assert repository.is_busy


def test_no_repository_and_one_that_cannot_be_read_are_named_with_the_option(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"^option --reload: {tmp_path} is not in a git repository"):
        check(str(tmp_path), "option --reload")
    (make(tmp_path, ONE) / "reftable").mkdir()
    with pytest.raises(ConfigError, match="reftable"):
        check(str(tmp_path), "option --reload")
