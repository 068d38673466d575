"""What clients notice of reloads: ``python bench/reload.py [options] -- COMMAND …``, for any server's command line.

For each case the server is started on a small application that answers with its version, three kinds of clients ask
without pause (``reload_clients.py``), and meanwhile the application is edited, reloaded, broken, its processes are
killed … Every failed, refused or reset request, every connection that the server closed, and every answer from
older code than had been seen before is counted. ``{port}`` in COMMAND is replaced; the application is
``site_app:application`` in the current directory. Everything stays on the loopback address and ends after a bounded
time.

    python bench/reload.py --name spawning --recycle "--max-requests 500" -- \
        spawn site_app:application -p {port} -s 2 -t 4 -l /dev/null
    python bench/reload.py --name gunicorn --recycle "--max-requests 500" -- \
        gunicorn -w 2 --threads 4 -b 127.0.0.1:{port} --keep-alive 75 site_app:application

Results are added to ``--results`` (JSON); with ``--document`` the table of all of them is written there as well.
"""

import argparse
import collections
import contextlib
import json
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
from reload_clients import (
    REQUEST,
    Answer,
    Clients,
    Connection,
    Trouble,
    longest_silence,
    steps_back,
)

COLUMNS = ("requests", "failed", "refused", "reset", "closed", "said close", "steps back", "longest silence (s)")
_WAIT = 20.0  # seconds for the new version to answer; then the case goes on without it
_BEGIN, _END = "<!-- bench/reload.py: table -->", "<!-- bench/reload.py: end -->"

_APPLICATION = """\
import time
time.sleep({seconds})


def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "{length}")])
    return [b"{version}"]
"""


class Site:
    """The running server and its application, and what can be done to them."""

    def __init__(self, options: argparse.Namespace, directory: Path, port: int) -> None:
        self.options = options
        self.directory = directory
        self.port = port
        self.version = 0
        self.idle: list[Connection] = []
        self.release()

    # The application -------------------------------------------------------------------------------------------------

    @property
    def current(self) -> Path:
        return self.directory / "current"

    def release(self) -> None:
        """Make a new version in a directory of its own and point the link there."""
        self.version += 1
        target = self.directory / f"release-{self.version}"
        target.mkdir()
        link = self.directory / "new"
        link.symlink_to(target.name)
        link.rename(self.current)
        self._write(0.0)

    def edit(self, seconds: float = 0.0) -> None:
        """Make a new version in place, whose import takes so long."""
        self.version += 1
        self._write(seconds)

    def break_it(self) -> None:
        self._replace("this does not compile\n")

    def _write(self, seconds: float) -> None:
        version = str(self.version)
        self._replace(_APPLICATION.format(seconds=seconds, version=version, length=len(version)))

    def _replace(self, text: str) -> None:
        beside = self.current / "site_app.new"
        beside.write_text(text)
        stamp = time.time() + self.version  # a compiled file of the same second would be taken for the new one's
        os.utime(beside, (stamp, stamp))
        beside.rename(self.current / "site_app.py")

    # The server ------------------------------------------------------------------------------------------------------

    def start(self, more: str = "") -> None:
        words = [word.replace("{port}", str(self.port)) for word in (*self.options.command, *shlex.split(more))]
        environ = {**os.environ, "PWD": str(self.current), "PYTHONDONTWRITEBYTECODE": "1"}
        # The server runs in the application's directory, where a relative path to its command leads nowhere.
        words[0] = os.path.abspath(words[0]) if os.sep in words[0] else words[0]
        with open(self.directory / "log", "ab") as log:
            self.process = subprocess.Popen(
                words, cwd=self.current, env=environ, stdout=log, stderr=log, start_new_session=True
            )
        if not self.answers():
            raise SystemExit(f"the server does not answer:\n{(self.directory / 'log').read_text()[-2000:]}")

    def stop(self) -> None:
        """End what was started: every process of the server's session."""
        self.process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(5)
        for process in self.processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self.process.wait()

    def signal(self, name: str) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.process.pid, signal.Signals[f"SIG{name}"])

    def reload(self) -> bool:
        """Ask for a reload and wait for the newest version; whether it came."""
        self.signal(self.options.signal)
        return self.answers()

    def answers(self) -> bool:
        """Wait until the newest version answers; whether it does."""
        until = time.monotonic() + _WAIT
        while time.monotonic() < until:
            with contextlib.suppress(Trouble, ValueError):
                connection = Connection(self.port)
                with contextlib.closing(connection.sock):
                    connection.send(REQUEST)
                    if connection.read() == self.version:
                        return True
            time.sleep(0.02)
        return False

    def processes(self) -> list[psutil.Process]:
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError):
                if os.getsid(process.pid) == self.process.pid:
                    found.append(process)
        return found

    def kill(self, title: str) -> None:
        """Kill -9 what has this in its title; if nothing has, the direct children (the workers of most servers)."""
        named = [each for each in self.processes() if title in _title(each)]
        for process in named or (psutil.Process(self.process.pid).children() if title == "worker" else []):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()


def _title(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return ""


# The cases -----------------------------------------------------------------------------------------------------------


def instant(site: Site) -> None:
    for _ in range(10):
        site.edit()
        site.reload()


def slow_import(site: Site) -> None:
    for _ in range(5):
        site.edit(3.0)
        site.reload()


def broken(site: Site) -> None:
    site.break_it()
    site.signal(site.options.signal)
    time.sleep(3.0)
    site.kill("worker")
    time.sleep(3.0)
    site.edit()
    site.reload()


def recycling(site: Site) -> None:
    site.break_it()
    time.sleep(site.options.seconds)


def storms(site: Site) -> None:
    for _ in range(10):
        site.edit()
        site.signal(site.options.signal)
        time.sleep(0.1)
    site.answers()
    site.edit(1.0)
    site.signal(site.options.signal)
    time.sleep(0.5)
    site.edit()
    site.reload()
    burners = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(os.cpu_count() or 1)]
    try:
        site.edit()
        site.reload()
    finally:
        for burner in burners:
            burner.kill()
            burner.wait()


