"""Reloads and killed workers under load, with all metrics on: no counter ever goes back, and none counts too much.

A part of ``python -m fuzz.soak``; ``tests/integration/test_metrics.py`` does it a few times, with upgrades too.
"""

import contextlib
import os
import signal
import sys
import threading
from collections import Counter
from typing import Protocol

from integration.client import Client, Closed
from integration.server import Server, until
from integration.status import STATUS, counters, status_port

CLIENTS = 4
WORKERS = 3
VISITS = 'visits_total{page="/a"}'  # what the application itself counts
ANSWERS = 'spawning_requests_total{method="GET",status="2xx"}'


class Table(Protocol):
    def row(self, name: str, seen: object, must: object, good: bool) -> None:
        """Print a row; one that is not good makes the whole fail."""

    def log(self, name: str, server: Server, allowed: str) -> None:
        """Look for lines that must not be in a server's log."""


def counting(table: Table, times: int) -> None:
    """Reload and kill a worker by turns, so many times each, while clients ask and counters are read all the time."""
    options = ["--app-metrics", "--keep-previous", "0.1", *STATUS]
    with Server("measured.application", "-s", str(WORKERS), "-t", "4", *options) as server:
        load = Load(server.port)
        scraper = Scraper(status_port(server))
        with load, scraper:
            for _ in range(times):
                assert server.reload(), server.log()[-2000:]
                os.kill(server.wait_workers(WORKERS)[-1].pid, signal.SIGKILL)
                server.wait_workers(WORKERS)
        answered, lost = load.counts["answered"], load.counts["lost"]
        exits = 'spawning_worker_exits_total{cause="signal"}'
        until(lambda: counters(scraper.port)[exits] == times, f"{times} killed workers are counted")
        last = counters(scraper.port)
        name = f"{times} reloads, {times} killed workers"
        table.row(f"{name}: counters that went back", len(scraper.back), "0", not scraper.back)
        for line in [*scraper.back[:10], *scraper.failed[:10]]:
            print(f"    {line}", file=sys.stderr)
        table.row(f"{name}: looks that failed", len(scraper.failed), "0", not scraper.failed)
        table.row(f"{name}: looks at {len(last)} counters", scraper.looks, f"> {times}", scraper.looks > times)
        reloads = last['spawning_reloads_total{result="finished"}']
        table.row(f"{name}: reloads counted", f"{reloads:.0f}", times, reloads == times)
        # A request that was under way in a killed worker may have been counted by the application.
        most = answered + lost
        table.row(
            f"{name}: visits that the application counts", f"{last[VISITS]:.0f}", f"{answered} to {most}",
            answered <= last[VISITS] <= most,
        )  # fmt: skip
        # What a worker has not reported when it is killed, of less than a second, is nobody's.
        table.row(f"{name}: answers counted", f"{last[ANSWERS]:.0f}", f"0 to {most}", 0 < last[ANSWERS] <= most)
        table.log("counting", server, r" WARNING worker died .* signal=SIGKILL$")


class _Repeated:
    """Something done again and again by threads, from entry to exit."""

    threads = 1

    def __init__(self) -> None:
        self._ended = threading.Event()
        self._running = [threading.Thread(target=self._run) for _ in range(self.threads)]

    def __enter__(self) -> None:
        for thread in self._running:
            thread.start()

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._running:
            thread.join()

    def _run(self) -> None:
        while not self._ended.is_set():
            self.once()

    def once(self) -> None:
        raise NotImplementedError


class Load(_Repeated):
    """Clients, each with one request at a time on connections of some requests."""

    threads = CLIENTS

    def __init__(self, port: int) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()
        self._port = port
        self._lock = threading.Lock()

    def once(self) -> None:
        outcomes: Counter[str] = Counter()
        with contextlib.suppress(Closed, OSError), Client(self._port) as client:
            for _ in range(20):
                outcomes["lost"] += 1  # until it is answered
                assert client.get("/a").status == 200
                outcomes["lost"] -= 1
                outcomes["answered"] += 1
        with self._lock:
            self.counts += outcomes


class Scraper(_Repeated):
    """Reads ``/metrics`` and compares each counter with what it was the time before."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self.port = port
        self.back: list[str] = []
        self.failed: list[str] = []
        self.looks = 0
        self._before: dict[str, float] = {}

    def once(self) -> None:
        try:
            found = counters(self.port)
        except (AssertionError, Closed, OSError) as error:
            self.failed.append(repr(error))
            return
        for name, value in self._before.items():
            if found.get(name, -1.0) < value:
                self.back.append(f"{name}: {value} → {found.get(name)}")
        self._before = found
        self.looks += 1
