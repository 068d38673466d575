"""A second client beside the strict one: wrk, whose errors are of its own counting."""

import re
import signal
import subprocess
from types import TracebackType
from typing import Self

from clients.programs import program
from integration.server import DEADLINE


class Wrk:
    """wrk, from entry to exit; ``failures`` is what it has counted then, and ``requests`` how many there were."""

    def __init__(self, url: str, connections: int = 4) -> None:
        self._command = [program("wrk"), "--threads", "1", "--connections", str(connections), "--duration", "1h", url]
        self.requests = 0
        self.failures: list[str] = []

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(self._command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.send_signal(signal.SIGINT)  # it sums up, and ends
        out, _ = self._process.communicate(timeout=DEADLINE)
        found = re.search(r"(\d+) requests in", out)
        assert found is not None, out
        self.requests = int(found[1])
        self.failures = re.findall(r"^\s*(Socket errors: .*|Non-2xx .*)$", out, re.MULTILINE)
