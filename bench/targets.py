"""What Spawning is to reach: ratios between servers of the same run, never absolute figures.

Each row: Spawning's median of a metric is at most (at least) so many times the best of some peers. Rows without figures
on both sides are not judged.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.results import Summary
from bench.servers import C_SERVERS, LIMIT, SERVERS

OURS = "spawning"
HIGHER_IS_BETTER = frozenset({"rate"})
_PEERS = tuple(
    name
    for name, server in SERVERS.items()
    if "tcp" in server.listen and name not in (OURS, "gunicorn-preload")  # that one only starts otherwise
)
_STREAMING = tuple(name for name in _PEERS if SERVERS[name].streams)

Summaries = Mapping[tuple[str, str], Summary]
"""Workload and server to summary."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One row.

    :param workload: whose figures are compared.
    :param metric: see ``results.METRICS``. ``rate`` is to be at least the bound, all others at most.
    :param factor: times the best of `peers` …
    :param plus: … and this, in the metric's unit.
    :param peers: servers that are compared with.
    :param base: the workload of the peers, if it is another one.
    """

    workload: str
    metric: str
    factor: float
    peers: tuple[str, ...]
    plus: float = 0.0
    base: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """A target and what was measured: our figure, the bound, the peer that made it, and whether the target is met."""

    target: Target
    figure: float
    bound: float
    peer: str
    met: bool


def _rows(workload: str, metric: str, *bounds: tuple[float, tuple[str, ...]]) -> list[Target]:
    return [Target(workload=workload, metric=metric, factor=factor, peers=peers) for factor, peers in bounds]


_GRANIAN, _GUNICORN, _APACHE = ("granian",), ("gunicorn",), ("mod_wsgi",)
_BLOCKING = ("e10-8", "e10-100", "e03-8", "e03-100", "g")
_TRANSFERS = ("h-upload", "h-memory", "h-file")

TARGETS = [
    *_rows("a", "cpu_us", (1.15, C_SERVERS), (0.5, _GRANIAN), (0.12, _GUNICORN)),
    *_rows("a", "rate", (0.9, _PEERS)),
    *_rows("b1", "cpu_us", (1.35, C_SERVERS), (0.65, _GRANIAN)),
    *_rows("c1", "cpu_us", (1.1, C_SERVERS), (0.65, _GRANIAN)),
    Target(workload="b4", metric="cpu_us", factor=1.15, peers=(OURS,), base="b1"),
    Target(workload="d-light", metric="cpu_us", factor=1, plus=15, peers=(LIMIT,)),
    *_rows("d-light", "rate", (2, _APACHE), (2, _GUNICORN)),
    *_rows("d-list-ab", "rate", (1.47, _APACHE), (1.15, _GRANIAN), (1.3, _GUNICORN), (0.97, ("bjoern",))),
    *_rows("d-list-ab", "cpu_us", (1.03, ("bjoern",))),
    *(row for name in _BLOCKING for row in _rows(name, "rate", (0.97, _GRANIAN), (2, _GUNICORN))),
    *_rows("f", "p99_ms", (1, _GRANIAN), (1, _GUNICORN)),
    *(row for name in _TRANSFERS for row in _rows(name, "cpu_us", (1, _PEERS))),
    *_rows("h-generator", "cpu_us", (1, _STREAMING)),
    Target(workload="i1", metric="rate", factor=0.95, peers=(OURS,), base="b1"),
    Target(workload="i4", metric="rate", factor=0.95, peers=(OURS,), base="b4"),
    *_rows("j", "pss_mb", (0.6, _GUNICORN), (1, ("gunicorn-preload",))),
    Target(workload="j", metric="start_s", factor=1, plus=0.2, peers=_GUNICORN),
    Target(workload="l", metric="cpu_us", factor=1, plus=1.5, peers=(OURS,), base="b1"),
    *_rows("n", "cpu_us", (1, _GRANIAN)),
    Target(workload="q", metric="cpu_us", factor=1.03, peers=(OURS,), base="b1"),
    Target(workload="q-log", metric="cpu_us", factor=1.03, peers=(OURS,), base="l"),
]


def needed() -> set[tuple[str, str]]:
    """Return workload and server of all measurements that the targets are judged by."""
    pairs = {(target.base or target.workload, peer) for target in TARGETS for peer in target.peers}
    return pairs | {(target.workload, OURS) for target in TARGETS}


def together(workloads: Sequence[str]) -> list[list[str]]:
    """Group workloads that are compared with each other, directly or by way of a third one; keep the order."""
    groups = {name: [name] for name in workloads}
    for target in TARGETS:
        one, other = groups.get(target.base or target.workload), groups.get(target.workload)
        if one is not None and other is not None and one is not other:
            one += other
            groups |= dict.fromkeys(other, one)
    return [sorted(group, key=workloads.index) for group in {id(group): group for group in groups.values()}.values()]


def judge(summaries: Summaries) -> list[Verdict]:
    """Judge each target for which both sides have figures."""
    return [verdict for target in TARGETS if (verdict := _verdict(target, summaries)) is not None]


def _verdict(target: Target, summaries: Summaries) -> Verdict | None:
    ours = _median(summaries, target.workload, OURS, target.metric)
    base = target.base or target.workload
    theirs = {peer: _median(summaries, base, peer, target.metric) for peer in target.peers}
    known = {peer: value for peer, value in theirs.items() if value is not None}
    if ours is None or not known:
        return None
    higher = target.metric in HIGHER_IS_BETTER
    peer = (max if higher else min)(known, key=lambda name: known[name])
    bound = known[peer] * target.factor + target.plus
    return Verdict(target=target, figure=ours, bound=bound, peer=peer, met=ours >= bound if higher else ours <= bound)


def _median(summaries: Summaries, workload: str, server: str, metric: str) -> float | None:
    summary = summaries.get((workload, server))
    return summary.medians.get(metric) if summary else None
