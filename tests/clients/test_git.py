"""git over smart HTTP: clones, and pushes whose body git sends in chunks, through reloads too."""

import hashlib
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from clients.programs import program
from integration.gate import Gate
from integration.server import DEADLINE, Server

APPS = Path(__file__).parent / "apps"
SIZE = 50 << 20  # bytes; git sends from 1 MiB on in chunks, and the server keeps such a body in a file
TIMEOUT = 10 * DEADLINE  # seconds; for programs that write and check 50 MB on a loaded machine

# Said in variables, so that they hold for the programs that git runs too; nothing else that is configured here does.
SETTINGS = {
    "user.name": "A",
    "user.email": "a@example.org",
    "init.defaultBranch": "main",
    "core.compression": "0",  # random bytes are not worth it
    "gc.auto": "0",
    "http.receivepack": "true",
    "http.proxy": "",
}

# Of a hook: to be counted by the test at its gate, and to wait there.
WAIT = "#!/bin/sh\nprintf . >'{0}/entered'\nhead -c 1 <'{0}/leave' >&2\n"


def environment(settings: dict[str, str]) -> dict[str, str]:
    """Return the variables that configure git."""
    told = {"GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull, "GIT_TERMINAL_PROMPT": "0"}
    for number, (name, value) in enumerate(settings.items()):
        told |= {f"GIT_CONFIG_KEY_{number}": name, f"GIT_CONFIG_VALUE_{number}": value}
    return told | {"GIT_CONFIG_COUNT": str(len(settings))}


def begin(*args: str | Path, cwd: Path) -> subprocess.Popen[bytes]:
    """Start git in a directory; it writes what it sends and receives, without content, to ``trace`` beside that."""
    variables = environment(SETTINGS) | {"GIT_TRACE_CURL": str(cwd.parent / "trace"), "GIT_TRACE_CURL_NO_DATA": "1"}
    command = [program("git"), *map(str, args)]
    return subprocess.Popen(
        command, cwd=cwd, env=os.environ | variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


def end(process: subprocess.Popen[bytes]) -> str:
    """Wait for git's end and return what it wrote; any exit status but 0 fails."""
    try:
        out = process.communicate(timeout=TIMEOUT)[0].decode()
    finally:
        process.kill()
    assert process.returncode == 0, f"{process.args!r}: status {process.returncode}\n{out}"
    return out


def git(*args: str | Path, cwd: Path) -> str:
    """Run git to its end."""
    return end(begin(*args, cwd=cwd)).strip()


@dataclass(frozen=True, slots=True)
class Site:
    """A server of a bare repository, and a repository with a commit of 50 MB that it does not have yet."""

    server: Server
    bare: Path
    mine: Path

    @property
    def url(self) -> str:
        return f"{self.server.url}/bare.git"

    def head(self) -> str:
        """Return the commit that the server has."""
        return git("rev-parse", "main", cwd=self.bare)


@pytest.fixture
def site(tmp_path: Path, gate: Gate) -> Iterator[Site]:
    """Clones wait at the gate where the server packs what they get; pushes, where it is to accept what has come."""
    bare, mine = tmp_path / "served" / "bare.git", tmp_path / "mine"
    for directory in (bare, mine):
        directory.mkdir(parents=True)
    git("init", "--bare", cwd=bare)
    git("init", cwd=mine)
    (mine / "small").write_text("small\n")
    commit(mine, "small")
    git("push", bare, "main", cwd=mine)
    (mine / "large").write_bytes(os.urandom(SIZE))
    commit(mine, "large")
    packing = script(tmp_path / "packing", tmp_path, 'exec "$@"\n')
    variables = environment(SETTINGS | {"uploadpack.packObjectsHook": str(packing)})
    variables |= {"GIT_PROJECT_ROOT": str(bare.parent)}
    with Server("git_pages:application", "-s", "1", "-t", "4", cwd=APPS, env=variables) as server:
        yield Site(server, bare, mine)


def commit(repository: Path, name: str) -> None:
    git("add", name, cwd=repository)
    git("commit", "-m", name, cwd=repository)


def script(path: Path, directory: Path, then: str = "") -> Path:
    """Write a program that waits at the gate in `directory`."""
    path.write_text(WAIT.format(directory) + then)
    path.chmod(0o755)
    return path


def test_a_push_in_chunks_and_a_clone_of_it(site: Site, gate: Gate, tmp_path: Path) -> None:
    git("push", site.url, "main", cwd=site.mine)
    assert "=> Send header: Transfer-Encoding: chunked" in (tmp_path / "trace").read_text()
    assert site.head() == git("rev-parse", "main", cwd=site.mine)
    gate.open()
    git("clone", site.url, tmp_path / "cloned", cwd=site.mine)
    assert digest(tmp_path / "cloned" / "large") == digest(site.mine / "large")
    git("fsck", cwd=site.bare)
    assert git("pull", cwd=tmp_path / "cloned") == "Already up to date."


def test_a_push_through_reloads(site: Site, gate: Gate, tmp_path: Path) -> None:
    """One while it sends, if the machine is so slow, and one while its last request is executed."""
    script(site.bare / "hooks" / "pre-receive", tmp_path)
    push = begin("push", site.url, "main", cwd=site.mine)
    assert site.server.reload()
    gate.wait_entered(timeout=TIMEOUT)
    assert site.server.reload()
    gate.open()
    end(push)
    assert site.head() == git("rev-parse", "main", cwd=site.mine)
    git("fsck", cwd=site.bare)


def test_a_clone_through_a_reload(site: Site, gate: Gate, tmp_path: Path) -> None:
    git("push", site.bare, "main", cwd=site.mine)
    clone = begin("clone", site.url, tmp_path / "cloned", cwd=site.mine)
    gate.wait_entered()
    assert site.server.reload()
    gate.open()
    end(clone)
    assert digest(tmp_path / "cloned" / "large") == digest(site.mine / "large")


def test_what_git_refuses_is_what_its_user_reads(site: Site) -> None:
    asked = begin("ls-remote", f"{site.server.url}/other.git", cwd=site.mine)
    out, _ = asked.communicate(timeout=DEADLINE)
    assert asked.returncode == 128
    assert b"not found" in out


def digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
