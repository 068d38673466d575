"""From the results of ``bench/reload.py`` to the tables of a document."""

from pathlib import Path
from typing import Any

from bench.reload_cases import CASES

COLUMNS = (
    "requests", "failed", "refused", "reset", "closed", "in killed", "said close", "steps back", "longest silence (s)",
)  # fmt: skip
LOST = ("failed", "refused", "reset", "closed")
STREAMS = {"": "over TCP", "-unix": "over a Unix socket", "-tls": "over TLS"}  # by how the names of servers end
_BEGIN, _END = "<!-- bench/reload.py: table -->", "<!-- bench/reload.py: end -->"

Row = dict[str, Any]
Results = dict[str, dict[str, Row]]  # server → case → column → figure; or "cannot" → why


def text(results: Results) -> str:
    """Write all results: an overview for each kind of stream, and below them the figures of each case."""
    cases = [case for case in CASES if any(case in rows for rows in results.values())]
    streams = {end: {name: rows for name, rows in results.items() if _end(name) == end} for end in STREAMS}
    overviews = [_overview(found, cases, end) for end, found in streams.items() if found]
    return "\n\n".join([*overviews, *(_figures(results, case) for case in cases)])


def _end(name: str) -> str:
    return next((end for end in STREAMS if end and name.endswith(end)), "")


def _overview(results: Results, cases: list[str], end: str) -> str:
    names = " | ".join(name.removesuffix(end) for name in results)
    lines = [f"What clients noticed, {STREAMS[end]}:", "", f"| case | {names} |", f"|---|{'---|' * len(results)}"]
    for case in cases:
        cells = " | ".join(_verdict(rows.get(case)) for rows in results.values())
        lines.append(f"| {case}. {CASES[case].title} | {cells} |")
    return "\n".join(lines)


def _verdict(row: Row | None) -> str:
    """Return in a few words what clients noticed."""
    if row is None:
        return "not run"
    if "cannot" in row:
        return "cannot"
    lost, back, killed = sum(row[column] for column in LOST), row["steps back"], row["in killed"]
    words = [
        f"{lost:,} lost" if lost else "",
        f"{killed:,} in killed processes" if killed else "",
        f"{back:,} steps back" if back else "",
        f"{row['longest silence (s)']:.1f} s of silence" if row["longest silence (s)"] >= 1 else "",
        f"at the end {row['at the end']}" if row["at the end"] != "new code" else "",
    ]
    return ", ".join(word for word in words if word) or "nothing"


def _figures(results: Results, case: str) -> str:
    lines = [
        f"**{case}. {CASES[case].title[0].upper()}{CASES[case].title[1:]}**",
        "",
        f"| server | {' | '.join(COLUMNS)} | at the end |",
        f"|---|{'---:|' * len(COLUMNS)}---|",
    ]
    for server, rows in results.items():
        row = rows.get(case)
        if row is None:
            continue
        if "cannot" in row:
            lines.append(f"| {server} | {row['cannot']} |{' |' * len(COLUMNS)}")
        else:
            figures = " | ".join(f"{row[column]:,g}" for column in COLUMNS)
            lines.append(f"| {server} | {figures} | {row['at the end']} |")
    return "\n".join(lines)


def write_document(path: Path, results: Results, note: str) -> None:
    """Put the tables between the two marks of a document."""
    before, _, rest = path.read_text().partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not end:
        raise SystemExit(f"{path} has no marks {_BEGIN} and {_END}")
    path.write_text(f"{before}{_BEGIN}\n{note}\n\n{text(results)}\n{end}{after}")
