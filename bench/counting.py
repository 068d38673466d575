"""What counting for status page and metrics costs a request: ``python -m bench.counting``.

Two servers that are the same differ by one or two per cent, from start to start, which is more than what is looked for.
So one worker counts for a tenth of a second and does not for the next, while ``b1`` is put on it: the same process,
memory and neighbours. What its service needs beside, for the status process and what that is told, is the same
however many requests there are. It is measured apart, with nobody asking.
"""

import argparse
import gc
import json
import statistics
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from bench import load, tree
from bench.apps import Environ, StartResponse, hello
from bench.asking import connection
from bench.measure import Bench, serving
from bench.servers import SERVERS
from bench.workloads import WORKLOADS

HERE = Path(__file__).parent
SETTLE_SECONDS = 0.02
"""Behind a switch, before anything is measured."""

SPELL_SECONDS = 0.08
"""How long is measured, until the next switch."""

REST_SECONDS = 2.0
"""Behind a start, before an idle service is measured."""

IDLE_SECONDS = 20.0


class Switch:
    """In the worker: counts or does not, and notes the CPU time of its requests.

    :ivar found: µs a request, of each spell: without counting, and with.
    """

    def __init__(self) -> None:
        from spawning.worker.dispatch import Dispatch

        self.found: tuple[list[float], list[float]] = ([], [])
        # No setting changes this while a worker lives, so it is taken out of the server by force.
        self._dispatch: Any = next(each for each in gc.get_objects() if type(each) is Dispatch)
        self._tally = self._dispatch._tally
        self._begun: tuple[float, int] | None = None

    def turn(self, counting: bool) -> None:
        """End a spell, and count from now on, or do not."""
        dispatch = self._dispatch
        if self._begun is not None:
            cpu, calls = self._begun
            self.found[dispatch._timed].append((time.process_time() - cpu) * 1e6 / (dispatch.calls - calls))
            self._begun = None
        dispatch._tally = self._tally if counting else None
        dispatch._timed = counting

    def begin(self) -> None:
        """Begin a spell."""
        self._begun = time.process_time(), self._dispatch.calls


_switch = cache(Switch)


def application(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Answer as ``apps.hello``; the switch has paths of its own."""
    path = environ["PATH_INFO"]
    if path == "/":
        return hello(environ, start_response)
    switch = _switch()
    if path == "/begin":
        switch.begin()
    else:
        switch.turn(path == "/on")
    body = json.dumps(switch.found).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]


def _spells(port: int, seconds: float) -> tuple[list[float], list[float]]:
    """Switch for so many seconds; return what was found."""
    client = connection(port, 10)

    def ask(path: str) -> Any:
        client.request("GET", path)
        return json.loads(client.getresponse().read())

    until = time.monotonic() + seconds
    counting = False
    while time.monotonic() < until:
        ask("/on" if counting else "/off")
        time.sleep(SETTLE_SECONDS)
        ask("/begin")
        time.sleep(SPELL_SECONDS)
        counting = not counting
    without, with_ = ask("/off")
    client.close()
    return without, with_


def in_worker(bench: Bench) -> tuple[float, float]:
    """Return the CPU time (µs) of a request without counting, and with, in one worker of one start."""
    workload = replace(WORKLOADS["q"], app="bench.counting:application")
    with serving(bench, SERVERS["spawning"], workload, bench.work / "logs" / "counting.log") as running:
        load.warm_up(workload, running.port, bench.work)
        with ThreadPoolExecutor() as beside:
            client = beside.submit(load.run, workload, running.port, bench.seconds + 2, bench.work)
            time.sleep(0.5)
            without, with_ = _spells(running.port, bench.seconds)
        client.result()
    return statistics.median(without), statistics.median(with_)


def idle(bench: Bench, name: str) -> float:
    """Return the CPU time (ms) that the whole service takes a second while nobody asks."""
    with serving(bench, SERVERS["spawning"], WORKLOADS[name], bench.work / "logs" / "counting.log") as running:
        time.sleep(REST_SECONDS)
        before = tree.cpu_seconds(running.pid)
        time.sleep(IDLE_SECONDS)
        return (tree.cpu_seconds(running.pid) - before) * 1000 / IDLE_SECONDS


def main() -> None:
    """Measure, and print a line a start and the medians."""
    parser = argparse.ArgumentParser(prog="python -m bench.counting", description="See bench/README.md.")
    add = parser.add_argument
    add("--starts", type=int, default=8, help="of the server (default: 8)")
    add("--seconds", type=int, default=20, help="that each is measured (default: 20)")
    add("--venv", type=Path, default=HERE / ".venv", help="virtual environment with the servers (default: bench/.venv)")
    add("--work", type=Path, default=HERE / ".work", help="directory for data and logs (default: bench/.work)")
    options = parser.parse_args()
    bench = Bench(options.venv.absolute() / "bin" / "python", options.work.absolute(), options.seconds, 1)
    bench.prepare()
    found = []
    for _ in range(options.starts):
        without, with_ = in_worker(bench)
        found.append((without, with_ / without))
        print(f"{without:.2f} → {with_:.2f} µs CPU a request in the worker, {with_ / without:.3f} times", flush=True)
    cost, times = (statistics.median(each) for each in zip(*found, strict=True))
    beside = idle(bench, "q") - idle(bench, "b1")
    share = beside / 1000  # of a processor, which the worker fills
    print(f"median {times:.3f} of {cost:.2f} µs; beside it {beside:.1f} ms a second: {times + share:.3f} times in all")


if __name__ == "__main__":
    main()
