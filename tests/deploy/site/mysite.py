"""What the tests put in place of the example's site: its version, and views that do what containers have trouble with.

/wait waits until there is a file /tmp/open, /leak?N keeps N megabytes more, of what /used tells, and /orphan leaves a
process behind whose parent is gone.
"""

import json
import os
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from spawning import cgroup

VERSION = os.environ.get("VERSION", "1")
_kept: list[bytearray] = []


def wait(argument: str) -> str:
    while not Path("/tmp/open").exists():
        threading.Event().wait(0.05)
    return VERSION


def leak(argument: str) -> str:
    _kept.append(bytearray(os.urandom(1000)) * (int(argument) * 1000))
    return VERSION


def orphan(argument: str) -> str:
    """Start a process whose parent is gone at once; it is gone itself as soon as nobody holds the other end."""
    end, start = os.pipe()
    between = os.fork()
    if not between:
        if not os.fork():
            os.close(start)
            os.read(end, 1)
        os._exit(0)
    os.waitpid(between, 0)
    os.close(start)
    os.close(end)
    return VERSION


def facts(argument: str) -> str:
    return json.dumps({"pid": os.getpid(), "uid": os.getuid(), "variables": sorted(os.environ)})


def used(argument: str) -> str:
    """Answer how much memory the container has used."""
    memory = cgroup.memory()
    return str(memory.used if memory else 0)


VIEWS: dict[str, Callable[[str], str]] = {
    "/wait": wait,
    "/leak": leak,
    "/orphan": orphan,
    "/facts": facts,
    "/used": used,
}


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Answer with the version, or with what a view says."""
    view = VIEWS.get(environ["PATH_INFO"])
    body = (view(environ["QUERY_STRING"]) if view else VERSION).encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
