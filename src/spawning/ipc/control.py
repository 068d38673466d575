"""The control socket: what ``spawnctl`` and the controller say to each other, and where they meet.

A Unix stream socket with mode 0600; only its owner and root are listened to. A connection carries one question, a line
of JSON, and its answer, lines of JSON of which the last one says ``ok`` or ``error``; then it is closed.

    → {"command": "reload", "wait": true}
    ← {"progress": "generation 8: loading"}
    ← {"ok": {"generation": 8, "seconds": 0.412}}        or  {"error": "one line", "details": "a traceback, or empty"}

Commands: ``status``; ``reload`` and ``rollback``, both with ``wait`` (true: answered at their end); ``scale`` with
``workers``; ``stop``; ``upgrade`` with ``wait`` (true: answered when it is checked, with the generation to wait for);
``wait`` with ``generation`` (answered like ``reload``); ``requests``; ``stacks`` with ``worker`` (like ``"7.2"``).
"""

import json
import os
import stat
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

MAX_QUESTION = 65536  # bytes
SUFFIX = ".sock"
_RUN = Path("/run/spawning")


def encode(values: Mapping[str, Any]) -> bytes:
    """Give one line of JSON, with its end."""
    return json.dumps(values, separators=(",", ":")).encode() + b"\n"


def decode(line: bytes) -> dict[str, Any]:
    """Read a line.

    :raises ValueError: it is not a JSON object.
    """
    try:
        values = json.loads(line)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not isinstance(values, dict):
        raise ValueError("not a JSON object")  # noqa: TRY004 - one kind of error for whatever is wrong with a line
    return values


def name_for(host: str, port: int, more: str = "") -> str:
    """Give the file name of the control socket of the server at an address: ``127.0.0.1:8080.sock``."""
    bare = host.strip("[]").replace("/", "_")
    return f"[{bare}]:{port}{more}{SUFFIX}" if ":" in bare else f"{bare}:{port}{more}{SUFFIX}"


def directories(environ: Mapping[str, str]) -> list[Path]:
    """List where control sockets are by default, the best place first; none of them need exist."""
    found = [Path(environ["XDG_RUNTIME_DIR"]) / "spawning"] if environ.get("XDG_RUNTIME_DIR") else []
    return [*found, _RUN, Path(tempfile.gettempdir()) / f"spawning-{os.geteuid()}"]


def make_private(directory: Path) -> None:
    """Make a directory for control sockets, unless it is there.

    :raises OSError: it cannot be made, or is one in which somebody else could put a socket of his own.
    """
    directory.mkdir(mode=0o700, exist_ok=True)
    found = directory.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o022:
        raise PermissionError(f"{directory} is not a directory of ours alone")
