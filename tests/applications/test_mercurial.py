"""Mercurial over HTTP (``hgweb``, which is what ``hg serve`` serves): clone, push and pull, through reloads."""

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from applications.holding import end, held, reload_meanwhile, serve
from integration.gate import Gate
from integration.server import Server

SIZE = 20 << 20  # bytes, which cannot be compressed
HG = Path(sys.executable).parent / "hg"
SETTINGS = "[web]\nallow-push = *\npush_ssl = no\n"


def begin(*args: str | Path, cwd: Path) -> "subprocess.Popen[str]":
    """Start hg without the settings of whoever runs the tests."""
    assert HG.exists(), "install the dependency group applications: mercurial"
    env = {**os.environ, "HGRCPATH": "", "HGUSER": "A <a@example.org>", "HGPLAIN": "1"}
    pipe = subprocess.PIPE
    return subprocess.Popen([HG, *args], cwd=cwd, env=env, stdout=pipe, stderr=subprocess.STDOUT, text=True)


def hg(*args: str | Path, cwd: Path) -> str:
    return end(begin(*args, cwd=cwd))


@dataclass(frozen=True, slots=True)
class Site:
    """A server of a repository that is empty, and one with two commits."""

    server: Server
    served: Path
    mine: Path


@pytest.fixture
def site(tmp_path: Path, gate: Gate) -> Iterator[Site]:
    served, mine = tmp_path / "served", tmp_path / "mine"
    for directory in (served, mine):
        directory.mkdir()
        hg("init", cwd=directory)
    (served / ".hg" / "hgrc").write_text(SETTINGS)
    (mine / "small").write_text("small\n")
    hg("commit", "--addremove", "-m", "small", cwd=mine)
    (mine / "large").write_bytes(os.urandom(SIZE))
    hg("commit", "--addremove", "-m", "large", cwd=mine)
    with serve("hg_pages:application", gate, {"HG_SERVED": str(served), "HGRCPATH": ""}) as server:
        yield Site(server, served, mine)


def test_push_clone_and_pull_with_reloads_under_way(site: Site, gate: Gate, tmp_path: Path) -> None:
    cloned = tmp_path / "cloned"
    with held(gate, "POST /?cmd=unbundle"):
        push = begin("push", site.server.url, cwd=site.mine)
        reload_meanwhile(site.server, gate)
        end(push)
    hg("verify", cwd=site.served)
    with held(gate, "GET /?cmd=getbundle"):
        clone = begin("clone", site.server.url, cloned, cwd=tmp_path)
        reload_meanwhile(site.server, gate)
        end(clone)
    assert (cloned / "large").read_bytes() == (site.mine / "large").read_bytes()
    (cloned / "small").write_text("changed\n")
    hg("commit", "-m", "changed", cwd=cloned)
    hg("push", cwd=cloned)
    hg("pull", "--update", site.server.url, cwd=site.mine)
    assert (site.mine / "small").read_text() == "changed\n"


def test_its_pages_are_the_same_behind_a_reload(site: Site) -> None:
    hg("push", site.server.url, cwd=site.mine)
    paths = ("/", "/rev/tip?style=raw", "/file/tip", "/raw-file/tip/small", "/archive/tip.zip", "/?style=atom")

    def pages() -> list[tuple[int, int]]:
        answers = [httpx.get(site.server.url + path) for path in paths]
        return [(answer.status_code, len(answer.content)) for answer in answers]

    before = pages()
    assert all(length for _, length in before)
    assert site.server.reload()
    assert pages() == before
