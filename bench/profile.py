"""Where a server's time goes: ``python -m bench.profile TOOL [--server NAME] [--workload NAME]``. TOOL is one of

* ``calls``: system calls and context switches a request, counted by ``perf stat`` without slowing the server down;
* ``strace``: the same by ``strace -c``, where perf's tracepoints are not to be had. Each call stops the server, so more
  requests arrive between two polls, and a server that looks at its context switches sees what is not there;
* ``perf``: how the processor time divides among kernel and user, by library, and the hottest symbols;
* ``instructions``: instructions a request outside the kernel, by callgrind. Machine and neighbours do not disturb this
  figure, so it shows a change of one per cent. Takes a minute: everything is fifty times slower.

The server is started, warmed up and loaded as in a measurement, and the tool is attached meanwhile, which takes root,
or ``kernel.perf_event_paranoid`` and ``kernel.yama.ptrace_scope`` that allow it.
"""

import argparse
import contextlib
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from bench import launch, load, tree
from bench.measure import Bench, calibrate, serving
from bench.servers import SERVERS, Server
from bench.workloads import WORKLOADS, Workload

HERE = Path(__file__).parent
ATTACH_SECONDS = 1.0
PATIENCE_SECONDS = 120.0
"""How long a server may take to start under valgrind."""

GRACE_SECONDS = 30.0
LINES = 40
"""How many symbols are shown."""

_COUNTED = (
    "accept", "accept4", "brk", "clock_nanosleep", "close", "epoll_ctl", "epoll_pwait", "epoll_wait", "fcntl", "futex",
    "getpeername", "getrusage", "getsockname", "getsockopt", "ioctl", "lseek", "madvise", "mmap", "munmap", "newfstat",
    "newfstatat", "openat", "poll", "read", "readv", "recvfrom", "recvmsg", "rt_sigprocmask", "sched_yield", "select",
    "sendfile64", "sendmsg", "sendto", "setsockopt", "shutdown", "write", "writev",
)  # fmt: skip
_EVENTS = ["task-clock", "context-switches", "raw_syscalls:sys_enter", *(f"syscalls:sys_enter_{c}" for c in _COUNTED)]


@contextlib.contextmanager
def _serving(bench: Bench, server: Server, workload: Workload, *prefix: str) -> Iterator[launch.Running]:
    """Have the server running, warm; `prefix` is put before its command."""
    log = bench.work / "logs" / f"profile-{server.name}.log"
    patience = PATIENCE_SECONDS if prefix else launch.START_SECONDS
    with serving(bench, server, workload, log, prefix, patience) as running:
        load.warm_up(workload, running.port, bench.work)
        yield running


def _under_load(bench: Bench, workload: Workload, running: launch.Running) -> tuple[int, float]:
    """Put the load on the server; give requests, and CPU µs of each."""
    before = tree.cpu_seconds(running.pid)
    seen = load.run(workload, running.port, bench.seconds, bench.work)
    cpu = tree.cpu_seconds(running.pid) - before
    if seen.errors:
        sys.exit(f"bench: errors: {seen.errors}")
    return seen.requests, cpu / seen.requests * 1e6


def _pids(running: launch.Running) -> list[str]:
    return [str(stat.pid) for stat in tree.members(running.pid)]


def _attached(bench: Bench, server: Server, workload: Workload, *tool: str) -> tuple[int, float]:
    """Attach `tool` (``-p`` and the processes are appended) to the server under load; result as `_under_load`."""
    with (
        _serving(bench, server, workload) as running,
        subprocess.Popen([*tool, "-p", ",".join(_pids(running))], stderr=subprocess.DEVNULL) as attached,
    ):
        time.sleep(ATTACH_SECONDS)
        figures = _under_load(bench, workload, running)
        attached.send_signal(signal.SIGINT)
    return figures


def calls(bench: Bench, server: Server, workload: Workload) -> None:
    """Count system calls with perf."""
    output = bench.work / "calls.csv"
    tool = ["perf", "stat", "-x", ";", "-o", str(output), "-e", ",".join(_EVENTS)]
    requests, cpu_us = _attached(bench, server, workload, *tool)
    rows = [line.split(";") for line in output.read_text().splitlines() if line.count(";") > 3]
    counts = {row[2].removeprefix("syscalls:sys_enter_"): float(row[0]) for row in rows if row[0][0].isdecimal()}
    _show_counts(requests, cpu_us, counts)


