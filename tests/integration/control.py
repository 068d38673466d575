"""Run the real ``spawnctl``."""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from integration.server import DEADLINE, Finished, _inherited_environment


def spawnctl(*args: str | Path, env: Mapping[str, str] | None = None, stdin: str | None = None) -> Finished:
    """Run ``spawnctl ARGS`` to its end."""
    command = [sys.executable, "-m", "spawning.ctl", *map(str, args)]
    environment = {**_inherited_environment(), **(env or {})}
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=DEADLINE, check=False, input=stdin
    )
    return Finished(done.returncode, done.stdout, done.stderr)
