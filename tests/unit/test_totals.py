"""Totals of all workers: no count goes back, whoever dies."""

import random

from spawning.controller.fleet import Fleet
from spawning.controller.records import Source
from spawning.controller.totals import MOST_RELOADS, Reload, Totals
from spawning.ipc.messages import Born, LoadFailed, Ready, Report
from spawning.settings import Settings

REPORT = Report(
    5, 1, 2, 3, 4, inline=3, refused=2, lost={"access": 7}, statuses={"GET": {"200": 4, "500": 1}}, latency=[0, 5],
    seconds=0.5, waits=[1], waited=0.25, sent=100,
)  # fmt: skip


def test_reports_are_added_up_by_name() -> None:
    totals = Totals()
    totals.add(REPORT)
    more = Report(1, 0, 0, 0, 0, statuses={"POST": {"200": 1}, "GET": {"200": 1}}, latency=[1, 0, 2], lost={"error": 1})
    both = totals.plus([more])
    assert (both.requests, both.errors, both.inline, both.refused, both.sent) == (6, 1, 3, 2, 100)
    assert (both.latency, both.waits) == ([1, 5, 2], [1])
    assert both.statuses == {"GET": {"200": 5, "500": 1}, "POST": {"200": 1}}
    assert both.lost == {"access": 7, "error": 1}
    assert totals.statuses == {"GET": {"200": 4, "500": 1}}  # those of the departed are as they were


def fleet() -> Fleet:
    fleet = Fleet()
    fleet.generation_started(1, Settings(args=("site:app",)), "start", 100, 10.0)
    return fleet


def start(fleet: Fleet, pid: int) -> Source:
    source = fleet.next_source(1)
    fleet.worker_forked(source, 11.0)
    fleet.apply(source, Born(pid), 11.0)
    fleet.apply(source, Ready(), 11.0)
    return source


def test_no_count_goes_back_when_workers_die() -> None:
    records, chance, before = fleet(), random.Random(16), 0
    living = {pid: (start(records, pid), 0) for pid in range(1000, 1004)}
    for step in range(500):
        pid = chance.choice(list(living))
        source, requests = living[pid]
        if chance.random() < 0.2:
            del living[pid]
            records.exited(pid, chance.choice([0, 1, -9]), 12.0)
            living[2000 + step] = (start(records, 2000 + step), 0)
        else:
            requests += chance.randrange(10)
            living[pid] = (source, requests)
            records.apply(source, Report(requests, 0, 0, 0, 0, latency=[requests]), 12.0)
        total = records.total
        assert total.requests >= before
        assert sum(total.latency) == total.requests
        before = total.requests


def test_exits_are_counted_by_cause() -> None:
    records = fleet()
    for pid, (state, status) in enumerate(
        [("", 0), ("told", 0), ("told", 1), ("", 1), ("", -11), ("killed", -9), ("told", -9)], 1000
    ):
        source = start(records, pid)
        if state == "told":
            records.told_to_leave(source, 20.0)
        elif state == "killed":
            records.killed(source)
        records.exited(pid, status, 12.0)
    nameless = records.next_source(1)
    records.worker_forked(nameless, 11.0)
    records.stillborn(nameless, 12.0)
    assert records.totals.exits == {"retired": 2, "status": 2, "signal": 2, "killed": 1, "unknown": 1}


def test_reloads_are_remembered_and_the_first_start_is_none() -> None:
    records = fleet()
    generation = records.generations[1]
    records.reload_ended(generation, "finished", 1e9, 11.0)
    assert records.totals.reloads == []
    records.has_served = True
    for number in range(MOST_RELOADS + 5):
        records.reload_ended(generation, "refused", 1e9 + number, 11.5, LoadFailed("app", "no", "x" * 100_000 + "end"))
    assert records.totals.results == {"refused": MOST_RELOADS + 5}
    assert len(records.totals.reloads) == MOST_RELOADS
    last = records.totals.reloads[-1]
    assert (last.at, last.seconds, last.reason) == (1e9 + MOST_RELOADS + 4, 1.5, "no")
    assert last.traceback.endswith("end")
    assert len(last.traceback) == 20_000
    assert last == Reload(1, "start", last.at, 1.5, "refused", "no", last.traceback)