def strace(bench: Bench, server: Server, workload: Workload) -> None:
    """Count system calls with strace."""
    output = bench.work / "strace.txt"
    requests, cpu_us = _attached(bench, server, workload, "strace", "-c", "-f", "-U", "calls,name", "-o", str(output))
    rows = re.findall(r"^\s*(\d+) (\w+)$", output.read_text(), re.MULTILINE)
    _show_counts(requests, cpu_us, {name: float(number) for number, name in rows})


def _show_counts(requests: float, cpu_us: float, counts: dict[str, float]) -> None:
    print(f"{requests:,.0f} requests, {cpu_us:.1f} µs CPU each; of each kind per request:")
    for name, count in sorted(counts.items(), key=lambda item: -item[1]):
        if count / requests >= 0.0005:
            print(f"{count / requests:10.3f} {name}")


def perf(bench: Bench, server: Server, workload: Workload) -> None:
    """Sample with perf."""
    output = str(bench.work / "perf.data")
    tool = ["perf", "record", "-q", "-F", "4999", "-e", "cpu-clock", "-o", output]
    requests, cpu_us = _attached(bench, server, workload, *tool)
    print(f"{requests:,.0f} requests, {cpu_us:.1f} µs CPU each")
    for keys in ("dso", "dso,symbol"):
        report = ["perf", "report", "-i", output, "--stdio", "-q", "--sort", keys, "--percent-limit", "0.3"]
        text = subprocess.run(report, capture_output=True, text=True, check=True).stdout
        print("", *[line for line in text.splitlines() if line.strip()][:LINES], sep="\n")


def instructions(bench: Bench, server: Server, workload: Workload) -> None:
    """Count instructions with callgrind, and show the functions that take most of them."""
    directory = bench.work / "callgrind"
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir()
    where = f"--callgrind-out-file={directory}/%p"
    valgrind = ["valgrind", "-q", "--tool=callgrind", "--trace-children=yes", "--instr-atstart=no", where]
    with _serving(bench, server, workload, *valgrind) as running:
        pids = _pids(running)
        _control("--instr=on", *pids)
        requests, _ = _under_load(bench, workload, running)
        _control("--instr=off", *pids)
        _control("--dump", *pids)
    found = {path: _summary(path) for path in directory.iterdir()}
    print(f"{requests:,.0f} requests, {sum(found.values()) / requests:,.0f} instructions each; the busiest process:")
    annotate = ["callgrind_annotate", "--auto=no", str(max(found, key=lambda path: found[path]))]
    lines = subprocess.run(annotate, capture_output=True, text=True, check=True).stdout.splitlines()
    rows = [re.sub(r"\S*/(?=[^/]*:)| \[.*", "", line) for line in lines if re.match(r"\s*[\d,]+ \(", line)]
    print(*rows[1:LINES], sep="\n")


def _control(*arguments: str) -> None:
    command = ["callgrind_control", *arguments]
    subprocess.run(command, capture_output=True, check=True, timeout=GRACE_SECONDS)


def _summary(path: Path) -> int:
    """Return the instructions in a file of callgrind's; those of processes that nobody asked have none."""
    found = re.search(r"^totals: *(\d+)", path.read_text(), re.MULTILINE)
    return int(found[1]) if found else 0


TOOLS: dict[str, Callable[[Bench, Server, Workload], None]] = {
    "calls": calls,
    "strace": strace,
    "perf": perf,
    "instructions": instructions,
}


def main() -> None:
    """Run one tool on one server under one workload."""
    parser = argparse.ArgumentParser(prog="python -m bench.profile", description="See bench/README.md.")
    add = parser.add_argument
    add("tool", choices=TOOLS)
    add("--server", choices=SERVERS, default="spawning")
    add("--workload", choices=WORKLOADS, default="b1")
    add("--seconds", type=int, default=3, help="how long wrk runs (default: 3)")
    add("--venv", type=Path, default=HERE / ".venv", help="virtual environment with the servers (default: bench/.venv)")
    add("--work", type=Path, default=HERE / ".work", help="directory for data and logs (default: bench/.work)")
    options = parser.parse_args()
    bench = Bench(options.venv.absolute() / "bin" / "python", options.work.absolute(), options.seconds, calibrate())
    bench.prepare()
    TOOLS[options.tool](bench, SERVERS[options.server], WORKLOADS[options.workload])


if __name__ == "__main__":
    main()
