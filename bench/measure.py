"""One measurement: start the server, warm it up, put the load on it, read what its process tree has used."""

import contextlib
import json
import os
import shlex
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from http.client import HTTPException
from pathlib import Path

from bench import idle, launch, load, nginx, tree
from bench.apps import LARGE, compute
from bench.results import Measurement
from bench.servers import LIMIT, SERVERS, Server
from bench.workloads import SITE, Workload

ROOT = Path(__file__).resolve().parents[1]
SITE_DIRECTORY = ROOT / "examples" / "django_site"
CPU_BOUND_SECONDS = 0.0003


@dataclass(frozen=True, slots=True)
class Bench:
    """What all measurements of a run share.

    :param python: the interpreter of the virtual environment that has the servers.
    :param work: a directory for the site's data, logs and scratch files.
    :param seconds: how long wrk runs.
    :param cpu_rounds: the work of the CPU-bound application, see :func:`calibrate`.
    """

    python: Path
    work: Path
    seconds: int
    cpu_rounds: int

    def environment(self) -> dict[str, str]:
        """Return what is added to a server's environment."""
        return {
            "BENCH_CPU_ROUNDS": str(self.cpu_rounds),
            "BENCH_WORK": str(self.work),
            "PYTHONDONTWRITEBYTECODE": "",  # as in installed packages, nothing is compiled at each start
            "PYTHONPATH": str(ROOT),
            "SITE_DATA": str(self.work / "site"),
        }

    @property
    def certificate(self) -> Path:
        """The certificate of all servers; its key is beside it."""
        return self.work / "own.pem"

    def make_certificate(self) -> None:
        """Make it, with a key that browsers and servers prefer today (P-256)."""
        names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
        kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30"]
        files = ["-keyout", str(self.certificate.with_suffix(".key")), "-out", str(self.certificate)]
        subprocess.run(["openssl", "req", "-x509", *kind, *names, *files], check=True, capture_output=True)

    def prepare(self) -> None:
        """Make what the applications read: a large file; the example site's database, where Django is installed.

        What is in the working tree is compiled, as pip compiles what it installs.
        """
        subprocess.run(
            [str(self.python), "-m", "compileall", "-q", "src", "bench/apps.py", "examples"], cwd=ROOT, check=True
        )
        for name in ("logs", "site"):
            (self.work / name).mkdir(parents=True, exist_ok=True)
        self.make_certificate()
        large = self.work / "large.bin"
        if not large.exists() or large.stat().st_size != LARGE:  # another run may be serving it
            large.write_bytes(bytes(LARGE))
        command = [str(self.python), "manage.py", "prepare"]
        subprocess.run(
            command, cwd=SITE_DIRECTORY, env=os.environ | self.environment(), check=True, stdout=subprocess.DEVNULL
        )
        for path in (self.work / "site", *(self.work / "site").iterdir()):
            path.chmod(0o777)  # scratch data; Apache started by root serves as another user


def calibrate() -> int:
    """Find how many rounds of ``apps.compute`` take 0.3 ms on this machine: by the best of several tries."""
    rounds, best = 10_000, float("inf")
    for _ in range(50):
        begin = time.process_time()
        compute(rounds)
        best = min(best, time.process_time() - begin)
    return round(rounds * CPU_BOUND_SECONDS / best)


def measure(bench: Bench, server: str, workload: Workload, repetition: int) -> Measurement:
    """Measure one server once. What goes wrong is in the result (``problem``), never raised."""
    try:
        if server == LIMIT:
            return _measure_limit(bench, workload, repetition)
        return _measure_server(bench, SERVERS[server], workload, repetition)
    except (launch.ServerError, load.LoadError, OSError) as error:
        return Measurement(server=server, workload=workload.name, repetition=repetition, problem=str(error))


@contextlib.contextmanager
def serving(
    bench: Bench,
    server: Server,
    workload: Workload,
    log: Path,
    prefix: tuple[str, ...] = (),
    patience: float = launch.START_SECONDS,
) -> Iterator[launch.Running]:
    """Run a server for the time of the block, with nginx in front of it where the workload wants that.

    :param log: where its output goes.
    :param prefix: is put before the command.
    :param patience: as for ``launch.running``.
    """
    port = launch.free_port()
    with tempfile.TemporaryDirectory(prefix="bench-") as place:  # a socket's path must not be long
        path = Path(place, "socket")
        command = [*prefix, *command_of(bench, server, workload, port, path)]
        where = path if workload.over == "unix" else port
        directory = SITE_DIRECTORY if workload.app == SITE else ROOT
        with launch.running(command, workload, where, directory, bench.environment(), log, patience) as running:
            if workload.over != "unix":
                yield running
                return
            with nginx.in_front(path, port, bench.work / "logs" / "nginx.log"):
                _wait_for_nginx(workload, port)
                yield replace(running, port=port)


