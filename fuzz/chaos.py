"""Everything at once, for a while: all triggers, kills, stalls and kinds of clients; then what it came to.

A part of ``python -m fuzz.soak``. What happens is drawn from a seed, which is printed; when it happens, the machine
decides. Failures count unless a worker was killed meanwhile: then the request was in its hands.
"""

import contextlib
import itertools
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import psutil

from fuzz.chaos_clients import SITE, Answer, Crowd, Failure
from integration.control import spawnctl
from integration.server import Server, until

WORKERS, THREADS = 3, 4
DYING = 0.5  # seconds in which a killed worker's connections break
KINDS = ("triggers", "kills", "stalls", "stdout")
# A worker whose fork server was killed while it was born has no process that anybody knows.
BY_KILL = r"signal=SIGKILL|pid=None status=unknown"
_DATED = re.compile(r"\d{4}-\d\d-\d\d \d\d:")
_STARTED = re.compile(r" worker started worker=(\d+)\.\d+ pid=(\d+)")
_FINISHED = re.compile(r" (?:ready|\w+ finished) (?:url=\S+ )?generation=(\d+)")


class Table(Protocol):
    def row(self, name: str, seen: object, must: object, good: bool) -> None:
        """Print a row; one that is not good makes the whole fail."""


class Site:
    """The application on the disk, and the server that serves it, its access log in a pipe that may be stalled."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._edits = itertools.count()
        self.path = directory / "chaos_site.py"
        self.edit()

    def edit(self) -> None:
        self._replace(f"{SITE}\nEDIT = {next(self._edits)}\n")

    def break_it(self) -> None:
        self._replace("this is no Python\n")

    def _replace(self, source: str) -> None:
        draft = self._directory / "draft.txt"
        draft.write_text(source)
        draft.replace(self.path)

    def serve(self, stdout: Path) -> Server:
        spawn = ["-m", "spawning", "--port", "0", "chaos_site:application", "-s", str(WORKERS), "-t", str(THREADS)]
        more = ["--reload", "dev", "-w", str(self._directory), "--keep-previous", "5", "--deadman_timeout", "20"]
        command = ["sh", "-c", f'exec "$@" >"{stdout}"', "sh", sys.executable, *spawn, *more]
        return Server(command=command, cwd=self._directory, env={"PYTHONDONTWRITEBYTECODE": "1"})


class Chaos:
    """What happens to the server, in threads of their own, from entry to exit."""

    def __init__(self, server: Server, site: Site, pipe: int, seed: int, kinds: Sequence[str]) -> None:
        self.done: Counter[str] = Counter()
        self.kills: list[float] = []
        self.unanswered: list[str] = []  # what spawnctl has waited for in vain
        self._server = server
        self._site = site
        self._pipe = pipe
        self._over = threading.Event()
        doing = {"triggers": self._trigger, "kills": self._kill, "stalls": self._stall}
        self._threads = [
            threading.Thread(target=self._again, args=(random.Random(f"{seed} {kind}"), doing[kind]))
            for kind in kinds
            if kind in doing
        ]
        self._threads.append(
            threading.Thread(target=self._read, args=(random.Random(f"{seed} stdout"), "stdout" in kinds))
        )

    def __enter__(self) -> "Chaos":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads[:-1]:
            thread.join()

    def close(self) -> None:
        """End the reader of stdout too, once the server has ended."""
        os.write(self._pipe, b"\0")
        self._threads[-1].join()

    def _again(self, choose: random.Random, action: Callable[[random.Random], None]) -> None:
        while not self._over.wait(choose.uniform(0.2, 1.2)):
            with contextlib.suppress(ProcessLookupError, IndexError, psutil.Error):  # it has just ended
                action(choose)

    def _trigger(self, choose: random.Random) -> None:
        doing: list[tuple[str, Callable[[], object]]] = [
            ("HUP", lambda: self._server.signal(signal.SIGHUP)),
            ("HUP", lambda: self._server.signal(signal.SIGHUP)),
            ("USR1", lambda: self._server.signal(signal.SIGUSR1)),
            ("USR2", lambda: self._server.signal(signal.SIGUSR2)),
            ("TTIN and TTOU", self._more_and_fewer),
            ("edit", self._site.edit),
            ("broken edit", self._break),
            ("spawnctl reload", lambda: self._ask("reload")),
            ("spawnctl reload --wait", lambda: self._ask("reload", "--wait")),
            ("spawnctl rollback", lambda: self._ask("rollback", "--wait")),
            ("spawnctl scale", lambda: self._ask("scale", str(choose.randrange(2, 5)))),
            ("spawnctl requests", lambda: self._ask("requests")),
        ]
        name, action = choose.choice(doing)
        action()
        self.done[name] += 1

    def _ask(self, *arguments: str) -> None:
        try:
            spawnctl("-a", f"127.0.0.1:{self._server.port}", *arguments)
        except subprocess.TimeoutExpired:
            self.unanswered.append(" ".join(arguments))

    def _more_and_fewer(self) -> None:
        self._server.signal(signal.SIGTTIN)
        self._over.wait(0.2)
        self._server.signal(signal.SIGTTOU)

    def _break(self) -> None:
        self._site.break_it()
        self._over.wait(1.0)
        self._site.edit()

    def _kill(self, choose: random.Random) -> None:
        self._over.wait(2.0)
        if choose.random() < 0.25:
            os.kill(choose.choice(self._server.fork_servers()).pid, signal.SIGKILL)
            self.done["fork server killed"] += 1
        else:
            worker = choose.choice(self._server.workers())
            self.kills.append(time.monotonic())
            os.kill(worker.pid, signal.SIGKILL)
            self.done["worker killed"] += 1

    def _stall(self, choose: random.Random) -> None:
        worker = choose.choice(self._server.workers())
        os.kill(worker.pid, signal.SIGSTOP)
        self.done["worker stalled"] += 1
        self._over.wait(2.0)
        os.kill(worker.pid, signal.SIGCONT)

    def _read(self, choose: random.Random, stalls: bool) -> None:
        """Read the access log, with pauses in which the pipe fills; a zero is the end."""
        next_stall = time.monotonic() + 3
        while b"\0" not in os.read(self._pipe, 1 << 16):
            if stalls and time.monotonic() > next_stall and not self._over.wait(3.0):
                self.done["stdout stalled"] += 1
                next_stall = time.monotonic() + choose.uniform(1, 5)


def chaos(table: Table, seconds: float, seed: int, kinds: Sequence[str] = KINDS) -> None:
    """Run it and print what it came to."""
    print(f"| chaos: seed {seed}, {', '.join(kinds)} | | |", flush=True)
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        site, stdout = Site(directory), directory / "stdout"
        os.mkfifo(stdout)
        pipe = os.open(stdout, os.O_RDWR)
        try:
            _run(table, site, stdout, pipe, seconds, seed, kinds)
        finally:
            os.close(pipe)


def _run(table: Table, site: Site, stdout: Path, pipe: int, seconds: float, seed: int, kinds: Sequence[str]) -> None:
    with site.serve(stdout) as server:
        happening = Chaos(server, site, pipe, seed, kinds)
        with Crowd(server.port, seed) as crowd:
            with happening:
                time.sleep(seconds / 3)
                middle = _weight(server)
                time.sleep(seconds * 2 / 3)
            _check_recovered(table, server, site, middle)
        table.row(
            "chaos: what happened", ", ".join(f"{what} {n}" for what, n in sorted(happening.done.items())), "", True
        )
        unanswered = happening.unanswered
        table.row("chaos: questions that spawnctl got no answer to", unanswered or 0, 0, not unanswered)
        _check_stories(table, server, crowd, happening.kills)
        _check_log(table, server)
        status = server.stop()
        table.row("chaos: exit status", status, 0, status == 0)
    happening.close()


def _weight(server: Server) -> tuple[int, int]:
    """Measure the controller: memory (bytes) and descriptors."""
    controller = psutil.Process(server.pid)
    return controller.memory_info().rss, controller.num_fds()


def _check_recovered(table: Table, server: Server, site: Site, middle: tuple[int, int]) -> None:
    """See that the server becomes as it was at its start, with clients, but without anything that happens to it."""
    site.edit()
    spawnctl("-a", f"127.0.0.1:{server.port}", "scale", str(WORKERS))
    reloaded = server.reload(60)
    table.row("chaos: a reload afterwards", "serves" if reloaded else "refused", "serves", reloaded)
    expected = 1 + 1 + WORKERS
    with contextlib.suppress(AssertionError):
        until(lambda: len(server.processes()) == expected, "the processes of the start", 40)
    left = [f"{each.pid} {' '.join(each.cmdline())[:60]}" for each in server.processes()]
    table.row("chaos: processes", len(left) if len(left) == expected else left, expected, len(left) == expected)
    rss, descriptors = _weight(server)
    grown = rss - middle[0]
    table.row("chaos: memory of the controller, after a third and at the end",
              f"{middle[0] / 2**20:.1f}, {rss / 2**20:.1f} MB", "at most 2 MB more", grown <= 2 << 20)  # fmt: skip
    table.row("chaos: descriptors of the controller", f"{middle[1]}, {descriptors}", "at most 30", descriptors <= 30)


def _check_stories(table: Table, server: Server, crowd: Crowd, kills: Sequence[float]) -> None:
    for story in crowd.stories:
        free = story.kind == "resetting"
        counted = [failure for failure in story.failures if not free and not excused(failure, kills)]
        lost = len(story.failures) - len(counted)
        name = f"chaos: {story.kind}: answers, lost with a worker, failures"
        good = not counted and (free or len(story.answers) > 0)
        table.row(name, f"{len(story.answers)}, {lost}, {len(counted)}", "0 failures", good)
        for failure in counted[:5]:
            print(f"    {failure.what} ({failure.at - failure.since:.2f} s)", flush=True)
    terms = terms_of(server.err.since())
    back = steps_back([answer for story in crowd.stories for answer in story.answers], terms)
    count = len(set(terms.values()))
    table.row(f"chaos: answers older than one before, in {count} cutovers", len(back), 0, not back)
    unknown = {answer.worker for story in crowd.stories for answer in story.answers} - set(terms)
    table.row("chaos: answers of processes that never served", len(unknown), 0, not unknown)


def excused(failure: Failure, kills: Sequence[float]) -> bool:
    """Whether a worker was killed that may have had the request."""
    return any(failure.since - DYING <= kill <= failure.at for kill in kills)


def terms_of(lines: Sequence[str]) -> dict[int, int]:
    """Read from a log which worker (process id) served behind which cutover; those are numbered in order."""
    terms: dict[int, int] = {}
    waiting: dict[int, list[int]] = {}  # by generation, before its cutover ends
    serving, term = 0, 0
    for line in lines:
        if started := _STARTED.search(line):
            generation, pid = map(int, started.groups())
            if generation == serving:
                terms[pid] = term
            else:
                waiting.setdefault(generation, []).append(pid)
        elif finished := _FINISHED.search(line):
            serving, term = int(finished[1]), term + 1
            terms.update(dict.fromkeys(waiting.pop(serving, []), term))
    return terms


def steps_back(answers: Sequence[Answer], terms: dict[int, int]) -> list[Answer]:
    """List the answers from behind an older cutover than one that had been answered before their request started."""
    newest = 0
    found = []
    ended: Iterator[Answer] = iter(sorted(answers, key=lambda answer: answer.ended))
    earlier = next(ended, None)
    for answer in sorted(answers):
        while earlier is not None and earlier.ended < answer.started:
            newest = max(newest, terms.get(earlier.worker, 0))
            earlier = next(ended, None)
        if terms.get(answer.worker, newest) < newest:
            found.append(answer)
    return found


def _check_log(table: Table, server: Server) -> None:
    lines = server.err.since()
    bugs = [index for index, line in enumerate(lines) if "bug in Spawning" in line]
    table.row("chaos: bugs in the log", len(bugs), 0, not bugs)
    others: Counter[str] = Counter()
    for line in lines:
        if found := re.search(r" (?:WARNING|ERROR) ([^=\n]*?)(?: \w+=|$)", line):
            others[found[1]] += 1
    died = [line for line in lines if " WARNING worker died " in line and not re.search(BY_KILL, line)]
    table.row("chaos: workers that died otherwise than by kill -9", len(died), 0, not died)
    told = ", ".join(f"{what} {count}" for what, count in others.most_common(12))
    table.row("chaos: warnings and errors", told, "", True)
    for line in [*(line for index in bugs for line in with_traceback(lines, index)), *died][:60]:
        print(f"    {line}", flush=True)


def with_traceback(lines: Sequence[str], index: int) -> list[str]:
    """Return a line and those that belong to it: they do not begin with a date."""
    end = next((at for at in range(index + 1, len(lines)) if _DATED.match(lines[at])), len(lines))
    return list(lines[index:end])


def parts(text: str) -> list[str]:
    """Read the value of an option: kinds, with commas."""
    chosen: list[Any] = [each for each in text.split(",") if each]
    if unknown := set(chosen) - set(KINDS):
        raise ValueError(f"there are {', '.join(KINDS)}, not {', '.join(unknown)}")
    return chosen
