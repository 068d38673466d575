"""The results as Markdown: where they were made, the targets, a table for each workload, the command lines."""

from collections.abc import Iterable, Sequence
from typing import Any

from bench.results import Measurement, Results, Summary
from bench.servers import LIMIT, SERVERS
from bench.targets import HIGHER_IS_BETTER, OURS, Summaries, Verdict, judge
from bench.workloads import WORKLOADS

_COLUMNS = {
    "rate": ("requests/s", ",.0f"),
    "cpu_us": ("CPU µs/request", ",.1f"),
    "p50_ms": ("p50 ms", ",.2f"),
    "p99_ms": ("p99 ms", ",.2f"),
    "pss_mb": ("PSS MB", ",.1f"),
    "start_s": ("start s", ",.2f"),
}
"""Metric to heading and format."""

_OVERVIEW = {
    "cpu_us": "**CPU microseconds a request**, of the whole process tree (less is better):",
    "rate": "**Requests a second** (more is better):",
}

_INTRODUCTION = """\
# Benchmark results

Made by `python -m bench` (see README.md), {date}, commit {commit}: medians of {repetitions} interleaved repetitions of
{seconds} s each (`ab`: a fixed number of requests), the range in brackets. CPU is that of the server's whole process
tree. Load generator and server share the processors, so **CPU per request is the figure to trust**. A server with
errors has no figure. Access logs are off unless the workload says otherwise.
"""


def render(results: Results) -> str:
    """Write the report of a run."""
    summaries = results.summaries()
    parts = [_INTRODUCTION.format(**results.environment), _machine(results.environment), _versions(results.environment)]
    if verdicts := judge(summaries):
        parts.append(_targets(verdicts))
    for workload in _workloads(summaries):
        parts.append(_workload(workload, [s for s in summaries.values() if s.workload == workload]))
    parts.append(_commands(results.measurements))
    return "\n".join(parts)


def overview(results: Results) -> str:
    """Write two tables, CPU time and rate, of all workloads and servers that have figures."""
    summaries = results.summaries()
    where = _machine(results.environment).strip()
    parts = [f"{results.environment['date']}, commit {results.environment['commit']}. {where}\n"]
    for metric, heading in _OVERVIEW.items():
        parts.append(f"{heading}\n\n{_matrix(summaries, metric)}")
    return "\n".join(parts)


def _matrix(summaries: Summaries, metric: str) -> str:
    measured = {
        server for _, server in summaries if any(s.medians for (_, name), s in summaries.items() if name == server)
    }
    servers = [name for name in (OURS, *SERVERS, LIMIT) if name in measured]
    rows = []
    for workload in _workloads(summaries):
        cells = [_short(summaries.get((workload, server)), metric) for server in dict.fromkeys(servers)]
        rows.append([f"**{workload}**", *cells])
    return _table(["", *(name.replace("-", "-<br>") for name in dict.fromkeys(servers))], rows)


def _short(summary: Summary | None, metric: str) -> str:
    if summary is None or summary.problem.startswith("not installed"):
        return ""
    if summary.problem:
        return "–"
    value = summary.medians.get(metric)
    return "" if value is None else format(value, ",.0f" if value >= 100 else ".1f")


def _workloads(summaries: Summaries) -> list[str]:
    """List those that were measured, in the order of their table, whatever the order of the run."""
    measured = dict.fromkeys(name for name, _ in summaries)
    return [*(name for name in WORKLOADS if name in measured), *(name for name in measured if name not in WORKLOADS)]


def _table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def _machine(environment: dict[str, Any]) -> str:
    tools = ", ".join(f"{name} {version}" for name, version in environment["tools"].items())
    return (
        f"{environment['processor']}, {environment['cpus']} processors, {environment['memory_gb']} GB;"
        f" {environment['system']}, TCP {environment['congestion_control']}; Python {environment['python']}; {tools}.\n"
    )


def _versions(environment: dict[str, Any]) -> str:
    found = environment["versions"]
    rows = [[s.name, found.get(s.package, "not installed"), s.note] for s in SERVERS.values()]
    return _table(["server", "version", "note"], [*rows, ["(Django)", found.get("django", "not installed"), ""]])


def _targets(verdicts: list[Verdict]) -> str:
    met = sum(verdict.met for verdict in verdicts)
    rows = [_verdict_row(verdict) for verdict in verdicts]
    headings = ["workload", "metric", "target", "bound", "measured", ""]
    return f"## Targets: {met} of {len(verdicts)} met\n\n" + _table(headings, rows)


def _verdict_row(verdict: Verdict) -> list[str]:
    target = verdict.target
    heading, form = _COLUMNS[target.metric]
    words = "at least" if target.metric in HIGHER_IS_BETTER else "at most"
    plus = f" + {target.plus:g}" if target.plus else ""
    base = f" under {target.base}" if target.base else ""
    factor = "" if target.factor == 1 else f"{target.factor:g} × "
    return [
        target.workload,
        heading,
        f"{words} {factor}{verdict.peer}{base}{plus}",
        format(verdict.bound, form),
        format(verdict.figure, form),
        "met" if verdict.met else "**missed**",
    ]


def _workload(name: str, summaries: list[Summary]) -> str:
    row = WORKLOADS.get(name)
    ordered = sorted(summaries, key=lambda s: s.medians.get("cpu_us", float("inf")))
    headings = ["server", *(heading for heading, _ in _COLUMNS.values())]
    return f"## {name}: {row.title if row else ''}\n\n" + _table(headings, map(_row, ordered))


def _row(summary: Summary) -> list[str]:
    if summary.problem:
        problem = " ".join(summary.problem.split()).replace("|", "/")
        return [summary.server, problem, *[""] * (len(_COLUMNS) - 1)]
    return [summary.server, *(_cell(summary, metric) for metric in _COLUMNS)]


def _cell(summary: Summary, metric: str) -> str:
    if metric not in summary.medians:
        return ""
    form = _COLUMNS[metric][1]
    low, high = (format(bound, form) for bound in summary.ranges[metric])
    range_shown = f" ({low}–{high})" if metric in ("rate", "cpu_us") and low != high else ""
    return format(summary.medians[metric], form) + range_shown


def _commands(measurements: list[Measurement]) -> str:
    """List each command line once; ``WORK`` is the directory for scratch files."""
    first = {(m.workload, m.server): m for m in reversed(measurements) if m.server_command}
    loads = {m.workload: m.load_command for m in first.values() if m.load_command}
    lines = ["## Command lines\n"]
    for workload in dict.fromkeys(m.workload for m in measurements):
        lines += [f"### {workload}\n", "```", loads.get(workload, "")]
        lines += [m.server_command for (name, _), m in reversed(first.items()) if name == workload]
        lines.append("```\n")
    return "\n".join(lines)