def _wait_for_nginx(workload: Workload, port: int) -> None:
    deadline = time.monotonic() + launch.START_SECONDS
    while True:
        try:
            return launch.check_answer(workload, port)
        except (OSError, HTTPException) as error:
            if time.monotonic() > deadline:
                raise launch.ServerError(f"no answer through nginx: {error}") from None
            time.sleep(0.01)


def command_of(bench: Bench, server: Server, workload: Workload, port: int, path: Path) -> list[str]:
    """Fill in a server's command.

    :param path: of its Unix socket.
    """
    names = {
        "bin": bench.python.parent,
        "python": bench.python,
        "app": workload.app,
        "port": port,
        "socket": path,
        "certificate": bench.certificate,
        "key": bench.certificate.with_suffix(".key"),
        "processes": workload.processes,
        "threads": workload.threads,
        "file": bench.work / "logs" / f"access-{server.name}.log",
    }
    command = server.command.replace("{listen}", server.listen[workload.over])
    log = server.log if workload.log else ""
    observed = server.observed if workload.observed else ""
    return [part.format(**names) for part in shlex.split(f"{command} {log} {observed}")]


def _measure_server(bench: Bench, server: Server, workload: Workload, repetition: int) -> Measurement:
    if workload.log and not server.log:
        raise launch.ServerError("writes no access log")
    if workload.observed and not server.observed:
        raise launch.ServerError("has no status page")
    output = bench.work / "logs" / f"{server.name}-{workload.name}.log"
    with (
        serving(bench, server, workload, output) as running,
        _idle_connections(workload, running.port) as connections,
    ):
        load.warm_up(workload, running.port, bench.work)
        launch.check_answer(workload, running.port)  # behind what the warm-up has left waiting
        before = tree.cpu_seconds(running.pid)
        seen = load.run(workload, running.port, bench.seconds, bench.work)
        cpu_seconds = tree.cpu_seconds(running.pid) - before
        pss_bytes = tree.pss_bytes(running.pid)
        closed = workload.idle - connections.still_open()
    errors = ", ".join(filter(None, [seen.errors, f"{closed} idle connections closed" if closed else ""]))
    if errors:
        raise launch.ServerError(f"errors: {errors}")
    return Measurement(
        server=server.name,
        workload=workload.name,
        repetition=repetition,
        requests=seen.requests,
        rate=seen.requests / seen.seconds,
        cpu_us=cpu_seconds / seen.requests * 1e6,
        p50_ms=seen.p50_ms,
        p99_ms=seen.p99_ms,
        pss_mb=pss_bytes / 1e6,
        start_s=running.start_seconds,
        server_command=_shown(running.command, bench),
        load_command=seen.command,
    )


def _idle_connections(workload: Workload, port: int) -> contextlib.AbstractContextManager[idle.IdleConnections]:
    return idle.connected(port, workload.idle, workload.path)


def _measure_limit(bench: Bench, workload: Workload, repetition: int) -> Measurement:
    command = [str(bench.python), "-m", "bench.limit", workload.app, workload.path, str(bench.seconds)]
    done = subprocess.run(
        command,
        cwd=SITE_DIRECTORY if workload.app == SITE else ROOT,
        env=os.environ | bench.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise launch.ServerError(launch.last_line(done.stderr))
    found = json.loads(done.stdout)
    return Measurement(
        server=LIMIT,
        workload=workload.name,
        repetition=repetition,
        requests=found["requests"],
        rate=found["requests"] / found["seconds"],
        cpu_us=found["cpu_seconds"] / found["requests"] * 1e6,
        server_command=_shown(command, bench),
    )


def _shown(command: list[str], bench: Bench) -> str:
    """Write a command as somebody else could type it, without this machine's directories."""
    text = shlex.join(command).replace(str(bench.work), "WORK")
    return text.replace(f"{bench.python.parent}/", "").replace(f"{ROOT}/", "")
