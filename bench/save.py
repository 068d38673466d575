"""From a save to the page: ``python3 -m bench.save``, for Spawning and what else reloads a Django project.

A new project with one app is served as its developer would; then its view is edited, again and again, and from the end
of the write the page is asked for until it is the new one. The servers take turns. Pauses between edits differ, so that
no edit is in step with who looks at the files once a second. For Spawning the time is divided by its own log. What the
project itself needs is measured beside them: a fresh interpreter that sets Django up and imports the URLs.

    python3 -m bench.save                                       # four minutes
    python3 -m bench.save --servers spawning --rounds 1 --bin /tmp/venv/bin
"""

import argparse
import http.client
import random
import re
import statistics
import subprocess
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime
from itertools import pairwise
from pathlib import Path

from bench.launch import free_port, running
from bench.workloads import Workload

COMMANDS = {
    "spawning": "{bin}/spawn --reload dev -s 1 -p {port} -l /dev/null",
    "gunicorn": "{bin}/gunicorn --reload -w 1 -b 127.0.0.1:{port} --log-level warning mysite.wsgi",
    "runserver": "{bin}/python -u manage.py runserver {port}",
}

_SAVES = 4  # of one start of a server
_PATIENCE = 20.0  # seconds for a page

_URLS = """\
from django.contrib import admin
from django.urls import path
from pages import views

urlpatterns = [path("admin/", admin.site.urls), path("", views.index)]
"""
_VIEW = """\
from django.http import HttpResponse


def index(request):
    return HttpResponse("version {version}.")
"""
_IMPORTS = "import django; django.setup(); import mysite.urls"

_STAGES = {  # what begins each part of the time, in the log
    "until the change is noticed": None,
    "loading": r"reload started",
    "workers and cutover": r"worker started",
    "the page": r"reload finished",
}


def make_project(binaries: Path, directory: Path) -> None:
    """Make a project as Django's tutorial does, with one page."""
    for command in (["startproject", "mysite", "."], ["startapp", "pages"]):
        subprocess.run([binaries / "python", "-m", "django", *command], cwd=directory, check=True)
    (directory / "mysite" / "urls.py").write_text(_URLS)
    write(directory, 0)


def write(directory: Path, version: int) -> float:
    """Write a version of the page; return when that was done (seconds since the epoch)."""
    (directory / "pages" / "views.py").write_text(_VIEW.format(version=version))
    return time.time()


def wait_for(port: int, version: int) -> float:
    """Ask for the page until it is of that version; return when it was there.

    :raises TimeoutError: it does not come.
    """
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_PATIENCE)
        try:
            connection.request("GET", "/", headers={"Connection": "close"})
            if connection.getresponse().read() == b"version %d." % version:
                return time.time()
        except (OSError, http.client.HTTPException):
            pass  # runserver does not listen while it starts
        finally:
            connection.close()
        time.sleep(0.01)
    raise TimeoutError(f"version {version} was not served within {_PATIENCE} s")


def saves(name: str, binaries: Path) -> Iterator[tuple[float, float, str]]:
    """Start a server and edit its page; yield when each edit was written and seen, and the log of that time."""
    with tempfile.TemporaryDirectory() as place:
        directory, log, port = Path(place, "site"), Path(place, "log"), free_port()
        directory.mkdir()
        make_project(binaries, directory)
        command = COMMANDS[name].format(bin=binaries, port=port).split()
        with running(command, Workload(name="page", title="", size=None), port, directory, {}, log):
            for version in range(1, _SAVES + 1):
                time.sleep(random.uniform(2.0, 3.0))
                known = log.stat().st_size
                begin = write(directory, version)
                end = wait_for(port, version)
                yield begin, end, log.read_bytes()[known:].decode()


def divided(begin: float, end: float, log: str) -> dict[str, float]:
    """Divide the time of a save by Spawning's log, whose lines begin with the time."""
    marks = [begin]
    for pattern in filter(None, _STAGES.values()):
        found = re.search(rf"^(\S+ \S+ \S+) \[\d+\] INFO {pattern}", log, re.MULTILINE)
        if not found:
            return {}
        marks.append(datetime.strptime(found[1], "%Y-%m-%d %H:%M:%S.%f %z").timestamp())
    parts = [after - before for before, after in pairwise([*marks, end])]
    return dict(zip(_STAGES, parts, strict=True))


def imports(binaries: Path) -> float:
    """Measure what the project's imports take in a fresh interpreter, in seconds."""
    with tempfile.TemporaryDirectory() as place:
        make_project(binaries, Path(place))
        command = [str(binaries / "python"), "-c", _IMPORTS]
        begin = time.monotonic()
        subprocess.run(command, cwd=place, env={"DJANGO_SETTINGS_MODULE": "mysite.settings"}, check=True)
        return time.monotonic() - begin


def _row(name: str, figures: list[float]) -> str:
    return f"| {name} | {statistics.median(figures):.2f} | {min(figures):.2f} to {max(figures):.2f} | {len(figures)} |"


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.save", description="from a save to the page")
    parser.add_argument("--servers", default=",".join(COMMANDS))
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--bin", type=Path, default=Path(__file__).parent / ".venv" / "bin")
    options = parser.parse_args()
    binaries = options.bin.absolute()
    seconds: defaultdict[str, list[float]] = defaultdict(list)
    for _ in range(options.rounds):
        seconds["*the imports, in a fresh interpreter*"].append(imports(binaries))
        for name in options.servers.split(","):
            for begin, end, log in saves(name, binaries):
                seconds[name].append(end - begin)
                for stage, part in (divided(begin, end, log) if name == "spawning" else {}).items():
                    seconds[f"*of spawning: {stage}*"].append(part)
    print("| from the save to the page | median s | range | saves |\n|---|---|---|---|")
    for name, figures in seconds.items():
        print(_row(name, figures))


if __name__ == "__main__":
    main()
