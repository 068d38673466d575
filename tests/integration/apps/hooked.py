"""An application that notes each hook it is called by: ``spawn hooked.application``, with NOTES in the environment.

FAIL names the hook that raises once there is the file AWRY; without AWRY_AT it does so from the first call on.
"""

import os
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from spawning.lifecycle import on_exit, on_fork, on_load, on_worker_gone

NOTES = Path(os.environ["NOTES"])
FAIL = os.environ.get("FAIL", "")
AWRY = NOTES.with_suffix(".awry")
KIND = os.environ.get("KIND", "")
LOADER = os.getpid()

_stop = threading.Event()


def note(*words: object) -> None:
    """Append a line: one write, so that lines of several processes stay whole."""
    with NOTES.open("a") as notes:
        notes.write(" ".join(map(str, words)) + "\n")


def misbehave(hook: str) -> None:
    if hook == FAIL and AWRY.exists():
        if KIND == "exit":
            raise SystemExit(0)
        if KIND == "fork" and not os.fork():
            return
        if KIND != "fork":
            raise LookupError(f"nothing for {hook}")


@on_load
def loaded() -> None:
    note("load", os.getpid())
    misbehave("on_load")


@on_fork
def first() -> None:
    note("fork", os.getpid(), LOADER, "first")


@on_fork
def second() -> None:
    note("fork", os.getpid(), LOADER, "second")
    misbehave("on_fork")
    if KIND == "thread":
        threading.Thread(target=_stop.wait, name="scheduler").start()


@on_exit
def leave() -> None:
    misbehave("on_exit")
    if FAIL == "on_exit" and KIND == "hang":
        note("hangs", os.getpid())
        threading.Event().wait()


@on_exit
def stop() -> None:
    note("exit", os.getpid())
    _stop.set()


@on_worker_gone
def gone_badly(pid: int) -> None:
    misbehave("on_worker_gone")


@on_worker_gone
def gone(pid: int) -> None:
    note("gone", os.getpid(), pid)


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(os.getpid()).encode()]
