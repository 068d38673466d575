"""``spawnctl log``: counts, rates and durations of requests, from a file of the access log; no server is asked.

Reads the lines that Spawning writes by default (Apache's combined format with the seconds behind it). Rules: one pass,
memory for one number a request of what is asked for; a line that is none of ours is counted and left out.
"""

import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import IO, Final

from spawning.ctl_text import escaped

_LINE: Final = re.compile(
    rb'(?P<address>\S+) - (?P<user>.*?) \[(?P<time>[^\]]+)\] "(?P<request>[^"]*)" (?P<status>\d{3}) (?P<size>\d+|-)'
    rb' "(?P<referrer>[^"]*)" "(?P<agent>[^"]*)" (?P<seconds>\d+\.\d+)(?: .*)?\r?\n?'
)
_TIME: Final = re.compile(r"(\d\d)/(\w{3})/(\d{4}):(\d\d):(\d\d):(\d\d) ([+-]\d{4})")
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_PERCENTILES: Final = (50, 90, 99)
UNKNOWN: Final = "-"


def _method(line: Mapping[str, bytes]) -> bytes:
    return line["request"].partition(b" ")[0] or b"-"


def _path(line: Mapping[str, bytes]) -> bytes:
    """Return the path without its query, which would make groups of one."""
    words = line["request"].split(b" ")
    return words[1].partition(b"?")[0] if len(words) > 1 else b"-"


GROUPS: Final[Mapping[str, Callable[[Mapping[str, bytes]], bytes]]] = {
    "path": _path,
    "method": _method,
    "status": lambda line: line["status"],
    "address": lambda line: line["address"],
    "user": lambda line: line["user"],
    "agent": lambda line: line["agent"],
    "referrer": lambda line: line["referrer"],
    "all": lambda _: b"all requests",
}
"""What ``--group-by`` knows, and how it is found in a line."""


@dataclass(slots=True)
class Group:
    """The requests of one group: their durations in seconds, and how many had status 5xx."""

    seconds: list[float] = field(default_factory=list)
    errors: int = 0


@dataclass(slots=True)
class Report:
    """What was found.

    :ivar first: (seconds since the epoch) the first request that counts; `last` is the last one.
    :ivar strange: lines that are none of an access log's.
    """

    groups: dict[str, Group] = field(default_factory=dict)
    first: float = float("inf")
    last: float = float("-inf")
    strange: int = 0


def moment(text: str, now: float) -> float:
    """Read a time: ``-1h`` (before now, in s, m, h, d or w), or a date with or without a time, in ISO 8601.

    :returns: seconds since the epoch.
    :raises ValueError: it is neither.
    """
    if ago := re.fullmatch(r"-(\d+(?:\.\d+)?)([smhdw])", text):
        return now - float(ago[1]) * _UNITS[ago[2]]
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError, OSError):
        raise ValueError(f"{text!r} is not a time such as -1h, 2026-11-23 or 2026-11-23T19:30:00+01:00") from None


def read(lines: Iterable[bytes], group_by: str, earliest: float, latest: float) -> Report:
    """Read lines of an access log.

    :param group_by: a key of :data:`GROUPS`.
    :param earliest: (seconds since the epoch) requests that ended before do not count, nor do those after `latest`.
    """
    report, key = Report(), GROUPS[group_by]
    known: tuple[bytes, float] = (b"", 0.0)
    for line in lines:
        match = _LINE.fullmatch(line)
        if match is None:
            report.strange += 1
            continue
        values = match.groupdict()
        if values["time"] != known[0]:
            known = values["time"], _seconds(values["time"].decode("latin-1"))
        when = known[1]
        if when < 0:
            report.strange += 1
        elif earliest <= when <= latest:
            group = report.groups.setdefault(key(values).decode("latin-1"), Group())
            group.seconds.append(float(values["seconds"]))
            group.errors += values["status"].startswith(b"5")
            report.first, report.last = min(report.first, when), max(report.last, when)
    return report


def _seconds(text: str) -> float:
    """Read ``23/Nov/2026:19:30:49 +0100``; negative: it is no time."""
    match = _TIME.fullmatch(text)
    if match is None or match[2] not in _MONTHS:
        return -1.0
    day, month, year, hour, minute, second, offset = match.groups()
    iso = f"{year}-{_MONTHS.index(month) + 1:02}-{day}T{hour}:{minute}:{second}{offset[:3]}:{offset[3:]}"
    try:
        return datetime.fromisoformat(iso).timestamp()
    except (ValueError, OverflowError):
        return -1.0


def rows(report: Report, earliest: float, latest: float) -> Iterator[dict[str, object]]:
    """Yield what is known of each group, the one with the most time in all first; times are in seconds.

    :param earliest: what was asked for, as `latest`; infinite where that is what the log has.
    """
    begin = earliest if earliest > float("-inf") else report.first
    end = latest if latest < float("inf") else report.last
    span = max(1.0, end - begin)
    for name, group in sorted(report.groups.items(), key=lambda item: (-sum(item[1].seconds), item[0])):
        ordered = sorted(group.seconds)
        yield {
            "group": name,
            "requests": len(ordered),
            "rate": round(len(ordered) / span, 3),
            "errors": group.errors,
            **{f"p{share}": percentile(ordered, share) for share in _PERCENTILES},
            "longest": ordered[-1],
            "total": round(sum(ordered), 6),
        }


def percentile(ordered: list[float], share: int) -> float:
    """Return the smallest value that so many percent of the values are not above (nearest rank)."""
    return ordered[max(0, -(-len(ordered) * share // 100) - 1)]


def text(found: list[dict[str, object]], group_by: str, strange: int) -> str:
    """Show the rows as a table for people."""
    heads = [
        group_by,
        "requests",
        "a second",
        "5xx",
        *(f"p{share} ms" for share in _PERCENTILES),
        "longest ms",
        "total s",
    ]
    table = [heads, *(_cells(row) for row in found)]
    widths = [max(len(row[column]) for row in table) for column in range(len(heads))]
    lines = [
        "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        )
        for row in table
    ]
    if strange:
        lines.append(f"({strange} lines are none of an access log in the combined format, and left out)")
    return "\n".join(lines)


def _cells(row: Mapping[str, object]) -> list[str]:
    times = [f"{float(str(row[name])) * 1000:.1f}" for name in (*(f"p{share}" for share in _PERCENTILES), "longest")]
    total = f"{float(str(row['total'])):.3f}"
    return [
        escaped(str(row["group"])),
        str(row["requests"]),
        f"{float(str(row['rate'])):.3f}",
        str(row["errors"]),
        *times,
        total,
    ]


def of_file(
    file: IO[bytes], group_by: str, earliest: str | None, latest: str | None
) -> tuple[list[dict[str, object]], int]:
    """Read a file; return the rows, and how many lines were left out.

    :param earliest: as for :func:`moment`; None: from the begin. So is `latest`, to the end.
    :raises ValueError: a time makes no sense.
    :raises OSError: the file cannot be read.
    """
    now = time.time()
    begin = moment(earliest, now) if earliest is not None else float("-inf")
    # "an hour ago until now" has a rate a second of that hour
    end = moment(latest, now) if latest is not None else now if earliest is not None else float("inf")
    if begin > end:
        raise ValueError("--earliest is after --latest")
    report = read(file, group_by, begin, end)
    return list(rows(report, begin, end)), report.strange
