"""How the suite runs on several cores (``pytest -n auto``): most tests beside each other, some alone.

A test is alone if it measures memory or time, or says of a server under full load what only holds when nobody else
takes the processor away. It needs the whole room; the others share it. Two locks on files do that, since the processes
of pytest-xdist have nothing else in common: whoever waits for the whole room keeps the door, so nobody enters before.
Without ``-n`` there is one process, and every test is alone.
"""

import fcntl
import os
import signal
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

# How long an example takes says something of the machine, which others use too.
settings.register_profile("no times", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("no times")

# A shell has what it runs in the background ignore it, and all that is started from here would as well.
signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:  # nohup, whose business is this process alone
    signal.signal(signal.SIGHUP, lambda *_: None)

ALONE = {
    "tests/clients/test_load_tools.py",
    "tests/integration/test_hostile.py",
    "tests/integration/test_idle.py",
    "tests/integration/test_machine.py",
    "tests/integration/test_routes.py",
    "tests/unit/test_bench.py",
    "tests/unit/test_sensor.py",
    "tests/unit/test_watchdog.py",
}
_ROOM = pytest.StashKey[tempfile.TemporaryDirectory[str]]()
_INPUT = "spawning_room"  # what the processes are told: a directory


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Have a process for each core, and two on one: most of the time they wait for a server."""
    return max(2, len(os.sched_getaffinity(0)))


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Put where the locks are into each process's environment."""
    if _ROOM not in node.config.stash:
        node.config.stash[_ROOM] = tempfile.TemporaryDirectory(prefix="spawning-tests-")
    node.workerinput[_INPUT] = node.config.stash[_ROOM].name


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove the locks."""
    if _ROOM in config.stash:
        config.stash[_ROOM].cleanup()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Run a test when there is room for it, or the whole room."""
    told = getattr(item.config, "workerinput", {})
    if _INPUT not in told:
        return (yield)
    alone = item.path.relative_to(item.config.rootpath).as_posix() in ALONE
    with _room(Path(told[_INPUT]), alone=alone):
        return (yield)


@contextmanager
def _room(directory: Path, *, alone: bool) -> Iterator[None]:
    with ExitStack() as stack:
        door, room = (stack.enter_context(open(directory / name, "ab")) for name in ("door", "room"))
        fcntl.flock(door, fcntl.LOCK_EX)
        fcntl.flock(room, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        if not alone:
            fcntl.flock(door, fcntl.LOCK_UN)
        yield
