"""The answers of a server as text for people. Knows nothing of sockets; the keys are those of the control socket.

What is in them comes from anywhere: a client chooses the path of its request, an application the text of its exception.
So nothing of it may end a line of a table (:func:`in_lines`), and a terminal may obey nothing (:func:`escaped`).
"""

import sys
import time
from collections.abc import Sequence
from typing import Any

from spawning.figures import duration

Values = dict[str, Any]

_SEVERAL_LINES = ("traceback", "stacks")  # keys of what has lines of its own

_COLUMNS = (
    "worker", "pid", "state", "age", "requests", "errors", "refused", "executing", "queued", "tunnels", "connections",
    "ferries",
)  # fmt: skip


def write(text: str, *, err: bool = False, end: str = "\n") -> None:
    """Print a text, without anything that a terminal would obey."""
    print(escaped(text), end=end, file=sys.stderr if err else sys.stdout, flush=True)


def escaped(text: str) -> str:
    r"""Write what is not printable as Python does (``\x1b``), but for the ends of lines, and tabs.

    Without control characters (C0 and C1) and those that change the direction of what follows, text is only shown.
    """
    if text.isprintable():
        return text
    return "".join([each if each.isprintable() or each in "\n\t" else repr(each)[1:-1] for each in text])


def in_lines(values: Any) -> Any:
    r"""Write ends of lines and tabs as ``\n`` and ``\t`` in all texts of an answer but tracebacks and stacks."""
    if isinstance(values, str):
        return "".join([each if each.isprintable() else repr(each)[1:-1] for each in values])
    if isinstance(values, list):
        return [in_lines(each) for each in values]
    if isinstance(values, dict):
        return {in_lines(key): each if key in _SEVERAL_LINES else in_lines(each) for key, each in values.items()}
    return values


def _listening(values: Values) -> str:
    return ", ".join(values.get("addresses") or [values["address"]])


def status_text(values: Values) -> str:
    """Show what ``status`` answers."""
    lines = [
        f"Spawning {values['version']} (Python {values['python']}), pid {values['pid']}, {_listening(values)},"
        f" up {duration(values['uptime'])}" + ("" if values["service"] == "run" else ", stopping")
    ]
    lines += map(_certificate, values.get("certificates", ()))  # a server of an earlier version has none
    for generation in values["generations"]:
        lines += ["", *_generation(generation)]
    if (refusal := values["last_refusal"]) is not None:
        at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(refusal["at"]))
        lines += ["", f"last refusal: generation {refusal['generation']}, {at}, {refusal['trigger']}"]
        lines += [refusal["reason"], *refusal["traceback"].splitlines()]
    return "\n".join(lines)


def requests_text(values: Values) -> str:
    """Show what ``requests`` answers."""
    rows = [
        (worker["name"], each["thread"], f"{each['seconds']:.3f}", each["address"], request_cell(each))
        for worker in values["workers"]
        for each in worker["requests"] or ()
    ]
    lines = table(("worker", "thread", "seconds", "client", "request"), rows) if rows else ["no request is executing"]
    return "\n".join([*lines, *_silent(values)])


def request_cell(each: Values) -> str:
    """Name a request that is executed."""
    tunnel = " (tunnel)" if each.get("tunnel") else ""  # a worker of an earlier version does not say
    return f"{each['method']} {each['path']}{tunnel}"


def stacks_text(values: Values) -> str:
    """Show what ``stacks`` answers."""
    stacks = [
        f"{thread}:\n{stack}"
        for worker in values["workers"]
        for thread, stack in sorted((worker["stacks"] or {}).items())
    ]
    return "\n".join([*stacks, *_silent(values)])


def _certificate(certificate: Values) -> str:
    until = time.strftime("%Y-%m-%d", time.localtime(certificate["ends"]))
    days = certificate["days"]
    left = f"{days} days left" if days >= 0 else "expired"
    return f"certificate {certificate['file']} ({', '.join(certificate['names'])}): {left}, until {until}"


def _generation(generation: Values) -> list[str]:
    fork_server = f"fork server {generation['fork_server']}" if generation["fork_server"] else "no fork server"
    state, trigger, age = generation["state"], generation["trigger"], duration(generation["age"])
    head = f"generation {generation['number']} {state}, {fork_server}, {trigger} {age} ago"
    rows = [
        (each["name"], each["pid"], each["state"], duration(each["age"]), *(each.get(key) for key in _COLUMNS[4:]))
        for each in generation["workers"]
    ]
    return [head, *(f"  {line}" for line in table(_COLUMNS, rows))] if rows else [head]


def table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[str]:
    """Line up columns; what is not known is a dash."""
    cells = [list(head), *(["-" if cell is None else str(cell) for cell in row] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]


def _silent(values: Values) -> list[str]:
    """Name the workers that have not answered: something holds their interpreter lock, or they have just ended."""
    return [f"worker {worker['name']} has not answered" for worker in values["workers"] if worker["requests"] is None]
