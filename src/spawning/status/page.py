"""The page for people: HTML from what is known. Pure.

Rules: without a script it is complete, and loads itself again; with one, the part that changes (:func:`fragment`) is
replaced whole. Everything that was not written here is escaped: clients choose paths, applications tracebacks.
"""

import time
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

from spawning.figures import count, duration, number, seconds, size, worker_cells
from spawning.status.history import MOST_POINTS, POINT_SECONDS
from spawning.status.hub import STALE, View
from spawning.status.plots import Line, plot
from spawning.status.values import described

_SPAN = MOST_POINTS * POINT_SECONDS
_MOST_REQUESTS = 50  # that are listed
_WIDE = 6  # columns of a table above which it takes the whole width
_NARROW = 2  # columns that stand beside each other on a phone as well

_DOCUMENT = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="robots" content="noindex">
<title>{title}</title>
<link rel="stylesheet" href="status.css">
<noscript><meta http-equiv="refresh" content="5"></noscript>
<main id="main">
{fragment}
</main>
<footer><span id="live">not live: no script</span>
· <a href="status.json">status.json</a> · <a href="metrics">metrics</a>
· <a href="livez">livez</a> · <a href="readyz">readyz</a></footer>
<script src="status.js" defer></script>
</html>
"""

Values = dict[str, Any]


def document(view: View) -> str:
    """Return the whole page."""
    return _DOCUMENT.format(
        title=as_html(f"Spawning – {view.values['address'] or 'starting'}"), fragment=fragment(view)
    )


def fragment(view: View) -> str:
    """Return what changes."""
    values = described(view)
    return "\n".join(
        [
            _head(values, view.age),
            _tiles(values),
            _plots(values),
            _generations(values),
            _in_flight(values["requests"]),
            _reloads(values),
            _listeners(values["listeners"]),
            _certificates(values["certificates"]),
            _configuration(values["settings"]),
        ]
    )


def _head(values: Values, age: float) -> str:
    phase = values["phase"] if age < STALE else "silent"
    condition = values["condition"] if age < STALE else f"the controller has said nothing for {age:.0f} s"
    return (
        f'<header><h1>Spawning</h1> <span class="badge {as_html(phase)}">{as_html(phase)}</span>'
        f"<p>{as_html(values['address'] or 'no address yet')} · {as_html(condition)}</p>"
        f'<p class="quiet">version {as_html(values["version"])} · Python {as_html(values["python"])}'
        f" · pid {values['pid']} · up {duration(values['uptime'])}</p></header>"
    )


def _tiles(values: Values) -> str:
    trend, workers = values["trend"], _workers(values)
    executing, queued, connections = (_sum(workers, name) for name in ("executing", "queued", "connections"))
    threads, tunnels = _sum(workers, "threads"), sum(worker.get("tunnels") or 0 for worker in workers)
    totals = values["totals"]
    inline = f"{100 * totals['inline'] / totals['requests']:.0f} %" if totals["requests"] else "–"
    tiles = [
        ("requests/s", number(trend["requests"]), f"{totals['requests']:,} in all"),
        ("latency p50", seconds(trend["p50"]), f"p95 {seconds(trend['p95'])} · p99 {seconds(trend['p99'])}"),
        ("errors/s", number(trend["errors"]), f"{totals['errors']:,} of status 5xx · {totals['refused']:,} refused"),
        ("in flight", f"{executing}", f"{queued} wait for a thread · {tunnels} tunnels"),
        ("threads busy", f"{min(executing + tunnels, threads)} of {threads}", f"inline {inline}"),
        ("connections", f"{connections}", f"{_sum(values['listeners'], 'backlog')} not accepted yet"),
        ("memory (PSS)", size(values["memory"]), f"{len(workers)} workers"),
    ]
    return '<dl class="tiles">' + "".join(
        f'<div><dt>{name}</dt><dd>{as_html(value)}</dd><dd class="quiet">{as_html(more)}</dd></div>'
        for name, value, more in tiles
    ) + "</dl>"  # fmt: skip


def _plots(values: Values) -> str:
    points = values["trend"]["points"]
    if len(points) < 2:
        return '<p class="quiet">Plots of the last 15 minutes appear after some seconds.</p>'
    times = [point["at"] for point in points]
    marks = [reload["at"] for reload in values["reloads"] if reload["result"] == "finished"]

    def lines(*names: str) -> list[Line]:
        return [Line(name, [point[name] for point in points]) for name in names]

    pictures = [
        plot("Requests/s", times, lines("requests", "errors"), marks, _SPAN, number),
        plot("Latency", times, lines("p50", "p95", "p99"), marks, _SPAN, seconds, logarithmic=True),
        plot("In flight", times, lines("executing", "queued"), marks, _SPAN, number),
    ]
    return f'<section class="plots">{"".join(pictures)}</section>'


def _generations(values: Values) -> str:
    parts = []
    for generation in reversed(values["generations"]):
        server = f"fork server {generation['fork_server']}" if generation["fork_server"] else "no fork server"
        memory = f" ({size(generation['memory'])})" if generation["memory"] else ""
        about = f"{generation['trigger']} {duration(generation['age'])} ago · {server}{memory}"
        head = ("worker", "state", "up", "requests", "requests/s", "5xx", "inline", "busy", "idle", "waiting",
                "connections", "memory", "pid")  # fmt: skip
        state = generation["state"]
        parts.append(
            f'<h2>Generation {generation["number"]} <span class="badge {as_html(state)}">{as_html(state)}</span></h2>'
            f'<p class="quiet">{as_html(about)}</p>'
            + (table(head, [_worker(each) for each in generation["workers"]]) if generation["workers"] else "")
        )
    return "\n".join(parts) or '<h2>Generations</h2><p class="quiet">There is none.</p>'


def _worker(values: Values) -> list[str]:
    return [*worker_cells(values, values["rate"]), size(values["memory"]), count(values["pid"], "")]


def _in_flight(requests: list[Values] | None) -> str:
    title = "<h2>Requests in flight</h2>"
    if requests is None:
        return f'{title}<p class="quiet">The workers have not said yet.</p>'
    if not requests:
        return f'{title}<p class="quiet">No request is executing at this moment.</p>'
    rows = [
        [
            seconds(each["seconds"]), f"{each['method']} {_cut(str(each['path']), 120)}", str(each["address"]),
            each["worker"], each["thread"],
        ]
        for each in requests[:_MOST_REQUESTS]
    ]  # fmt: skip
    more = f'<p class="quiet">and {len(requests) - _MOST_REQUESTS} more</p>' if len(requests) > _MOST_REQUESTS else ""
    return title + table(("age", "request", "client", "worker", "thread"), rows, texts=(1, 2, 3, 4)) + more


def _reloads(values: Values) -> str:
    items = []
    for index, each in enumerate(values["reloads"]):
        items.append(_reload(f"reload-{len(values['reloads']) - index}-{each['generation']}", each))
    refusal = values["last_refusal"]
    if refusal is not None and not any(each["result"] == "refused" for each in values["reloads"]):
        items.insert(0, _reload("refusal", {**refusal, "result": "refused", "seconds": None}))
    listed = "".join(items) or '<p class="quiet">There has been none.</p>'
    return f"<h2>Reloads</h2>{listed}"


def _reload(identity: str, reload: Values) -> str:
    at = time.strftime("%Y-%m-%d %H:%M:%S %z", time.localtime(reload["at"]))
    took = f" after {seconds(reload['seconds'])}" if reload["seconds"] is not None else ""
    line = (
        f'<span class="badge {as_html(reload["result"])}">{as_html(reload["result"])}</span> generation'
        f" {reload['generation']}, {as_html(str(reload['trigger']))}, {at}{took}"
    )
    reason = f'<p class="reason">{as_html(reload["reason"])}</p>' if reload["reason"] else ""
    if not reload["traceback"]:
        return f'<div class="reload">{line}{reason}</div>'
    return (
        f'<div class="reload">{line}{reason}<details id="{identity}"><summary>traceback</summary>'
        f"<pre>{as_html(reload['traceback'])}</pre></details></div>"
    )


def _listeners(listeners: list[Values]) -> str:
    rows = [[each["address"], count(each["backlog"]), count(each["most"])] for each in listeners]
    return "<h2>Listeners</h2>" + table(("address", "waiting to be accepted", "at most"), rows, texts=(0,))


def _certificates(certificates: list[Values]) -> str:
    if not certificates:
        return ""
    rows = [
        [
            each["file"],
            ", ".join(each["names"]),
            time.strftime("%Y-%m-%d", time.localtime(each["ends"])),
            str(each["days"]),
        ]
        for each in certificates
    ]
    return "<h2>Certificates</h2>" + table(("file", "names", "until", "days left"), rows, texts=(0, 1, 2))


def _date(seconds: float) -> str:
    return time.strftime("%Y-%m-%d", time.localtime(seconds))


def _configuration(settings: Values) -> str:
    rows = [
        [name, ", ".join(map(str, value)) if isinstance(value, list) else "–" if value is None else str(value)]
        for name, value in settings.items()
    ]
    return (
        '<h2>Configuration</h2><details id="configuration"><summary>settings of the generation that serves</summary>'
        f"{table(('setting', 'value'), rows, texts=(0, 1))}</details>"
    )


def table(head: Sequence[str], rows: Iterable[Sequence[str]], texts: Sequence[int] = (0, 1)) -> str:
    """Build a table; columns that are no texts are numbers, and stand at the right."""
    kinds = ["" if index in texts else ' class="number"' for index in range(len(head))]
    titles = "".join(f"<th{kind}>{as_html(title)}</th>" for kind, title in zip(kinds, head, strict=True))
    body = "".join(
        "<tr>"
        + "".join(
            f'<td{kind} data-title="{as_html(title)}">{as_html(cell)}</td>'
            for kind, title, cell in zip(kinds, head, row, strict=True)
        )
        + "</tr>"
        for row in rows
    )
    width = "wide" if len(head) > _WIDE else "narrow" if len(head) <= _NARROW else ""
    style = f' class="{width}"' if width else ""
    return f'<div class="scroll"><table{style}><thead><tr>{titles}</tr></thead><tbody>{body}</tbody></table></div>'


def _workers(values: Values) -> list[Values]:
    return [worker for generation in values["generations"] for worker in generation["workers"]]


def _sum(items: Iterable[Values], name: str) -> int:
    return sum(item[name] or 0 for item in items)


# Texts ---------------------------------------------------------------------------------------------------------------


def as_html(text: str) -> str:
    """Write a text as HTML; what changes the direction of what follows, or is no character at all, as Python does."""
    if not text.isprintable():
        text = "".join([each if each.isprintable() or each in "\n\t" else repr(each)[1:-1] for each in text])
    return escape(text)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