def killed(site: Site) -> None:
    for title in ("worker", "fork server"):
        for delay in (0.05, 0.5, 1.0, 1.3):
            site.edit(0.8)
            site.signal(site.options.signal)
            time.sleep(delay)
            site.kill(title)
            if not site.answers():
                site.reload()


def controller_killed(site: Site) -> None:
    site.edit(0.8)
    site.signal(site.options.signal)
    time.sleep(0.4)
    site.process.kill()
    site.process.wait()
    site.start()


def upgrade(site: Site) -> None:
    for _ in range(3):
        site.edit()
        site.signal("USR2")
        site.answers()


def flipped_link(site: Site) -> None:
    for _ in range(5):
        site.release()
        site.reload()


def idle(site: Site) -> None:
    for _ in range(1000):
        connection = Connection(site.port)
        site.idle.append(connection)
        connection.send(REQUEST)
        connection.read()
    instant(site)


CASES: dict[str, tuple[str, Callable[[Site], None]]] = {
    "1": ("ten reloads, import instant", instant),
    "2": ("five reloads, import takes 3 s", slow_import),
    "3": ("broken file, reload, every worker killed", broken),
    "4": ("broken file, no reload, workers recycled", recycling),
    "5": ("ten signals in a second; reload during a reload; loaded machine", storms),
    "6": ("worker, fork server killed at each step of a reload", killed),
    "6c": ("controller killed in a reload, and started again", controller_killed),
    "7": ("upgrade in place", upgrade),
    "8": ("release link flipped", flipped_link),
    "9": ("1,000 idle connections, ten reloads, each used once", idle),
}


def run(case: str, options: argparse.Namespace) -> dict[str, float]:
    """Run one case on a server of its own; give the columns of its row."""
    with tempfile.TemporaryDirectory(prefix="reload-") as directory, _site(options, Path(directory), case) as site:
        begun = time.monotonic()
        with Clients(site.port, options.clients) as clients:
            CASES[case][1](site)
            time.sleep(max(0.0, options.seconds - (time.monotonic() - begun)))
        counts = sum((tally.counts for tally in clients.tallies), collections.Counter())
        answers = clients.answers
        _use_idle(site, answers, counts)
    figures = [len(answers), *(counts[name] for name in COLUMNS[1:6]), steps_back(answers)]
    return dict(zip(COLUMNS, [*figures, round(longest_silence(answers), 2)], strict=True))


@contextlib.contextmanager
def _site(options: argparse.Namespace, directory: Path, case: str) -> Iterator[Site]:
    site = Site(options, directory, options.port)
    try:
        site.start(options.recycle if case == "4" else "")
        yield site
    finally:
        site.stop()


def _use_idle(site: Site, answers: list[Answer], counts: collections.Counter[str]) -> None:
    for connection in site.idle:
        with contextlib.closing(connection.sock):
            started = time.monotonic()
            try:
                connection.send(REQUEST)
                answers.append(Answer(started, version=connection.read(), ended=time.monotonic()))
            except Trouble as trouble:
                counts[str(trouble)] += 1


# Results -------------------------------------------------------------------------------------------------------------


def table(results: dict[str, dict[str, dict[str, float]]]) -> str:
    """Write the results as a table: server → case → column."""
    lines = [f"| case | server | {' | '.join(COLUMNS)} |", f"|---|---|{'---:|' * len(COLUMNS)}"]
    for case, (words, _) in CASES.items():
        for name, cases in results.items():
            if row := cases.get(case):
                figures = " | ".join(f"{row[column]:,g}" for column in COLUMNS)
                lines.append(f"| {case}. {words} | {name} | {figures} |")
    return "\n".join(lines)


def write_document(path: Path, text: str) -> None:
    """Put the table between the two marks of a document."""
    before, _, rest = path.read_text().partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not end:
        raise SystemExit(f"{path} has no marks {_BEGIN} and {_END}")
    path.write_text(f"{before}{_BEGIN}\n{text}\n{end}{after}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--name", required=True, help="what the table calls the server")
    parser.add_argument("--cases", default=",".join(CASES), help="which, with commas (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=20.0, help="least duration of a case (default: %(default)g)")
    parser.add_argument("--clients", type=int, default=2, help="clients of each kind (default: %(default)s)")
    parser.add_argument("--port", type=int, default=18080, help="the port to use (default: %(default)s)")
    parser.add_argument("--signal", default="HUP", help="what asks the server for a reload (default: %(default)s)")
    parser.add_argument("--recycle", default="", help="what is appended to COMMAND in case 4, such as --max-requests")
    parser.add_argument("--results", type=Path, default=Path("reload.json"), help="JSON (default: %(default)s)")
    parser.add_argument("--document", type=Path, help="a document with the marks for the table")
    parser.add_argument("command", nargs="+", help="the server's command line, behind --")
    options = parser.parse_args()
    results = json.loads(options.results.read_text()) if options.results.exists() else {}
    for case in options.cases.split(","):
        if case not in CASES:
            parser.error(f"there is no case {case}")
        results.setdefault(options.name, {})[case] = run(case, options)
        print(case, CASES[case][0], results[options.name][case], flush=True)
        options.results.write_text(json.dumps(results, indent=1) + "\n")
    if options.document:
        write_document(options.document, table(results))


if __name__ == "__main__":
    main()
