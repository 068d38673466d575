"""All measurements of a run in their order, so that noise meets every server alike and comparisons are near in time.

For each workload A B C A B C …; workloads that are compared with each other (``targets.together``) share their rounds,
and those of one server follow each other.
"""

import sys
import time
from collections.abc import Callable, Container, Sequence

from bench import targets
from bench.measure import Bench, measure
from bench.results import Measurement
from bench.servers import LIMIT, SERVERS
from bench.workloads import WORKLOADS, Workload

Plan = list[tuple[str, Workload, int]]

_AROUND_SECONDS = 2.7
"""Starting, coming to rest, warming up, ending: of most servers, on a machine of 2023."""

_AB_SECONDS = 3.0
_IDLE_SECONDS = 4.0


def plan(
    servers: Sequence[str],
    workloads: Sequence[str],
    repetitions: int,
    only: Container[tuple[str, str]] | None = None,
) -> Plan:
    """List server, workload and repetition (from 1) of each measurement.

    :param only: workload and server of those that are wanted; None wants all.
    """
    return [
        (server, WORKLOADS[workload], repetition)
        for group in targets.together(workloads)
        for repetition in range(1, repetitions + 1)
        for server in servers
        for workload in group
        if _takes_part(server, WORKLOADS[workload]) and (only is None or (workload, server) in only)
    ]


def _takes_part(server: str, workload: Workload) -> bool:
    return workload.limit if server == LIMIT else SERVERS[server].takes_part(workload)


def estimate(wanted: Plan, seconds: int) -> float:
    """Guess how many seconds a plan takes; `seconds` of them wrk runs each time."""
    return sum(_one(server, workload, seconds) for server, workload, _ in wanted)


def _one(server: str, workload: Workload, seconds: int) -> float:
    if server == LIMIT:
        return 1.1 * seconds
    load = _AB_SECONDS if workload.tool == "ab" else seconds
    return _AROUND_SECONDS + load + (_IDLE_SECONDS if workload.idle else 0.0)


def run(bench: Bench, wanted: Plan, versions: dict[str, str], done: Callable[[Measurement], None]) -> None:
    """Make the measurements of a plan, with a line on stderr before and after each.

    A server that is not installed, or had a problem with a workload, is not tried again with that workload.

    :param versions: package to version, of what is installed.
    :param done: called with each measurement.
    """
    failed: set[tuple[str, str]] = set()
    begin = time.monotonic()
    total = estimate(wanted, bench.seconds)
    _show(f"{len(wanted)} measurements, about {total / 60:.0f} min", end="\n")
    for number, (server, workload, repetition) in enumerate(wanted):
        if (server, workload.name) in failed:
            continue
        label = f"[{number + 1:{len(str(len(wanted)))}}/{len(wanted)}] {workload.name:<11} {server:<16} {repetition}"
        rest = estimate(wanted[number:], bench.seconds)
        left = f"{_left(time.monotonic() - begin, total - rest, rest) / 60:3.0f} min left"
        _show(f"{label}  {left}", end="\r")
        if server != LIMIT and SERVERS[server].package not in versions:
            measurement = _not_installed(server, workload, repetition)
        else:
            measurement = measure(bench, server, workload, repetition)
        _show(f"{label}  {left}  {_line(measurement)}", end="\n")
        if measurement.problem:
            failed.add((server, workload.name))
        done(measurement)


def _left(elapsed: float, expected: float, rest: float) -> float:
    """Correct the guess for the rest by how right it was so far; `expected` seconds for what took `elapsed`."""
    return rest * (elapsed + 60.0) / (expected + 60.0)  # the minute keeps the first measurements from deciding


def _not_installed(server: str, workload: Workload, repetition: int) -> Measurement:
    problem = f"not installed ({SERVERS[server].package})"
    return Measurement(server=server, workload=workload.name, repetition=repetition, problem=problem)


def _line(measurement: Measurement) -> str:
    if measurement.problem or measurement.rate is None or measurement.cpu_us is None:
        return measurement.problem
    latency = "" if measurement.p99_ms is None else f"  p99 {measurement.p99_ms:,.2f} ms"
    return f"{measurement.rate:>9,.0f} req/s {measurement.cpu_us:>8,.1f} µs CPU{latency}"


def _show(text: str, end: str) -> None:
    if end == "\n" or sys.stderr.isatty():
        sys.stderr.write(f"{text:<100}".rstrip() + end if end == "\n" else f"{text:<100}{end}")
        sys.stderr.flush()
