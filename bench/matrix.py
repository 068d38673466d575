"""All measurements of a run in their order: for each workload A B C A B C …, so that noise meets every server alike."""

import sys
import time
from collections.abc import Callable, Sequence

from bench.measure import Bench, measure
from bench.results import Measurement
from bench.servers import LIMIT, SERVERS
from bench.workloads import WORKLOADS, Workload

Plan = list[tuple[str, Workload, int]]


def plan(servers: Sequence[str], workloads: Sequence[str], repetitions: int) -> Plan:
    """List server, workload and repetition (from 1) of each measurement."""
    return [
        (server, WORKLOADS[workload], repetition)
        for workload in workloads
        for repetition in range(1, repetitions + 1)
        for server in servers
        if server != LIMIT or WORKLOADS[workload].limit
    ]


def run(bench: Bench, wanted: Plan, versions: dict[str, str], done: Callable[[Measurement], None]) -> None:
    """Make the measurements of a plan, with a line on stderr before and after each.

    A server that is not installed, or had a problem with a workload, is not tried again with that workload.

    :param versions: package to version, of what is installed.
    :param done: called with each measurement.
    """
    failed: set[tuple[str, str]] = set()
    begin = time.monotonic()
    for number, (server, workload, repetition) in enumerate(wanted):
        label = f"[{number + 1:{len(str(len(wanted)))}}/{len(wanted)}] {workload.name:<10} {server:<16} {repetition}"
        if (server, workload.name) in failed:
            continue
        _show(f"{label}{_remaining(number, len(wanted), time.monotonic() - begin)}", end="\r")
        if server != LIMIT and SERVERS[server].package not in versions:
            measurement = _not_installed(server, workload, repetition)
        else:
            measurement = measure(bench, server, workload, repetition)
        _show(f"{label}  {_line(measurement)}", end="\n")
        if measurement.problem:
            failed.add((server, workload.name))
        done(measurement)


def _not_installed(server: str, workload: Workload, repetition: int) -> Measurement:
    problem = f"not installed ({SERVERS[server].package})"
    return Measurement(server=server, workload=workload.name, repetition=repetition, problem=problem)


def _remaining(number: int, total: int, elapsed: float) -> str:
    return f"  about {elapsed / number * (total - number) / 60:.0f} min left" if number else ""


def _line(measurement: Measurement) -> str:
    if measurement.problem or measurement.rate is None or measurement.cpu_us is None:
        return measurement.problem
    latency = "" if measurement.p99_ms is None else f"  p99 {measurement.p99_ms:,.2f} ms"
    return f"{measurement.rate:>9,.0f} req/s {measurement.cpu_us:>8,.1f} µs CPU{latency}"


def _show(text: str, end: str) -> None:
    if end == "\n" or sys.stderr.isatty():
        sys.stderr.write(f"{text:<100}".rstrip() + end if end == "\n" else f"{text:<100}{end}")
        sys.stderr.flush()
