"""What slow clients cost the fast ones: ``python -m bench.slow``, servers side by side.

Each server gets one worker with two threads. ``wrk`` asks for a small response alone, beside slow clients
(``slow_clients.py``), and alone again, since machines drift: slow with heads, with bodies, readers of responses of 10
MB, and all of them; and over TLS, with handshakes. The application makes a body of 10 MB for each request, whatever the
server. While slow clients are there, two requests that sleep show how many of the two threads are free: they end
together, one after the other, or not at all. Memory is the PSS of the process tree.

``--document`` writes the table between the marks of a page. The exit status is 1 when Spawning loses more than 15 % or
has a thread held.
"""

import argparse
import contextlib
import dataclasses
import json
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import NamedTuple

from bench import install, launch, load, marks, tree
from bench.apps import WAIT_SECONDS
from bench.asking import connection
from bench.idle import raise_descriptor_limit
from bench.measure import ROOT, Bench, serving
from bench.servers import SERVERS
from bench.workloads import Workload

HERE = Path(__file__).parent
DEFAULT_SERVERS = ("spawning", "gunicorn", "waitress", "granian")
THREADS = 2
LEAST_KEPT = 0.85
PROBE_SECONDS = 5.0
TRIES = 3
SETTLE_SECONDS = 1.0
MOST_SECONDS = 60
"""How long the slow clients go on if nobody ends them."""


class Numbers(NamedTuple):
    """How many slow clients of each kind there are; with handshakes the fast ones speak TLS too."""

    heads: int = 0
    bodies: int = 0
    readers: int = 0
    handshakes: int = 0


