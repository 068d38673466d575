"""Imports point one way, and third-party packages stay where they belong.

The table is the architecture: a component is a module or package right under ``spawning``; beside it stands what it may
import. Late imports inside functions count like those at the top. What is started by exec (the fork server, by the
controller) is no import, and is meant not to be one.
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src" / "spawning"

LEAVES = {"address", "errors", "memo", "settings", "primitives", "interpreter", "standard", "memory", "figures"}
LEAVES |= {"cgroup"}
BASE = LEAVES | {"ipc", "net", "logs"}
FACTORIES = {"wsgi_factory", "django_factory", "paste_factory"}

MAY_IMPORT: dict[str, set[str]] = {
    "address": set(),
    "errors": set(),
    "memo": set(),
    "cgroup": set(),
    "settings": {"address", "cgroup", "errors"},
    "primitives": set(),
    "lifecycle": set(),
    "standard": set(),
    "interpreter": {"errors"},
    "memory": {"errors"},
    "figures": set(),
    "ipc": LEAVES,
    "account": {"errors", "ipc"},
    "net": LEAVES,
    "logs": LEAVES,
    "http": {"errors", "memo"},
    "wsgi": LEAVES | {"http", "logs"},
    "worker": BASE | {"wsgi", "http"},
    "wsgi_factory": LEAVES | {"logs"},
    "django_factory": LEAVES | {"wsgi_factory"},
    "django_project": {"errors"},
    "paste_factory": LEAVES | {"wsgi_factory"},
    "log_handler": LEAVES | {"logs"},
    "readable": LEAVES,
    "refusal_page": {"errors"},
    "stamps": LEAVES,
    "readiness": LEAVES | {"http", "wsgi", "wsgi_factory"},
    "forkserver": BASE | FACTORIES | {"account", "lifecycle", "worker", "wsgi", "readable", "readiness", "stamps"},
    "status": BASE | {"worker", "wsgi", "http"},
    "systemd": LEAVES | {"logs", "net"},
    "controller": BASE | {"account", "systemd"},
    "upgrade_check": BASE | {"controller", "forkserver", "worker"},
    "habits": {"errors"},
    "daemon": {"errors"},
    "cli_options": LEAVES | {"habits"},
    "websocket": {"errors"},
    "contrib": LEAVES | {"cli_options", "websocket"},
    "check_config": BASE | {"controller"},
    "cli": BASE | {"account", "cli_options", "controller", "daemon", "django_project", "questions", "upgrade_check"},
    "elsewhere": {"settings", "errors", "lifecycle"},
    "questions": BASE | {"check_config", "controller", "elsewhere"},
    "ctl_text": {"figures"},
    "ctl_report": {"ctl_text"},
    "ctl_server": BASE | {"ctl_text"},
    "ctl_logs": set(),
    "ctl_console": {"ctl_text", "ipc"},
    "ctl_top": {"ctl_text", "figures", "status"},
    "ctl": BASE | {"ctl_report", "ctl_server", "ctl_text", "ctl_top", "ctl_logs", "ctl_console"},
    "__main__": {"cli"},
    "__init__": set(),
}

THIRD_PARTY: dict[str, set[str]] = {
    "cli": {"click"},
    "cli_options": {"click"},
    "ctl": {"click"},
    "controller": {"watchfiles"},
    "forkserver": {"coverage", "gevent"},
    "ipc": {"setproctitle"},
    "worker": {"gevent", "greenlet"},
    "contrib": {"django", "click"},
    "django_factory": {"django"},
    "paste_factory": {"paste"},
    "readable": {"rich"},
    "status": {"coverage", "prometheus_client"},
    "websocket": {"wsproto"},
}


def component(path: Path) -> str:
    """Name the part of ``spawning`` that `path` belongs to."""
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imported(path: Path) -> Iterator[str]:
    """Yield the dotted name behind each import of the file at `path`, relative ones made absolute."""
    package = ["spawning", *path.relative_to(SOURCE).parts[:-1]]
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            module = ".".join(part for part in (base, node.module) if part)
            # `from spawning import ipc` names a component in the alias, not in the module
            yield from (f"{module}.{alias.name}" for alias in node.names) if module == "spawning" else [module]


def offences(path: Path) -> Iterator[str]:
    """List the imports of the file at `path` that the tables do not allow."""
    here = component(path)
    for name in imported(path):
        top, _, rest = name.partition(".")
        if top == "spawning":
            there = rest.partition(".")[0]
            allowed = there == here or there in MAY_IMPORT[here] or there == "__version__"
        else:
            allowed = top in sys.stdlib_module_names or top in THIRD_PARTY.get(here, set())
        if not allowed:
            yield f"{here} must not import {name}"


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_point_one_way(path: Path) -> None:
    assert component(path) in MAY_IMPORT, "a new component needs its place in the table"
    assert list(offences(path)) == []


def test_the_tables_have_no_cycle() -> None:
    done: set[str] = set()
    while ready := {name for name, needs in MAY_IMPORT.items() if name not in done and needs <= done}:
        done |= ready
    assert done == set(MAY_IMPORT)


# Inside a worker ------------------------------------------------------------------------------------------------------

# Floors, lowest first: a file imports from floors below its own. What is above reaches down; what is below knows what
# is above by its role (``roles``) or by a callable at most. Imports for the type checker alone count like any other.
WORKER_FLOORS: tuple[frozenset[str], ...] = (
    frozenset({"syscalls"}),
    frozenset(
        {
            "__init__",
            "bug",
            "children",
            "disconnected",
            "interrupt",
            "leaving",
            "lifecycle",
            "judge",
            "policy",
            "mail",
            "stream",
            "tally",
        }
    ),
    frozenset({"alarm", "console", "descriptors", "logfile", "sensor", "listener", "output", "passage", "tls"}),
    frozenset({"roles", "routes"}),
    frozenset({"context", "waiting", "vanished"}),
    frozenset({"poller", "sending", "executor", "departing", "ferry"}),
    frozenset({"closing", "arrival", "lead", "trials", "overdue", "handoff", "threads", "greenlets"}),
    frozenset({"migrating", "dispatch", "accepting", "preamble", "handshake"}),
    frozenset({"refusing"}),
    frozenset({"expiring"}),
    frozenset({"tunnelling"}),
    frozenset({"http1"}),
    frozenset({"loop", "watchdog", "details", "secured"}),
    frozenset({"timeouts", "streams", "tunnels", "unyielding"}),
    frozenset({"greencall", "ending"}),
    frozenset({"modes"}),
    frozenset({"main"}),
)
# Rooms beside each other: neither the loop nor what is below it knows HTTP, and a connection does not know who runs it.
STRANGERS = {
    "loop": {"http1"},
    "accepting": {"http1", "dispatch"},
    "handoff": {"http1"},
    "handshake": {"http1"},
    "dispatch": {"http1", "loop", "accepting", "poller", "stream"},
    "executor": {"loop", "accepting", "dispatch", "lead"},
}


def worker_imports(path: Path) -> set[str]:
    """Name the files of ``worker/`` that a file there imports."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.ImportFrom) and node.module == "spawning.worker":
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("spawning.worker."):
            found.add(node.module.removeprefix("spawning.worker."))
    return found


@pytest.mark.parametrize("path", sorted((SOURCE / "worker").glob("*.py")), ids=lambda path: str(path.stem))
def test_arrows_inside_a_worker_point_down(path: Path) -> None:
    floors = {name: floor for floor, names in enumerate(WORKER_FLOORS) for name in names}
    assert path.stem in floors, "a new file needs its floor"
    imports = worker_imports(path)
    assert {name for name in imports if floors[name] >= floors[path.stem]} == set()
    assert imports & STRANGERS.get(path.stem, set()) == set()


def test_every_floor_of_a_worker_has_its_files() -> None:
    files = {path.stem for path in (SOURCE / "worker").glob("*.py")}
    assert files == set().union(*WORKER_FLOORS)
