"""Sentry's SDK in an application: it makes as many events as there are errors, and people pay by event."""

import re
from functools import partial
from pathlib import Path

import pytest

from integration.client import fetch
from integration.server import Server, until

APPS = Path(__file__).parent / "apps"


@pytest.mark.parametrize("application", ["sentry_pages:app", "sentry_pages:watched"])
def test_an_exception_is_one_event(application: str, tmp_path: Path) -> None:
    """Before a reload and behind it."""
    sent = tmp_path / "sent"
    with Server(application, "-s", "1", "-t", "2", cwd=APPS, env={"SENT_FILE": str(sent)}) as server:
        for errors in (1, 2):
            assert fetch(server.port, "/fail").status == 500
            assert fetch(server.port, "/write").status == 200
            until(partial(sent_both, sent, errors), "the transactions of both requests")
            assert items(sent).count("event") == errors
            assert server.reload()
        server.wait_for_log("^three$")


def sent_both(sent: Path, times: int) -> bool:
    """Whether the transactions of both requests have been sent so many times."""
    return items(sent).count("transaction") == 2 * times


def items(sent: Path) -> list[str]:
    """List what has been sent."""
    return sent.read_text().split() if sent.exists() else []


def test_what_flask_logs_has_one_time_and_one_level(tmp_path: Path) -> None:
    with Server("sentry_pages:app", "-s", "1", cwd=APPS, env={"SENT_FILE": str(tmp_path / "sent")}) as server:
        mark = server.mark()
        assert fetch(server.port, "/log").status == 200
        server.wait_for_log("said by the application$", after=mark)
        (line,) = server.err.since(mark)
    assert re.fullmatch(r"\[[-\d]+ [:,\d]+\] WARNING in sentry_pages: said by the application", line)
