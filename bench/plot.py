"""The results as a picture: a panel for each workload, a bar for each server, shortest first, Spawning's in colour.

SVG, written by hand: it follows the reader's light or dark mode and needs nothing to be made. In every panel less is
better, and each has a scale of its own, from zero.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

from bench.results import Results, Summary
from bench.servers import LIMIT
from bench.targets import OURS

CPU, TAIL, MEMORY = "CPU µs a request", "99th percentile, ms", "MB"


@dataclass(frozen=True, slots=True)
class Panel:
    """What a panel shows: a metric (see ``results.METRICS``) of a workload."""

    workload: str
    metric: str
    title: str
    unit: str


PANELS = (
    Panel("a", "cpu_us", "Hello, a connection each, 4 × 100", CPU),
    Panel("b1", "cpu_us", "Hello, kept alive, 1 × 1", CPU),
    Panel("b4", "cpu_us", "Hello, kept alive, 4 × 100", CPU),
    Panel("c1", "cpu_us", "A browser's headers, 1 × 1", CPU),
    Panel("d-light", "cpu_us", "Django, light view, 4 × 100", CPU),
    Panel("d-list-ab", "cpu_us", "Django, list view, 4 × 100", CPU),
    Panel("e03-100", "cpu_us", "Waits 0.3 ms, 1 × 100", CPU),
    Panel("e10-100", "cpu_us", "Waits 10 ms, 1 × 100", CPU),
    Panel("g", "cpu_us", "Computes 0.3 ms, 1 × 100", CPU),
    Panel("f", "p99_ms", "Instant beside slow, 1 × 100", TAIL),
    Panel("h-file", "cpu_us", "A file of 1 MB, 1 × 8", CPU),
    Panel("j", "pss_mb", "Memory of 4 workers, Django", MEMORY),
)

COLUMNS = 3
WIDTH = 960
_PANEL = (WIDTH - 16) / COLUMNS
_LABELS, _VALUES, _GAP = 114.0, 48.0, 20.0  # widths: server names, figures, between panels
_BARS = _PANEL - _LABELS - _VALUES - _GAP
_HEAD, _ROW, _BAR = 40.0, 17.0, 11.0  # heights

_KEY = (
    "Less is better. Medians; the line is the range of the repetitions. 4 × 100: four processes of up to 100 threads."
)
_TWICE = "gunicorn-preload"  # serves as gunicorn does, but needs less memory

_STYLE = """\
svg { font: 12px system-ui, -apple-system, "Segoe UI", "Helvetica Neue", Arial, sans-serif; }
text { fill: #3d444d; } .small { fill: #59636e; font-size: 11px; }
.title { fill: #1f2328; font-weight: 600; font-size: 13px; }
.bar { fill: #b6bec9; } .limit { fill: #dde1e6; } .ours { fill: #1a7f5a; } .range { stroke: #59636e; stroke-width: 1; }
.strong { fill: #116245; font-weight: 700; } .end { text-anchor: end; }
@media (prefers-color-scheme: dark) {
  text { fill: #c9d1d9; } .title { fill: #f0f6fc; } .small { fill: #9198a1; }
  .bar { fill: #565f6b; } .limit { fill: #363d46; } .ours { fill: #2fb380; } .range { stroke: #b0b8c1; }
  .strong { fill: #56d4a4; }
}
"""


def draw(results: Results) -> str | None:
    """Draw the panels for which there are figures; None without any."""
    summaries = results.summaries()
    shown = [(panel, found) for panel in PANELS if (found := _of(panel, summaries.values()))]
    if not shown:
        return None
    rows = [shown[first : first + COLUMNS] for first in range(0, len(shown), COLUMNS)]
    body: list[str] = []
    top = 8.0
    for row in rows:
        for column, (panel, found) in enumerate(row):
            body += _panel(panel, found, 8 + column * _PANEL, top)
        top += _HEAD + _ROW * max(len(found) for _, found in row) + 14
    environment = results.environment
    made = f"{environment['date']}, {environment['processor']}, Python {environment['python']}"
    body += [_text(8, top + 8 + 16 * number, line, "small") for number, line in enumerate((_KEY, made))]
    size = f'viewBox="0 0 {WIDTH} {top + 34:g}" width="{WIDTH}" height="{top + 34:g}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-label="{_spoken(shown)}">'
    return "\n".join([head, f"<style>\n{_STYLE}</style>", *body, "</svg>"]) + "\n"


def _of(panel: Panel, summaries: Iterable[Summary]) -> list[Summary]:
    """Return those to be shown, the shortest bar first, errors (ours too) last; none if ours was not measured."""
    found = [
        summary
        for summary in summaries
        if summary.workload == panel.workload
        and (panel.metric in summary.medians or _erred(summary))
        and (summary.server != _TWICE or panel.metric == "pss_mb")
    ]
    if not (any(summary.server == OURS for summary in found) and any(summary.medians for summary in found)):
        return []
    return sorted(found, key=lambda summary: summary.medians.get(panel.metric, float("inf")))


def _erred(summary: Summary) -> bool:
    return bool(summary.problem) and not summary.problem.startswith("not installed")


def _panel(panel: Panel, found: Sequence[Summary], left: float, top: float) -> list[str]:
    longest = max(s.ranges[panel.metric][1] for s in found if s.medians)
    scale = _BARS / longest
    lines = [_text(left, top + 13, panel.title, "title"), _text(left, top + 29, panel.unit, "small")]
    for number, summary in enumerate(found):
        lines += _bar(panel.metric, summary, left, top + _HEAD + number * _ROW, scale)
    return lines


def _bar(metric: str, summary: Summary, left: float, top: float, scale: float) -> list[str]:
    name = "no server" if summary.server == LIMIT else summary.server
    bold = " strong" if summary.server == OURS else ""
    base = top + _BAR - 1.5
    start = left + _LABELS
    label = _text(start - 6, base, name, f"end{bold}")
    value = summary.medians.get(metric)
    if value is None:
        return [label, _text(start, base, "errors, no figure", "small")]
    kind = {OURS: "ours", LIMIT: "limit"}.get(summary.server, "bar")
    low, high = (start + bound * scale for bound in summary.ranges[metric])
    middle = top + _BAR / 2
    return [
        label,
        f'<rect class="{kind}" x="{start:.1f}" y="{top:.1f}" width="{value * scale:.1f}" height="{_BAR:g}" rx="1.5"/>',
        f'<line class="range" x1="{low:.1f}" y1="{middle:.1f}" x2="{high:.1f}" y2="{middle:.1f}"/>',
        _text(high + 5, base, _figure(value), bold.strip()),
    ]


def _figure(value: float) -> str:
    return format(value, ",.0f" if value >= 100 else ".1f")


def _text(x: float, y: float, text: str, kind: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}">{escape(text)}</text>'


def _spoken(shown: Sequence[tuple[Panel, Sequence[Summary]]]) -> str:
    """Return the picture in words, for people who do not see it."""
    parts = []
    for panel, found in shown:
        figures = [f"{s.server} {_figure(s.medians[panel.metric])}" for s in found if s.medians]
        parts.append(f"{panel.title} ({panel.unit}): {', '.join(figures)}")
    return escape(". ".join(parts), quote=True)