KINDS = {
    "500 slow heads": Numbers(heads=500),
    "500 slow bodies": Numbers(bodies=500),
    "200 slow readers of 10 MB": Numbers(readers=200),
    "all 1,200": Numbers(500, 500, 200),
    "1,000 slow handshakes": Numbers(handshakes=1000),
}
FAST = Workload(name="slow", title="", app="bench.apps:beside_slow", threads=THREADS)
SECURE = dataclasses.replace(FAST, over="tls")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one run has shown.

    :param alone: the fast clients' requests a second without slow ones, ``beside`` with them.
    :param alone_us: CPU µs of the server for each, ``beside_us`` with what the slow clients cost; 0 without any.
    :param slow_ms: CPU milliseconds of the server a second for the slow clients alone.
    :param held: threads that were not free.
    :param before_mb: PSS without slow clients, ``after_mb`` with them.
    :param fates: what became of the slow clients.
    """

    alone: float
    beside: float
    alone_us: float
    beside_us: float
    slow_ms: float
    held: int
    before_mb: float
    after_mb: float
    fates: dict[str, int]


def measure(bench: Bench, server: str, numbers: Numbers) -> Outcome:
    """Run one server with the fast clients, then with these numbers of slow ones too.

    :raises launch.ServerError: it does not start.
    """
    fast = SECURE if numbers.handshakes else FAST
    log = bench.work / "logs" / f"slow-{server}.log"
    with serving(bench, SERVERS[server], fast, log) as running:
        load.warm_up(fast, running.port, bench.work)
        before_mb = tree.pss_bytes(running.pid) / 1e6
        first, first_us = _fast(bench, fast, running)
        with _slow_clients(running.pid, running.port, numbers) as fates:
            beside, beside_us = _fast(bench, fast, running)
            held = _held(fast, running.port)
            begin_cpu = tree.cpu_seconds(running.pid)
            time.sleep(bench.seconds)
            slow_ms = (tree.cpu_seconds(running.pid) - begin_cpu) / bench.seconds * 1e3
            after_mb = tree.pss_bytes(running.pid) / 1e6
        launch.wait_for_rest(running.pid)
        last, last_us = _fast(bench, fast, running)
    return Outcome(
        alone=(first + last) / 2,
        beside=beside,
        alone_us=(first_us + last_us) / 2,
        beside_us=beside_us,
        slow_ms=slow_ms,
        held=held,
        before_mb=before_mb,
        after_mb=after_mb,
        fates=fates,
    )


def _fast(bench: Bench, fast: Workload, running: launch.Running) -> tuple[float, float]:
    """Return the fast clients' requests a second, and the server's CPU µs for each."""
    before = tree.cpu_seconds(running.pid)
    seen = load.run(fast, running.port, bench.seconds, bench.work)
    cpu = tree.cpu_seconds(running.pid) - before
    return seen.requests / seen.seconds, cpu / seen.requests * 1e6 if seen.requests else 0.0


@contextlib.contextmanager
def _slow_clients(server: int, port: int, numbers: Numbers) -> Iterator[dict[str, int]]:
    """Have slow clients for the time of the block; what became of them is in the dictionary afterwards.

    :param server: the process that must have come to rest: filling the kernel's buffers for all readers takes a moment.
    """
    fates: dict[str, int] = {}
    command = [sys.executable, "-m", "bench.slow_clients", *map(str, (port, *numbers, MOST_SECONDS))]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as clients:
        assert clients.stdout is not None
        try:
            if clients.stdout.readline() != "connected\n":
                raise launch.ServerError("does not take the slow clients' connections")
            time.sleep(SETTLE_SECONDS)
            launch.wait_for_rest(server)
            yield fates
            output, _ = clients.communicate(timeout=load.GRACE_SECONDS)
            fates |= json.loads(output or "{}")
        finally:
            clients.kill()


def _held(fast: Workload, port: int) -> int:
    """Count the threads that are not free; the best of some tries, since one that a slow client holds stays held."""
    least = THREADS
    for _ in range(TRIES):
        least = min(least, _not_free(fast, port))
        if least in (0, THREADS):  # nothing, or nothing more to be learnt
            break
    return least


def _not_free(fast: Workload, port: int) -> int:
    """Have as many requests sleep as there are threads, and see whether they do so at the same time."""
    begin = time.monotonic()
    probes = [threading.Thread(target=_wait, args=(fast, port), daemon=True) for _ in range(THREADS)]
    for probe in probes:
        probe.start()
    for probe in probes:
        probe.join(max(0.0, begin + PROBE_SECONDS - time.monotonic()))
    if any(probe.is_alive() for probe in probes):
        return THREADS
    return 0 if time.monotonic() - begin < 1.8 * WAIT_SECONDS else THREADS - 1


def _wait(fast: Workload, port: int) -> None:
    asking = connection(port, timeout=2 * PROBE_SECONDS, secure=fast.over == "tls")
    with contextlib.suppress(OSError, HTTPException), contextlib.closing(asking):
        asking.request("GET", "/wait")
        asking.getresponse().read()
        return
    time.sleep(PROBE_SECONDS)  # no answer at all is no free thread


def median(outcomes: list[Outcome]) -> Outcome:
    """Return the median of each figure; of threads held and of what became of clients, the most."""
    figures = {
        name: statistics.median(getattr(outcome, name) for outcome in outcomes)
        for name in ("alone", "beside", "alone_us", "beside_us", "slow_ms", "before_mb", "after_mb")
    }
    kinds = {kind for outcome in outcomes for kind in outcome.fates}
    fates = {kind: max(outcome.fates.get(kind, 0) for outcome in outcomes) for kind in sorted(kinds)}
    return Outcome(**figures, held=max(outcome.held for outcome in outcomes), fates=fates)


def kept(outcomes: list[Outcome]) -> float:
    """Return the median of the share of requests that is left: each repetition is its own measure."""
    return statistics.median(outcome.beside / outcome.alone for outcome in outcomes)


Found = dict[tuple[str, str], list[Outcome]]
"""Kind of slow clients and server to outcomes."""


def table(found: Found) -> str:
    """Write the medians as Markdown; an arrow leads from without the slow clients to with them."""
    headings = [
        "slow clients",
        "server",
        "requests/s",
        "kept",
        "CPU µs/request",
        "theirs, ms/s",
        "threads held",
        "memory, MB",
    ]
    lines = [headings, [*["---"] * 2, *["---:"] * 6]]
    for (kind, server), outcomes in found.items():
        figures = median(outcomes)
        rates = f"{figures.alone:,.0f} → {figures.beside:,.0f}", f"{kept(outcomes):.0%}"
        cost = f"{figures.alone_us:,.1f} → {figures.beside_us:,.1f}" if figures.beside_us else ""
        held = f"{figures.held} of {THREADS}"
        memory = f"{figures.before_mb:,.0f} → {figures.after_mb:,.0f}"
        lines.append([kind, server, *rates, cost, f"{figures.slow_ms:.0f}", held, memory])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _missed(found: Found) -> bool:
    ours = [outcomes for (_, server), outcomes in found.items() if server == "spawning"]
    return any(kept(outcomes) < LEAST_KEPT or median(outcomes).held for outcomes in ours)


def main() -> int:
    """Measure, interleaved by server; the exit status says whether Spawning does what it is to do."""
    parser = argparse.ArgumentParser(prog="python -m bench.slow", description=(__doc__ or "").partition("\n")[0])
    add = parser.add_argument
    add("--servers", type=lambda text: text.split(","), default=list(DEFAULT_SERVERS), help="comma-separated")
    add("--kinds", type=lambda text: text.split(","), default=list(KINDS), help="parts of names")
    add("--seconds", type=int, default=3, help="how long each part of a measurement lasts (default: 3)")
    add("--reps", type=int, default=3, help="repetitions, interleaved (default: 3)")
    add("--venv", type=Path, default=HERE / ".venv", help="virtual environment with the servers (default: bench/.venv)")
    add("--work", type=Path, default=HERE / ".work", help="directory for logs (default: bench/.work)")
    add("--document", type=Path, help="page with the marks for the table")
    options = parser.parse_args()
    install.check()
    raise_descriptor_limit(sum(KINDS["all 1,200"]) + 500)
    bench = Bench(options.venv.absolute() / "bin" / "python", options.work.absolute(), options.seconds, 1)
    (bench.work / "logs").mkdir(parents=True, exist_ok=True)
    bench.make_certificate()
    kinds = [kind for kind in KINDS if any(part in kind for part in options.kinds)]
    found: Found = {
        (kind, server): []
        for kind in kinds
        for server in options.servers
        if not KINDS[kind].handshakes or SERVERS[server].takes_part(SECURE)
    }
    print(f"about {len(found) * options.reps * (4 * options.seconds + 5) / 60:.0f} min", file=sys.stderr)
    for _ in range(options.reps):
        for (kind, server), outcomes in found.items():
            outcomes.append(measure(bench, server, KINDS[kind]))
            print(kind, server, dataclasses.asdict(outcomes[-1]), file=sys.stderr, flush=True)
    text = table(found)
    print(text)
    if options.document:
        marks.replace(options.document, "bench/slow.py", text)
    return int(_missed(found))


if __name__ == "__main__":
    sys.exit(main())
