"""The page, made of what a hostile client, a broken application and an empty service give."""

from time import monotonic
from typing import Any

import pytest

from spawning.controller.fleet import Fleet
from spawning.controller.plan import Wanted
from spawning.controller.records import Source
from spawning.controller.snapshot import Situation, full_snapshot
from spawning.ipc.messages import Born, Details, LoadFailed, Ready, Report
from spawning.settings import Settings
from spawning.status.history import MOST_POINTS, POINT_SECONDS, History
from spawning.status.hub import View
from spawning.status.page import document, fragment
from spawning.status.plots import Line, plot

HOSTILE = "</script><script>alert('x')</script>\x1b[31m\u202e\"'&"


def snapshot(records: Fleet, **more: Any) -> dict[str, Any]:
    return {**full_snapshot(Situation(Wanted(), "http://127.0.0.1:8080", 0.0), records, 20.0), **more}


def fleet() -> Fleet:
    records = Fleet(has_served=True)
    records.generation_started(1, Settings(args=("site:app",), status_token="do not show me"), "start", 100, 10.0)
    source = records.next_source(1)
    records.worker_forked(source, 11.0)
    records.apply(source, Born(4711), 11.0)
    records.apply(source, Ready(), 11.0)
    records.apply(source, Report(1234567, 1, 2, 3, 4, inline=617283, threads=5, latency=[1234567]), 12.0)
    return records


def view(values: dict[str, Any], since: float | None = None) -> View:
    return View(1, values, History().add(values), monotonic() if since is None else since)


def test_nothing_that_others_have_written_is_markup_or_control() -> None:
    records = fleet()
    failure = LoadFailed("app", HOSTILE, HOSTILE)
    records.reload_ended(records.generations[1], "refused", 1e9, 12.0, failure)
    request = {"thread": HOSTILE, "method": HOSTILE, "path": HOSTILE * 100, "address": HOSTILE, "seconds": 1.0}
    values = snapshot(records)
    details = {Source(1, 1): Details(0, [request] * 80)}
    values = full_snapshot(Situation(Wanted(), HOSTILE, 0.0), records, 20.0, details)
    page = document(view(values))
    assert "<script>alert" not in page
    assert "\x1b" not in page
    assert "\u202e" not in page
    assert "and 30 more" in page


def test_secrets_are_hidden() -> None:
    values = snapshot(fleet())
    assert "do not show me" not in document(view(values))
    assert values["settings"]["status_token"] == "(hidden)"


def test_a_service_that_has_nothing_yet() -> None:
    page = document(view(snapshot(Fleet())))
    assert "There is none." in page
    assert "The workers have not said yet." in page


def test_figures_are_shown_as_people_read_them() -> None:
    page = fragment(view(snapshot(fleet())))
    assert "1,234,567" in page
    assert "50 %" in page
    assert "2 of 5" in page
    assert "<script" not in page


def test_a_controller_that_is_silent_is_the_first_thing_that_is_said() -> None:
    page = fragment(view(snapshot(fleet()), since=monotonic() - 30))
    assert "silent" in page
    assert "the controller has said nothing for 30 s" in page


def test_the_last_minutes_are_drawn() -> None:
    history, records = History(), fleet()
    for step in range(MOST_POINTS + 1):
        trend = history.add(snapshot(records, uptime=step * POINT_SECONDS, at=1e9 + step * POINT_SECONDS))
    page = fragment(View(1, snapshot(records), trend, monotonic()))
    assert page.count("<svg") == 3
    assert "NaN" not in page
    assert "nan" not in page.replace("finance", "")


@pytest.mark.parametrize("values", [[], [None, None], [0.0, 0.0], [1e-6, 1e6], [5.0]])
@pytest.mark.parametrize("logarithmic", [True, False])
def test_any_values_can_be_drawn(values: list[float | None], logarithmic: bool) -> None:
    times = [float(at) for at in range(len(values))]
    svg = plot("Title <b>", times, [Line("p50", values)], [0.5, 1e12], 900.0, str, logarithmic=logarithmic)
    assert "Title &lt;b&gt;" in svg
    assert svg.count("<svg") == svg.count("</svg>") == 1
    assert "inf" not in svg
