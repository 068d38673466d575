"""Does anything grow with each reload? ``python3 -m bench.leak``: descriptors, processes, threads, memory.

A small application under light load is edited and reloaded, five times and then up to two hundred times; at both
points, when old workers have gone, the controller and its whole tree are looked at. The generation that is kept for a
rollback counts the same at both. Bounded and on the loopback address. The exit status is 1 if something has grown:
descriptors, processes or threads at all, memory by more than a fiftieth.
"""

import argparse
import os
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from bench.launch import free_port
from bench.reload_clients import Clients, steps_back
from bench.reload_servers import SERVERS
from bench.reload_site import Site

_SETTLE_SECONDS = 20.0
_GROWTH = 1.02


@dataclass(frozen=True, slots=True)
class Figures:
    """What the controller, and the tree (the controller too), use; memory in KiB, anonymous, in proportional shares."""

    controller_descriptors: int
    controller_threads: int
    controller_memory: int
    processes: int
    descriptors: int
    threads: int
    memory: int


def measure(site: Site) -> Figures:
    """Look at a server once it has come to rest."""
    pids, controller = _settled(site), site.main
    return Figures(
        controller_descriptors=_descriptors(controller),
        controller_threads=_threads(controller),
        controller_memory=_memory(controller),
        processes=len(pids),
        descriptors=sum(map(_descriptors, pids)),
        threads=sum(map(_threads, pids)),
        memory=sum(map(_memory, pids)),
    )


def _settled(site: Site) -> list[int]:
    """Wait until the processes are the same for a second, and give them."""
    until = time.monotonic() + _SETTLE_SECONDS
    before: list[int] = []
    while time.monotonic() < until:
        found = sorted(site.processes())
        if found == before:
            return found
        before = found
        time.sleep(1.0)
    raise SystemExit(f"the processes do not come to rest within {_SETTLE_SECONDS:g} s")


def _descriptors(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def _threads(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/task"))


def _memory(pid: int) -> int:
    """Return what no file is behind: pages of files are shared with whatever else runs on the machine."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss_Anon:"))


def run(site: Site, first: int, last: int, options: str) -> tuple[Figures, Figures]:
    """Reload `last` times; give the figures after `first` reloads and at the end."""
    site.start(options)
    figures = []
    with Clients(site.port, 1) as clients:
        for count in range(1, last + 1):
            site.edit()
            if not site.reload():
                raise SystemExit(f"reload {count} has brought nothing new:\n{site.log.read_text()[-2000:]}")
            if count % 10 == 0:
                print(f"{count} of {last} reloads", file=sys.stderr, flush=True)
            if count in (first, last):
                figures.append(measure(site))
    print(f"{len(clients.answers)} requests, {len(clients.troubles)} failed, {steps_back(clients.answers)} steps back")
    return figures[0], figures[1]


def report(first: int, last: int, before: Figures, after: Figures) -> bool:
    """Print both; whether something has grown."""
    grown = False
    print(f"| | after {first} reloads | after {last} |\n|---|---:|---:|")
    for name in Figures.__slots__:
        was, now = getattr(before, name), getattr(after, name)
        more = now > was * (_GROWTH if name.endswith("memory") else 1)
        grown |= more
        unit = " (KiB)" if name.endswith("memory") else ""
        print(f"| {name.replace('_', ', ')}{unit} | {was:,} | {now:,}{' **grown**' if more else ''} |")
    return grown


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--first", type=int, default=5, help="reloads before the first look (default: %(default)s)")
    parser.add_argument("--reloads", type=int, default=200, help="reloads in all (default: %(default)s)")
    parser.add_argument("--options", default="", help="appended to the command of the server, such as --no-preload")
    parser.add_argument(
        "--venv", type=Path, default=Path(__file__).parent / ".venv", help="where Spawning is installed"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="leak-") as directory:
        site = Site(SERVERS["spawning"], Path(directory), options.venv.absolute() / "bin", free_port())
        try:
            before, after = run(site, options.first, options.reloads, options.options)
        finally:
            site.stop()
    return int(report(options.first, options.reloads, before, after))


if __name__ == "__main__":
    sys.exit(main())
