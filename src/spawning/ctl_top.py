"""``spawnctl top``: how a server is, live in a terminal.

Rules: :func:`frame` is pure; :func:`watch` owns the terminal while it shows one frame after the other, and leaves it as
it was, whatever happens. Nothing that comes from elsewhere reaches the terminal but as printable characters.
"""

import contextlib
import select
import shutil
import sys
import termios
import tty
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from spawning.ctl_text import in_lines, request_cell, table
from spawning.figures import count, duration, number, seconds, worker_cells
from spawning.status.history import History, Trend

_BEGIN, _END = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"  # another screen, without a cursor; and back
_HOME, _CLEAR_LINE, _CLEAR_REST = "\x1b[H", "\x1b[K", "\x1b[J"
_QUIT = ("q", "Q", "\x1b", "\x04")

Values = dict[str, Any]


def frame(status: Values, requests: Values, trend: Trend, width: int, height: int) -> list[str]:
    """Return the lines to show.

    :param status: what ``status`` answers, all of it.
    :param requests: what ``requests`` answers.
    :param width: columns of the terminal.
    :param height: lines of it; what does not fit is left out at the end.
    """
    status, requests = in_lines(status), in_lines(requests)
    lines = [*_summary(status, trend), "", *_workers(status, trend)]
    flight = _flight(requests)
    room = height - len(lines) - 2
    if room < len(flight):
        flight = [*flight[: max(0, room - 1)], f"and {len(flight) - max(0, room - 1)} more lines"]
    return [line[:width] for line in [*lines, "", *flight][:height]]


def _summary(status: Values, trend: Trend) -> Iterator[str]:
    yield (
        f"Spawning {status['version']}  {status['address']}  {status['condition']}  pid {status['pid']}"
        f"  up {duration(status['uptime'])}"
    )
    workers = [worker for generation in status["generations"] for worker in generation["workers"]]

    def total(name: str) -> int:
        return sum(worker[name] or 0 for worker in workers)

    totals = status["totals"]
    backlog = sum(each["backlog"] or 0 for each in status["listeners"])
    yield (
        f"requests/s {number(trend.requests)}  5xx/s {number(trend.errors)}  in flight {total('executing')}"
        f"  waiting {total('queued')}  connections {total('connections')}  not accepted {backlog}"
        f"  requests {count(totals['requests'])}  refused {count(totals['refused'])}"
    )
    if trend.p50 is not None:
        yield f"latency  p50 {seconds(trend.p50)}  p95 {seconds(trend.p95)}  p99 {seconds(trend.p99)}"
    if status["reloads"]:
        last = status["reloads"][0]
        reason = f": {last['reason']}" if last["reason"] else ""
        yield f"last reload  generation {last['generation']} {last['result']} ({last['trigger']}){reason}"


def _workers(status: Values, trend: Trend) -> list[str]:
    head = ("worker", "state", "up", "requests", "req/s", "5xx", "inline", "busy", "idle", "waiting", "conns", "pid")
    rows = [
        [*worker_cells(each, trend.workers.get(each["name"], 0.0)), count(each["pid"], "")]
        for generation in reversed(status["generations"])
        for each in generation["workers"]
    ]
    return table(head, rows) if rows else ["no worker"]


def _flight(requests: Values) -> list[str]:
    rows = [
        (each["seconds"], worker["name"], each["thread"], each["address"], request_cell(each))
        for worker in requests["workers"]
        for each in worker["requests"] or ()
    ]
    if not rows:
        return ["no request is executing"]
    rows.sort(key=lambda row: -row[0])
    return table(("age", "worker", "thread", "client", "request"), [(seconds(age), *rest) for age, *rest in rows])


def watch(ask: Callable[[], tuple[Values, Values]], interval: float) -> None:
    """Show one frame after the other until somebody types q; or, where stdout is no terminal, one after an interval.

    :param ask: returns what ``status`` and ``requests`` answer.
    :param interval: seconds between two frames.
    """
    history = History()
    live = sys.stdout.isatty()
    with _screen() if live else contextlib.nullcontext():
        first = True
        while True:
            status, requests = ask()
            trend = history.add(status)
            if live:
                size = shutil.get_terminal_size()
                _show(frame(status, requests, trend, size.columns, size.lines))
            elif not first:
                print("\n".join(frame(status, requests, trend, 1000, 1000)))
                return
            first = False
            if _asked_to_quit(interval):
                return


def _show(lines: Sequence[str]) -> None:
    sys.stdout.write(_HOME + "\r\n".join(line + _CLEAR_LINE for line in lines) + _CLEAR_REST)
    sys.stdout.flush()


def _asked_to_quit(interval: float) -> bool:
    """Wait for a key, an interval at most; whether it is one that ends."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        select.select([], [], [], interval)
        return False
    ready, _, _ = select.select([sys.stdin], [], [], interval)
    return bool(ready) and sys.stdin.read(1) in _QUIT


@contextlib.contextmanager
def _screen() -> Iterator[None]:
    """Take the terminal: a screen of our own, keys as they are typed."""
    fd = sys.stdin.fileno()
    before = termios.tcgetattr(fd) if sys.stdin.isatty() else None
    try:
        if before is not None:
            tty.setcbreak(fd)
        sys.stdout.write(_BEGIN)
        yield
    finally:
        sys.stdout.write(_END)
        sys.stdout.flush()
        if before is not None:
            termios.tcsetattr(fd, termios.TCSADRAIN, before)
