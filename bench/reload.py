"""What clients notice of reloads: ``python3 -m bench.reload``, for the servers of ``reload_servers.py`` or any other.

For each case (``reload_cases.py``) each server is started on a small application that answers with its version, three
kinds of clients ask without pause (``reload_clients.py``), and meanwhile the application is edited, reloaded, broken,
processes are killed … Every failed, refused or reset request, every connection that the server closed, and every answer
from older code than had been seen before is counted. What was lost on a connection that a killed process held at that
moment is counted by itself (``in killed``): nobody can save that. All is bounded and on the loopback address.

    python3 -m bench.reload                                     # all servers, all cases, one run each
    python3 -m bench.reload --servers spawning,gunicorn --cases 1,3 --seconds 8 --results /tmp/try.json
    python3 -m bench.reload --document docs/reload.md --render  # write the tables again
    python3 -m bench.reload --name mine --recycle "--max-requests 500" -- serve --port {port} site_app:application

It needs no package; the servers are in ``bench/.venv`` (``make bench/.venv/bench.stamp``).
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
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.launch import free_port
from bench.reload_cases import CASES
from bench.reload_clients import REQUEST, Answer, Clients, Trouble, longest_silence, steps_back
from bench.reload_report import COLUMNS, Results, Row, write_document
from bench.reload_servers import SERVERS, Server
from bench.reload_site import Site, StartError

_ROOT = Path(__file__).parent.parent
_PATIENCE = 2.0  # times the least duration of a case: the waiting for servers that are slow
_SETTLE = 1.0  # seconds of the load behind what is done in a case


def run(case: str, server: Server, options: argparse.Namespace) -> Row:
    """Run one case on a server of its own; give its figures, or why there are none."""
    if reason := server.cannot(case):
        return {"cannot": reason}
    with tempfile.TemporaryDirectory(prefix="reload-") as directory, _site(server, Path(directory), options) as site:
        try:
            site.start(server.recycle if case == "4" else "", activated=CASES[case].activated and server.activated)
            return _measured(case, site, options)
        except (StartError, OSError) as error:
            return {"cannot": " ".join(str(error).split())[-200:].replace("|", "/")}


def _measured(case: str, site: Site, options: argparse.Namespace) -> Row:
    begun = time.monotonic()
    site.patient_until = begun + options.seconds * _PATIENCE
    with Clients(site.where, options.clients) as clients:
        CASES[case].run(site)
        time.sleep(max(_SETTLE, options.seconds - (time.monotonic() - begun)))
        ended = time.monotonic()
    answers, troubles = clients.answers, clients.troubles
    _use_idle(site, answers, troubles)
    counts = collections.Counter(_kind(trouble, site) for trouble in troubles)
    silence = round(longest_silence(answers, begun, ended), 2)
    serves = site.serves()
    state = "new code" if serves == site.version else "old code" if serves else "gone"
    figures = [len(answers), *(counts[name] for name in COLUMNS[1:7]), steps_back(answers), silence]
    return {**dict(zip(COLUMNS, figures, strict=True)), "seconds": round(ended - begun, 1), "at the end": state}


def _kind(trouble: Trouble, site: Site) -> str:
    """Return the column of a trouble."""
    kind = str(trouble)
    held = any(port == trouble.port and trouble.opened <= when for when, port in site.killed)
    return "in killed" if held and kind != "said close" else kind


def _use_idle(site: Site, answers: list[Answer], troubles: list[Trouble]) -> None:
    for connection in site.idle:
        with contextlib.closing(connection.sock):
            started = time.monotonic()
            try:
                connection.send(REQUEST)
                answers.append(Answer(started, version=connection.read(), ended=time.monotonic()))
            except Trouble as trouble:
                troubles.append(trouble)


@contextlib.contextmanager
def _site(server: Server, directory: Path, options: argparse.Namespace) -> Iterator[Site]:
    site = Site(server, directory, options.venv / "bin", free_port(), options.wait)
    try:
        yield site
    finally:
        site.stop()


# The run -------------------------------------------------------------------------------------------------------------


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--servers", default=",".join(SERVERS), help="which, with commas (default: %(default)s)")
    parser.add_argument("--cases", default=",".join(CASES), help="which, with commas (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=20.0, help="least duration of a case (default: %(default)g)")
    parser.add_argument("--clients", type=int, default=2, help="clients of each kind (default: %(default)s)")
    parser.add_argument("--wait", type=float, default=0.0, help="seconds that each request sleeps (default: none)")
    parser.add_argument("--venv", type=Path, default=_ROOT / "bench" / ".venv", help="where the servers are installed")
    parser.add_argument("--results", type=Path, default=_ROOT / "bench" / "RELOAD.json", help="added to, JSON")
    parser.add_argument("--document", type=Path, help="a document with the marks for the tables")
    parser.add_argument("--render", action="store_true", help="run nothing, write the document from the results")
    parser.add_argument("--name", help="of the server whose COMMAND is given")
    parser.add_argument("--signal", default="HUP", help="what asks that server for a reload (default: %(default)s)")
    parser.add_argument("--recycle", default="", help="what is appended to COMMAND in case 4, such as --max-requests")
    parser.add_argument("--upgrade", default="", help="what asks that server for an upgrade in place (default: none)")
    parser.add_argument("command", nargs="*", help="the server's command line, behind --; {port} is replaced")
    options = parser.parse_args()
    options.venv = options.venv.absolute()
    if bool(options.command) != bool(options.name):
        parser.error("--name and COMMAND belong together")
    for name, known in (("servers", SERVERS), ("cases", CASES)):
        for each in getattr(options, name).split(","):
            if each not in known:
                parser.error(f"--{name}: there is no {each!r}; there are {', '.join(known)}")
    return options


def _chosen(options: argparse.Namespace) -> list[Server]:
    if options.command:
        command = shlex.join(options.command)
        return [
            Server(
                name=options.name,
                command=command,
                reload=options.signal,
                recycle=options.recycle,
                upgrade=options.upgrade,
            )
        ]
    return [SERVERS[name] for name in options.servers.split(",")]


def _version(server: Server, options: argparse.Namespace) -> str:
    code = "import importlib.metadata, sys; print(importlib.metadata.version(sys.argv[1]))"
    done = subprocess.run(
        [options.venv / "bin" / "python", "-c", code, server.package], capture_output=True, text=True, check=False
    )
    name = server.name.removesuffix("-unix").removesuffix("-tls")
    return f"{name} {done.stdout.strip()}".strip()


def _note(found: dict[str, Any]) -> str:
    """Return what stands above the tables: what was run."""
    notes = [f"{server.name}: {server.note}" for server in SERVERS.values() if server.note and server.name in found]
    versions = ", ".join(dict.fromkeys(found["versions"].values()))
    waiting = f", each request sleeps {found['wait']:g} s" if found.get("wait") else ""
    return "\n".join(
        [
            f"One run each, at least {found['seconds']:g} s, {found['clients']} clients of each kind{waiting}, Python"
            f" {found['python']}, {found['cores']} cores: {versions}. A client that is",
            "refused tries again after 10 ms, so such figures say how long nobody was there.",
            "",
            *(f"* {note}." for note in notes),
        ]
    )


def main() -> None:
    options = _arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that nothing of what was started is left
    found = json.loads(options.results.read_text()) if options.results.exists() else {}
    results: Results = found.setdefault("servers", {})
    if not options.render:
        _run_all(options, found, results)
    if options.document:
        write_document(options.document, results, _note({**found, **results}))


def _run_all(options: argparse.Namespace, found: dict[str, Any], results: Results) -> None:
    python = ".".join(map(str, sys.version_info[:3]))
    found |= {
        "seconds": options.seconds,
        "clients": options.clients,
        "wait": options.wait,
        "python": python,
        "cores": os.cpu_count(),
    }
    servers, cases = _chosen(options), options.cases.split(",")
    pairs = [(case, server) for case in cases for server in servers]
    begun = time.monotonic()
    for done, (case, server) in enumerate(pairs):
        left = f", about {(time.monotonic() - begun) / done * (len(pairs) - done) / 60:.0f} min left" if done else ""
        print(f"[{done + 1}/{len(pairs)}] {case}. {CASES[case].title}: {server.name}{left}", flush=True)
        results.setdefault(server.name, {})[case] = row = run(case, server, options)
        found.setdefault("versions", {})[server.name] = _version(server, options)
        print(f"    {row}", flush=True)
        options.results.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
