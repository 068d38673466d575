"""A server of an application in ``apps`` whose requests can be held while it reloads, and programs that ask it."""

import contextlib
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

from integration.gate import Gate
from integration.server import DEADLINE, Server

APPS = Path(__file__).parent / "apps"
LONG = 10 * DEADLINE  # seconds; for programs that write and check much on a loaded machine


def end(process: "subprocess.Popen[str]") -> str:
    """Wait for the end of a program, and return what it wrote; any status but 0 fails."""
    try:
        out, _ = process.communicate(timeout=LONG)
    finally:
        process.kill()
    assert process.returncode == 0, f"{process.args!r}: {out}"
    return out


def serve(name: str, gate: Gate, env: Mapping[str, str], cwd: Path = APPS) -> Server:
    """Return a server, not started yet, of one worker with four threads."""
    variables = {"GATE": str(gate.paths[0].parent), "PYTHONPATH": str(APPS), **env}
    return Server(name, "-s", "1", "-t", "4", "-l", "/dev/null", cwd=cwd, env=variables)


@contextlib.contextmanager
def held(gate: Gate, begin: str) -> Iterator[None]:
    """Have requests wait at the gate that begin so, from now on until the end of the block."""
    file = gate.paths[0].parent / "hold"
    file.write_text(begin)
    try:
        yield
    finally:
        file.unlink()


def reload_meanwhile(server: Server, gate: Gate) -> None:
    """Reload while one request is held, which is then let go."""
    gate.wait_entered(timeout=LONG)
    assert server.reload()
    gate.open()
