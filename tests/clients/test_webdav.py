"""WsgiDAV, asked by litmus: the suite that WebDAV servers are tested with (RFC 4918), through reloads too."""

import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from clients.programs import run
from integration.server import DEADLINE, Server, until

APPS = Path(__file__).parent / "apps"
SUITES = ("basic", "copymove", "props", "locks", "http")
ON_DISK = ("basic", "copymove", "http")  # properties and locks are in the memory of a generation


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Server]:
    """A server of an empty directory."""
    root = tmp_path / "root"
    root.mkdir()
    with Server("dav_pages:application", "-s", "1", "-t", "4", cwd=APPS, env={"DAV_ROOT": str(root)}) as server:
        yield server


def check(site: Server, directory: Path, suites: tuple[str, ...]) -> None:
    """Run suites, which leave their records in `directory`; each ends without a failure or a warning."""
    out = run("litmus", f"{site.url}/", timeout=10 * DEADLINE, cwd=directory, env={"TESTS": " ".join(suites)}).decode()
    assert re.findall(r"summary for `(\w+)': of \d+ tests run: \d+ passed, 0 failed", out) == list(suites), out
    assert "WARNING" not in out


def test_each_suite(site: Server, tmp_path: Path) -> None:
    check(site, tmp_path, SUITES)


def test_suites_through_a_reload(site: Server, tmp_path: Path) -> None:
    """They take less time than a reload does, so they are run until its end."""
    mark = site.mark()
    site.signal(signal.SIGHUP)

    def finished() -> bool:
        check(site, tmp_path, ON_DISK)
        return any(" reload finished " in line for line in site.err.since(mark))

    until(finished, "the end of the reload", 10 * DEADLINE)
    check(site, tmp_path, ON_DISK)
