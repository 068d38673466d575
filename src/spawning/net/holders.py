"""Who listens at an address that is taken, as far as ``/proc`` tells (``proc(5)``): for messages alone."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_LISTENING: Final = "0A"  # TCP_LISTEN, as net/tcp has it
_ACCEPTS: Final = "00010000"  # __SO_ACCEPTCON, as net/unix has it


def holder_of_port(port: int, proc: Path = Path("/proc")) -> str:
    """Describe the process that listens at a TCP port of any address: ``nginx (pid 17)``; empty if nobody can tell."""
    inodes = set()
    for table in ("tcp", "tcp6"):
        for columns in _rows(proc / "net" / table):
            if len(columns) > 9 and columns[3] == _LISTENING and int(columns[1].rpartition(":")[2], 16) == port:
                inodes.add(columns[9])
    return _process(inodes, proc)


def holder_of_path(path: str, proc: Path = Path("/proc")) -> str:
    """As :func:`holder_of_port`, of a Unix socket: a path, or ``@`` and a name."""
    rows = (columns for columns in _rows(proc / "net" / "unix") if len(columns) > 7 and columns[3] == _ACCEPTS)
    return _process({columns[6] for columns in rows if " ".join(columns[7:]) == path}, proc)


def _rows(table: Path) -> Iterator[list[str]]:
    with contextlib.suppress(OSError):
        yield from (line.split() for line in table.read_text(errors="replace").splitlines()[1:])


def _process(inodes: set[str], proc: Path) -> str:
    links = {f"socket:[{inode}]" for inode in inodes}
    for process in proc.glob("[0-9]*") if links else ():
        with contextlib.suppress(OSError):  # it is gone, or another user's
            for descriptor in (process / "fd").iterdir():
                if os.readlink(descriptor) in links:
                    return f"{(process / 'comm').read_text().strip()} (pid {process.name})"
    return ""
