"""``python -m bench``: choose servers and workloads, measure, write RESULTS.json and RESULTS.md."""

import argparse
import signal
import sys
from collections.abc import Iterable
from pathlib import Path

from bench import environment, install, marks, matrix, plot, report, targets
from bench.idle import raise_descriptor_limit
from bench.measure import ROOT, Bench, calibrate
from bench.results import Measurement, Results
from bench.servers import LIMIT, SERVERS
from bench.workloads import WORKLOADS

HERE = Path(__file__).parent
PAGE = ROOT / "docs" / "performance.md"
SPARE_DESCRIPTORS = 1000
SECONDS = 5
QUICK_SECONDS = 2


def main() -> int:
    """Run the command; the exit status is 1 when Spawning had no figure under some workload."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("bench: told to end"))  # so that the server ends too
    options = _parser().parse_args()
    results = Results.load(options.output.with_suffix(".json")) if options.render else _run(options)
    options.output.with_suffix(".md").write_text(report.render(results))
    picture = plot.draw(results)
    if picture:
        options.output.with_suffix(".svg").write_text(picture)
    if options.publish:
        marks.replace(PAGE, "bench", report.overview(results))
        if picture:
            PAGE.with_suffix(".svg").write_text(picture)
    return int(any(m.problem and m.server == "spawning" for m in results.measurements))


def _run(options: argparse.Namespace) -> Results:
    install.check()
    options.seconds = options.seconds or (QUICK_SECONDS if options.quick else SECONDS)
    python = options.venv.absolute() / "bin" / "python"
    if not python.exists():
        sys.exit(f"bench: there is no {python}; `make bench` makes the environment, --venv names another one")
    raise_descriptor_limit(max(WORKLOADS[name].idle for name in options.workloads) + SPARE_DESCRIPTORS)
    bench = Bench(python, options.work.absolute(), options.seconds, calibrate())
    bench.prepare()
    results = Results(environment.describe(python, ROOT) | {"seconds": options.seconds, "repetitions": options.reps})

    def done(measurement: Measurement) -> None:
        results.measurements.append(measurement)
        results.save(options.output.with_suffix(".json"))

    only = targets.needed() if options.quick else None
    wanted = matrix.plan(options.servers, options.workloads, options.reps, only)
    matrix.run(bench, wanted, results.environment["versions"], done)
    return results


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Compare WSGI servers; see bench/README.md.")
    everything = [LIMIT, *SERVERS]
    add = parser.add_argument
    add("--servers", type=_names(everything), default=everything, help=f"comma-separated: {', '.join(everything)}")
    add("--workloads", type=_names(WORKLOADS), default=list(WORKLOADS),
        help=f"comma-separated, a prefix stands for all that begin with it: {', '.join(WORKLOADS)}")  # fmt: skip
    add("--quick", action="store_true", help="only what the targets are judged by")
    add("--seconds", type=int, help=f"how long wrk runs (default: {SECONDS}, with --quick {QUICK_SECONDS})")
    add("--reps", type=int, default=3, help="repetitions, interleaved (default: 3)")
    add("--venv", type=Path, default=HERE / ".venv", help="virtual environment with the servers (default: bench/.venv)")
    add("--work", type=Path, default=HERE / ".work", help="directory for data and logs (default: bench/.work)")
    add("--output", type=Path, default=HERE / "RESULTS", help="without suffix (default: bench/RESULTS)")
    add("--publish", action="store_true", help="put plot and tables into docs/performance.md")
    add("--render", action="store_true", help="measure nothing, write the report from the JSON again")
    return parser


class _names:
    """Parse a comma-separated list of names; what matches no name exactly is a prefix."""

    def __init__(self, known: Iterable[str]) -> None:
        self._known = list(known)

    def __call__(self, text: str) -> list[str]:
        chosen: list[str] = []
        for part in text.split(","):
            found = [part] if part in self._known else [name for name in self._known if name.startswith(part)]
            if not part or not found:
                raise argparse.ArgumentTypeError(f"{part!r} is none of {', '.join(self._known)}")
            chosen += [name for name in found if name not in chosen]
        return chosen


if __name__ == "__main__":
    sys.exit(main())
