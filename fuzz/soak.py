"""``python -m fuzz.soak``: hostile clients, kill -9 and many requests for minutes; a table says what it came to.

The long form of ``tests/integration/test_hostile.py``: seven parts, each with a server of its own. Ends with status 1
if something is not as it must be. Needs what `make test` needs.
"""

import argparse
import collections
import contextlib
import json
import os
import random
import re
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from fuzz.chaos import KINDS, chaos, parts
from fuzz.counting import counting
from integration.client import Client, Closed, fetch, request
from integration.control import spawnctl
from integration.gate import Gate
from integration.hostile import PHASES, Flights, Mutator, check, check_flight, reset
from integration.server import Server, until

QUIET = ("-l", "/dev/null")
FREE = (Closed, OSError)  # what a client of a killed worker gets


class Results:
    """The rows of the table; a row that is not as it must be makes the whole fail."""

    def __init__(self) -> None:
        self.failed = False
        print("| part | seen | must be |\n|---|---|---|", flush=True)

    def row(self, name: str, seen: object, must: object, good: bool) -> None:
        self.failed |= not good
        print(f"| {name} | {seen}{'' if good else ' **wrong**'} | {must} |", flush=True)

    def log(self, name: str, server: Server, allowed: str) -> None:
        """Look for lines that must not be in a server's log; `allowed` is a pattern of those that may."""
        lines = [line for line in server.err.since() if not re.search(rf" INFO |{allowed}", line)]
        self.row(f"{name}: other lines in the log", len(lines), "0", not lines)
        for line in lines[:20]:
            print(f"    {line}", file=sys.stderr)


