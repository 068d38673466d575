"""What a run leaves behind: measurements, the environment they were made in, and both as JSON."""

import dataclasses
import json
import os
import statistics
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

METRICS = ("rate", "cpu_us", "p50_ms", "p99_ms", "pss_mb", "start_s")


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One server under one workload, once. Figures are None when the server has none.

    :param problem: why there is no figure: errors, or the server cannot be run; empty when there is one.
    :param rate: requests a second.
    :param cpu_us: CPU microseconds a request, of the server's whole process tree.
    :param p50_ms: median latency, ``p99_ms`` the 99th percentile, in milliseconds.
    :param pss_mb: proportional set size of the tree right after the load, in MB (10⁶ bytes).
    :param start_s: from the start of the command to the first right answer, in seconds.
    """

    server: str
    workload: str
    repetition: int
    problem: str = ""
    requests: int = 0
    rate: float | None = None
    cpu_us: float | None = None
    p50_ms: float | None = None
    p99_ms: float | None = None
    pss_mb: float | None = None
    start_s: float | None = None
    server_command: str = ""
    load_command: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """All repetitions of one server under one workload: medians, and the range of each metric.

    :param problem: that of the first repetition that had one; then there are no medians.
    """

    server: str
    workload: str
    problem: str = ""
    repetitions: int = 0
    medians: dict[str, float] = field(default_factory=dict)
    ranges: dict[str, tuple[float, float]] = field(default_factory=dict)


@dataclass(slots=True)
class Results:
    """A run: its environment (see ``environment.describe``) and its measurements, in the order they were made."""

    environment: dict[str, Any]
    measurements: list[Measurement] = field(default_factory=list)

    def save(self, path: Path) -> None:
        """Write everything as JSON; a reader never sees half a file."""
        data = {"environment": self.environment, "measurements": [dataclasses.asdict(m) for m in self.measurements]}
        draft = path.with_suffix(".part")
        draft.write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n")
        os.replace(draft, path)

    @classmethod
    def load(cls, path: Path) -> "Results":
        """Read what :meth:`save` has written."""
        data = json.loads(path.read_text())
        return cls(data["environment"], [Measurement(**item) for item in data["measurements"]])

    def summaries(self) -> dict[tuple[str, str], Summary]:
        """Return workload and server to summary, in the order of the first measurement."""
        groups: dict[tuple[str, str], list[Measurement]] = {}
        for measurement in self.measurements:
            groups.setdefault((measurement.workload, measurement.server), []).append(measurement)
        return {key: summarize(group) for key, group in groups.items()}


def summarize(group: list[Measurement]) -> Summary:
    """Summarize the repetitions of one server under one workload."""
    first = group[0]
    problem = next((m.problem for m in group if m.problem), "")
    if problem:
        return Summary(server=first.server, workload=first.workload, problem=problem, repetitions=len(group))
    values = {name: list(_values(group, name)) for name in METRICS}
    return Summary(
        server=first.server,
        workload=first.workload,
        repetitions=len(group),
        medians={name: statistics.median(found) for name, found in values.items() if found},
        ranges={name: (min(found), max(found)) for name, found in values.items() if found},
    )


def _values(group: Iterable[Measurement], metric: str) -> Iterable[float]:
    return (value for m in group if (value := getattr(m, metric)) is not None)
