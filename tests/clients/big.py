"""Bodies that are too large to be held in memory, and what a process needed meanwhile."""

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

BLOCK = bytes(range(256)) * 4096  # 1 MiB


class Body:
    """`mebibytes` of bytes in blocks, each different from its neighbours; ``sha256`` covers what was given out."""

    def __init__(self, mebibytes: int) -> None:
        self.size = mebibytes << 20
        self._count = mebibytes
        self._digest = hashlib.sha256()

    def __iter__(self) -> Iterator[bytes]:
        for number in range(self._count):
            block = number.to_bytes(8) + BLOCK[8:]
            self._digest.update(block)
            yield block

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()


def sha256(pieces: Iterator[bytes]) -> str:
    """Hash what arrives without keeping it."""
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(piece)
    return digest.hexdigest()


def peak_memory(pid: int) -> int:
    """Return the most bytes of memory that a process has had (its high-water mark)."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found
    return int(found[1]) << 10


def reads(pid: int) -> int:
    """Return the number of read system calls of a process; one that sends a part of a file counts as one."""
    found = re.search(r"syscr: (\d+)", Path(f"/proc/{pid}/io").read_text())
    assert found
    return int(found[1])
