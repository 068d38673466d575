"""What a controller leaves to the program that replaces it, written and read again."""

import dataclasses
import json
import math

import pytest

from spawning.controller.fleet import Fleet
from spawning.controller.links import Unsent
from spawning.controller.plan import Service, Wanted
from spawning.controller.records import (
    Backoff,
    ForkServerStep,
    GenerationState,
    Process,
    Repair,
    Source,
    WorkerState,
    WorkerStep,
)
from spawning.controller.refusal import Refusal
from spawning.controller.state import VERSION, State, dumps, loads
from spawning.ipc.messages import Born, Loaded, LoadFailed, Ready, Report
from spawning.settings import Settings


def fleet() -> Fleet:
    """Make records that have something in every field: one generation serves, the next has failed to load."""
    fleet = Fleet(repairs=Backoff(0.2, 12.5, 12.3))
    fleet.generation_started(1, Settings(args=("site:app",), num_processes=2), "start", 100, 10.0)
    fleet.apply(Source(1), Loaded(["/site.py"], [], ["1:2:3"]), 11.0)
    for pid in (101, None):
        source = fleet.next_source(1)
        fleet.worker_forked(source, 11.5)
        if pid is not None:
            fleet.apply(source, Born(pid), 11.6)
            fleet.apply(source, Ready(["/late.py"]), 11.7)
            fleet.apply(
                source, Report(5, 1, 2, 3, 4, statuses={"GET": {"200": 5}}, latency=[1, 4], lost={"access": 1}), 12.0
            )
    fleet.generations[1].state = GenerationState.SERVING
    fleet.generations[1].helpers = [Process(103, 4711)]
    fleet.generations[1].first, fleet.generations[1].crashed = {1, 2}, {2}
    fleet.generations[1].repair = Repair.CHANGED
    fleet.generations[1].step_fork_server(ForkServerStep.WAS_PAUSED)
    fleet.generations[1].workers[1].step(WorkerStep.STARTED)
    fleet.has_served = True
    fleet.generation_started(2, Settings(args=("site:app",)), "SIGHUP", 102, 13.0)
    fleet.apply(Source(2), LoadFailed("app", "no", "Traceback", ["/site.py"]), 14.0)
    fleet.reload_ended(fleet.generations[2], "refused", 1e9, 14.0, LoadFailed("app", "no", "Traceback"))
    fleet.totals.add(Report(7, 1, 0, 0, 0, statuses={"POST": {"201": 7}}, latency=[7], waits=[1], waited=0.5))
    fleet.last_refusal = Refusal(2, "SIGHUP", 1e9, "no", "Traceback")
    return fleet


def state() -> State:
    return State(
        wanted=Wanted(generation=2, trigger="SIGHUP", extra=-1, service=Service.RUN),
        fleet=fleet(),
        channels={Source(1): 7, Source(1, 1): 8, Source(2): 9},
        handoff=(5, 6),
        listeners=[3, 4],
        activated=True,
        bound=Settings(args=("site:app",), port=0),
        pidfile="/run/site.pid",
        pidfile_lock=13,
        fence=14,
        control=(10, "/run/site.sock"),
        unsent=[Unsent(Source(1, 1), '{"":"Start"}', []), Unsent(Source(2), '{"":"ForkWorker","worker":3}', [11, 12])],
        foreign=[Process(99, 12345)],
    )


def contents(fleet: Fleet) -> dict[str, object]:
    return {item.name: getattr(fleet, item.name) for item in dataclasses.fields(fleet)}


def test_all_that_is_written_is_read_again() -> None:
    before, after = state(), loads(dumps(state()))
    assert contents(after.fleet) == contents(before.fleet)
    assert dataclasses.replace(after, fleet=before.fleet) == dataclasses.replace(before, fleet=before.fleet)
    assert after.fleet.generations[1].workers[1].state is WorkerState.SERVING
    assert after.fleet.generations[1].workers[2].kill_at == math.inf
    assert sorted(after.descriptors) == [3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14]


def test_a_new_fleet_too() -> None:
    written = dataclasses.replace(state(), fleet=Fleet(), pidfile=None, control=None, unsent=[])
    assert contents(loads(dumps(written)).fleet) == contents(Fleet())


def test_a_field_of_another_version_is_ignored_and_one_it_did_not_know_has_its_default() -> None:
    values = json.loads(dumps(state()))
    values["of_tomorrow"] = values["wanted"]["of_tomorrow"] = 1
    for name in ("pidfile", "pidfile_lock", "fence", "control", "unsent"):
        del values[name]
    del values["fleet"]["last_refusal"]
    after = loads(json.dumps(values).encode())
    assert after.pidfile is None
    assert after.pidfile_lock < 0
    assert after.fence < 0
    assert after.control is None
    assert after.unsent == []
    assert after.fleet.last_refusal is None
    assert after.wanted.trigger == "SIGHUP"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": VERSION + 1}, f"version {VERSION + 1}, not {VERSION}"),
        ({"wanted": {"service": "SLEEP"}}, "does not know: KeyError"),
        ({"handoff": [1, 2, 3]}, "zip"),
        ({"fleet": 17}, "does not know: AttributeError"),
    ],
)
def test_what_cannot_be_understood_is_an_error(change: dict[str, object], message: str) -> None:
    values = {**json.loads(dumps(state())), **change}
    with pytest.raises(ValueError, match=message):
        loads(json.dumps(values).encode())


def test_a_value_that_could_not_be_read_again_is_not_written() -> None:
    strange = dataclasses.replace(state(), pidfile=object())  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="cannot be handed on"):
        dumps(strange)