def together(clients: int, run: Callable[[int], None]) -> None:
    """Run a function in several threads, each with its number, and wait for all."""
    threads = [threading.Thread(target=run, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def descriptors(pid: int) -> int:
    """Count the descriptors of a process that has no client any more."""
    process = psutil.Process(pid)
    until(lambda: not any(at.raddr for at in process.net_connections("tcp")), "no connection")
    return process.num_fds()


# The parts -----------------------------------------------------------------------------------------------------------


def mutations(results: Results, application: str, inputs: int, bind: str = "127.0.0.1:0") -> None:
    """Check the answers to mutated and random bytes, and over TLS what becomes of mutated handshakes."""
    clients = 12
    wrong: list[str] = []

    def attack(number: int) -> None:
        mutator = Mutator(1000 + number)
        for _ in range(inputs // clients):
            data = mutator.input()
            try:
                check(server.where, data, mutator.pieces(data))
                if server.secure:
                    data = flights[number].flight()
                    check_flight(server.port, data)
            except (AssertionError, *FREE) as error:
                wrong.append(f"{error!r} {data!r}")

    flights = [Flights(2000 + number) for number in range(clients)]
    with Server(application, "-s", "2", "-t", "4", *QUIET, bind=bind) as server:
        before = steady(server)
        together(clients, attack)
        name = f"{inputs} mutated inputs to {application}{' over TLS' if server.secure else ''}"
        results.row(f"{name}: answers that differ from the reader's", len(wrong), "0", not wrong)
        compare(results, name, before, steady(server))
        results.log(name, server, "^$")
    for line in wrong[:10]:
        print(f"    {line}", file=sys.stderr)


def resets(results: Results, times: int) -> None:
    """Reset connections in each phase."""
    with (
        Server("basics.application", "-s", "2", "-t", "4", *QUIET) as server,
        tempfile.TemporaryDirectory() as directory,
        Gate(Path(directory)) as gate,
    ):
        before = steady(server)
        for phase in PHASES:
            together(4, lambda number, phase=phase: [_reset(server.port, phase) for _ in range(times // 4)])
        for _ in range(times):
            client = Client(server.port)
            client.send(request(gate.target))
            gate.wait_entered()
            reset(client)
            gate.open()
        good = [fetch(server.port).status for _ in range(100)] == [200] * 100
        results.row(f"{times} resets in each of {len(PHASES) + 1} phases: serves on", good, "True", good)
        compare(results, "resets", before, steady(server))
        results.log("resets", server, "^$")


def _reset(port: int, phase: Callable[[Client], None]) -> None:
    client = Client(port)
    phase(client)
    reset(client)


def kills(results: Results, seconds: float) -> None:
    """Kill a worker every half a second, under load of good and bad clients."""
    end = time.monotonic() + seconds
    counts: collections.Counter[str] = collections.Counter()
    killed = 0
    with Server("basics.application", "-s", "3", "-t", "4", *QUIET) as server:
        before = descriptors(server.pid), descriptors(server.fork_servers()[0].pid), min(steady(server))

        def client(number: int) -> None:
            choose = random.Random(number)
            while time.monotonic() < end:
                try:
                    if number < 2:
                        _reset(server.port, choose.choice(PHASES))
                    else:
                        use(server.port, choose, counts)
                except FREE:
                    counts["lost"] += 1
                except AssertionError as error:
                    counts["wrong"] += 1
                    print(f"    {error!r}", file=sys.stderr)

        threads = [threading.Thread(target=client, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        chance = random.Random(0)
        while time.monotonic() < end:
            status = json.loads(spawnctl("-a", f"127.0.0.1:{server.port}", "status", "--json").out)
            workers = [worker for generation in status["generations"] for worker in generation["workers"]]
            pids = [worker["pid"] for worker in workers if worker["pid"]]
            with contextlib.suppress(ProcessLookupError, IndexError):  # the last one killed may still be told of
                os.kill(chance.choice(pids), signal.SIGKILL)
                killed += 1
            until(lambda: len(server.workers()) == 3, "three workers")
        for thread in threads:
            thread.join()
        results.row(f"{seconds:.0f} s, workers killed", killed, "> 0", killed > 0)
        results.row("requests answered, lost with a worker", f"{counts['answered']}, {counts['lost']}", "", True)
        results.row("wrong answers", counts["wrong"], "0", not counts["wrong"])
        after = descriptors(server.pid), descriptors(server.fork_servers()[0].pid), max(steady(server))
        names = "descriptors of controller, fork server, a worker"
        results.row(f"kills: {names}", f"{before} → {after}", "the same", before == after)
        results.log("kills", server, r" WARNING worker died .* signal=SIGKILL$")


def reloads(results: Results, application: str, seconds: float) -> None:
    """Reload without pause while hostile clients are served: nothing may be answered differently, nothing closed."""
    end = time.monotonic() + seconds
    wrong: list[str] = []
    counts: collections.Counter[str] = collections.Counter()
    with Server(application, "-s", "2", "-t", "4", *QUIET) as server:

        def attack(number: int) -> None:
            mutator = Mutator(2000 + number)
            while time.monotonic() < end:
                data = mutator.input()
                try:
                    check(server.port, data, mutator.pieces(data))
                except (AssertionError, *FREE) as error:
                    wrong.append(f"{error!r} {data!r}")
                counts["inputs"] += 1

        threads = [threading.Thread(target=attack, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        while time.monotonic() < end:
            counts["reloads" if server.reload() else "refused"] += 1
        for thread in threads:
            thread.join()
        name = f"{counts['inputs']} mutated inputs during {counts['reloads']} reloads of {application}"
        name += ": answers that differ"
        results.row(name, len(wrong), "0", not wrong and not counts["refused"])
        results.log("reloads", server, "^$")
    for line in wrong[:10]:
        print(f"    {line}", file=sys.stderr)


def memory(results: Results, requests: int) -> None:
    """Measure a worker that has served a while, have it serve many requests of all kinds more, and measure again.

    Caches fill and the allocator finds its size during the first ones: a leak goes on afterwards. A thread brings half
    a megabyte along, so all of them are started at the beginning, by requests that wait for each other.
    """
    with Server("crowd.application", "-s", "1", "-t", "4", *QUIET) as server:
        together(4, lambda number: fetch(server.port, "/meet?parties=4"))
        (worker,) = server.workers()
        process = psutil.Process(worker.pid)
        counts: collections.Counter[str] = collections.Counter()
        seen = []
        for goal in (requests // 10, requests, requests * 3 // 2, requests * 2):

            def client(number: int) -> None:
                choose = random.Random(number)
                while counts["answered"] < goal:  # noqa: B023
                    use(server.port, choose, counts)

            together(6, client)
            seen.append((process.memory_info().rss, descriptors(worker.pid), process.num_threads()))
            told = f"{seen[-1][0] / 2**20:.2f} MB, {seen[-1][1]}, {seen[-1][2]}"
            results.row(f"after {counts['answered']} requests: memory, descriptors, threads", told, "", True)
        growth = seen[-1][0] / seen[1][0] - 1
        results.row(f"memory: growth by the last {requests} requests", f"{growth:+.2%}", "at most 2 %", growth <= 0.02)
        results.row("memory: descriptors", seen[-1][1], seen[0][1], seen[-1][1] == seen[0][1])
        results.log("memory", server, "^$")


def use(port: int, choose: random.Random, counts: "collections.Counter[str]") -> None:
    """Do what a client does on one connection: a few requests of each kind."""
    with Client(port) as client:
        for _ in range(choose.randrange(1, 60)):
            kind = choose.randrange(12)
            if kind == 0:
                body = choose.randbytes(100_000)
                assert client.post("/echo", body).body == body
            elif kind == 1:
                assert len(client.get("/stream").body) == 70
            elif kind == 2:
                assert len(client.get(f"/repeat?bytes={choose.randrange(300_000)}").body) < 300_000
            elif kind == 3:
                fields = [f"X-{choose.randrange(1000)}: {choose.random()}" for _ in range(choose.randrange(8))]
                assert client.get(f"/path/{choose.random()}", *fields).status == 200
            elif kind == 4:
                body = choose.randbytes(choose.randrange(2000))
                assert client.post("/echo", body).body == body
            else:
                assert client.get("/hello").body == b"Hello, world!\n"
            counts["answered"] += 1


# Looking at the workers ----------------------------------------------------------------------------------------------


def steady(server: Server) -> list[int]:
    """Count the descriptors of each worker, when all have served and have no client."""
    for _ in range(50):
        fetch(server.where)
    return [descriptors(worker.pid) for worker in server.workers()]


def compare(results: Results, name: str, before: list[int], after: list[int]) -> None:
    results.row(f"{name}: descriptors of each worker", f"{before} → {after}", "the same", before == after)


def main() -> None:
    """Run all parts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=40_000, help="mutated inputs")
    parser.add_argument("--resets", type=int, default=200, help="resets in each phase")
    parser.add_argument("--seconds", type=float, default=60, help="how long workers are killed; as long are reloads")
    parser.add_argument("--requests", type=int, default=100_000, help="requests between two looks at the memory")
    parser.add_argument(
        "--chaos", type=float, default=60, metavar="SECONDS", help="how long everything happens at once"
    )
    parser.add_argument("--counting", type=int, default=100, metavar="N", help="reloads, and workers killed, counted")
    parser.add_argument("--chaos-only", action="store_true", help="leave out the other parts")
    parser.add_argument("--counting-only", action="store_true", help="leave out the other parts")
    parser.add_argument("--chaos-kinds", type=parts, default=KINDS, metavar="KINDS", help=f"some of {','.join(KINDS)}")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32), help="of the chaos")
    options = parser.parse_args()
    results = Results()
    if options.counting_only:
        counting(results, options.counting)
        sys.exit(results.failed)
    if not options.chaos_only:
        for application in ("fingerprint.application", "uneven.application"):
            mutations(results, application, options.inputs // 2)
            mutations(results, application, options.inputs // 8, bind="127.0.0.1:0?tls")
            reloads(results, application, options.seconds / 2)
        resets(results, options.resets)
        kills(results, options.seconds)
        memory(results, options.requests)
        counting(results, options.counting)
    chaos(results, options.chaos, options.seed, options.chaos_kinds)
    sys.exit(results.failed)


if __name__ == "__main__":
    main()
