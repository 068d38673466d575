"""Plots of the last 15 minutes as SVG: one thing a picture, no script, colours from the page's style sheet. Pure."""

import math
from collections.abc import Callable, Sequence
from html import escape
from typing import NamedTuple

WIDTH, HEIGHT = 360, 132
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 8, 10, 18
_NICE = (1, 2, 5)


class Line(NamedTuple):
    """One line of a plot: its name, for the legend and the style sheet, and a value for each time, None for a gap."""

    name: str
    values: Sequence[float | None]


def plot(
    title: str,
    times: Sequence[float],
    lines: Sequence[Line],
    marks: Sequence[float],
    span: float,
    shown: Callable[[float], str],
    *,
    logarithmic: bool = False,
) -> str:
    """Draw a plot.

    :param times: of the values (seconds), the newest last, which is at the right edge.
    :param marks: times of reloads, drawn as vertical lines.
    :param span: seconds from the left edge to the right.
    :param shown: writes a value for the axis.
    :param logarithmic: what is ten times as much is always as far away; for values that differ so much.
    """
    newest = times[-1] if times else 0.0
    values = [value for line in lines for value in line.values if value is not None]
    ticks, height = _powers(values) if logarithmic else _steps(values)

    def x(time: float) -> float:
        return round(_LEFT + (WIDTH - _LEFT - _RIGHT) * (1 - (newest - time) / span), 1)

    def y(value: float) -> float:
        return round(_TOP + (HEIGHT - _TOP - _BOTTOM) * (1 - height(value)), 1)

    drawn = [_grid(ticks, y, shown), _minutes(span)]
    drawn += [f'<line class="mark" x1="{x(at)}" x2="{x(at)}" y1="{_TOP}" y2="{HEIGHT - _BOTTOM}"/>'
              for at in marks if newest - span <= at <= newest]  # fmt: skip
    for line in lines:
        drawn += [f'<polyline class="line {line.name}" points="{points}"/>' for points in _runs(line, times, x, y)]
    legend = " ".join(f'<span class="key {line.name}">{escape(line.name)}</span>' for line in lines)
    return (
        f'<figure><figcaption><b>{escape(title)}</b> {legend}</figcaption><svg viewBox="0 0 {WIDTH} {HEIGHT}"'
        f' role="img" aria-label="{escape(title)}">{"".join(drawn)}</svg></figure>'
    )


_Scale = tuple[list[float], Callable[[float], float]]


def _steps(values: Sequence[float]) -> _Scale:
    """Return the marks of an axis that begins at 0, and how high a value is, from 0 to 1."""
    top = _nice(max(values, default=0.0))
    return [0.0, top / 2, top], lambda value: value / top


def _powers(values: Sequence[float]) -> _Scale:
    """Return the same for an axis of powers of ten, at least two of them; nothing is drawn below the lowest."""
    above = [value for value in values if value > 0] or [0.001]
    low, high = math.floor(math.log10(min(above))), math.ceil(math.log10(max(above)))
    high = max(high, low + 2)
    ticks = [10.0**power for power in range(low, high + 1, 1 if high - low < 5 else 2)]
    return ticks, lambda value: max(0.0, (math.log10(max(value, 10.0**low)) - low) / (high - low))


def _grid(ticks: Sequence[float], y: Callable[[float], float], shown: Callable[[float], str]) -> str:
    return "".join(
        f'<line class="grid" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y(value)}" y2="{y(value)}"/>'
        f'<text class="left" x="{_LEFT - 5}" y="{y(value) + 3.5}">{escape(shown(value))}</text>'
        for value in ticks
    )


def _minutes(span: float) -> str:
    width = WIDTH - _LEFT - _RIGHT
    marks = [(0.0, f"−{span / 60:g} min"), (1 / 3, f"−{span / 90:g}"), (2 / 3, f"−{span / 180:g}"), (1.0, "now")]
    anchors = {0.0: "start", 1.0: "end"}
    return "".join(
        f'<text class="{anchors.get(share, "middle")}" x="{_LEFT + width * share:.1f}" y="{HEIGHT - 4}">{text}</text>'
        for share, text in marks
    )


def _runs(line: Line, times: Sequence[float], x: Callable[[float], float], y: Callable[[float], float]) -> list[str]:
    """Return the points of each uninterrupted run of values."""
    runs: list[list[str]] = [[]]
    for time, value in zip(times, line.values, strict=True):
        if value is None:
            runs.append([])
        else:
            runs[-1].append(f"{x(time)},{y(value)}")
    return [" ".join(run if len(run) > 1 else run * 2) for run in runs if run]


def _nice(value: float) -> float:
    """Return the smallest of 1, 2 and 5 times a power of ten that is not below; 1 for nothing."""
    if value <= 0:
        return 1.0
    power = 1.0
    while power * 10 <= value:
        power *= 10
    while power > value:
        power /= 10
    return next((power * nice for nice in _NICE if power * nice >= value * 0.999999), power * 10)
