"""An event stream in a browser: what EventSource gets, and that it goes on behind a reload."""

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from clients.browser import PATIENCE, browser
from clients.proxies import HAProxy, Nginx, Proxy
from integration.gate import Gate
from integration.server import Server

APPS = Path(__file__).parent / "apps"


class Site:
    """A server of the page, which a browser has open; see ``apps/event_pages.py``."""

    def __init__(self, server: Server, directory: Path) -> None:
        self._server = server
        self._version = directory / "version"

    def wait_for(self, *events: str) -> None:
        """Wait until the page has told of each of these events."""
        for event in events:
            self._server.wait_for_log(f"^told: (event {event}|.* gave up)$", PATIENCE)
        assert self.told() >= set(events)

    def told(self) -> set[str]:
        """Return the events that the page has told of; none twice."""
        told = re.findall(r"^told: (?:event )?(.+)$", self._server.log(), re.MULTILINE)
        assert len(told) == len(set(told)), told
        return set(told)

    def reload(self, version: int) -> None:
        self._version.write_text(str(version))
        assert self._server.reload()


@contextlib.contextmanager
def open_site(directory: Path, *options: str, behind: type[Proxy] | None = None) -> Iterator[Site]:
    """Start a server, perhaps a proxy in front of it, and a browser."""
    (directory / "version").write_text("1")
    variables = {"VERSION_FILE": str(directory / "version"), "GATE": str(directory)}
    with Server("event_pages:application", "-s", "1", "-t", "4", *options, cwd=APPS, env=variables) as server:
        try:
            front = behind(directory, server.port) if behind else contextlib.nullcontext(server)
            with front as asked, browser(asked.url, directory):
                yield Site(server, directory)
        finally:
            (directory / "leave").write_bytes(b".")  # for the stream that nobody reads any more


@pytest.mark.parametrize("proxy", [None, Nginx, HAProxy])
def test_a_stream_under_way_at_a_reload_goes_on_and_the_next_is_of_the_new_code(
    proxy: type[Proxy] | None, tmp_path: Path, gate: Gate
) -> None:
    with open_site(tmp_path, behind=proxy) as site:
        site.wait_for("1 of version 1")
        site.reload(version=2)
        gate.open()
        site.wait_for("2 of version 1", "3 of version 2")
        gate.open()
        site.wait_for("4 of version 2", "5 of version 2")
        assert len(site.told()) == 5


def test_a_stream_that_does_not_end_is_ended_behind_a_reload_and_the_browser_comes_back(
    tmp_path: Path, gate: Gate
) -> None:
    with open_site(tmp_path, "--deadman_timeout", "1") as site:
        site.wait_for("1 of version 1")
        site.reload(version=2)
        site.wait_for("2 of version 2")
        gate.open()
        site.wait_for("3 of version 2", "4 of version 2")
        assert len(site.told()) == 4
