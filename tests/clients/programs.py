"""Programs that are no Python packages: found, or named with the Debian package that has them."""

import shutil
import subprocess
from pathlib import Path

from integration.server import DEADLINE

PACKAGES = {
    "ab": "apache2-utils",
    "chromium": "chromium",
    "curl": "curl",
    "h2load": "nghttp2-client",
    "haproxy": "haproxy",
    "logrotate": "logrotate",
    "nginx": "nginx",
    "prometheus": "prometheus",
    "promtool": "prometheus",
    "wrk": "wrk",
}
SEARCHED = "/usr/local/sbin:/usr/sbin:/sbin"  # where daemons are, also for users who do not have it in their PATH


def program(name: str) -> str:
    """Give the path of a program.

    :raises AssertionError: it is not installed; the message names the package.
    """
    path = shutil.which(name) or shutil.which(name, path=SEARCHED)
    assert path, f"{name} is not installed: apt-get install {PACKAGES[name]}"
    return path


def run(name: str, *args: str | Path, data: bytes = b"", timeout: float = DEADLINE) -> bytes:
    """Run a program to its end and give what it wrote to stdout; any exit status but 0 fails, with its stderr."""
    command = [program(name), *map(str, args)]
    done = subprocess.run(command, input=data, capture_output=True, timeout=timeout, check=False)
    assert done.returncode == 0, f"{command}: status {done.returncode}\n{done.stdout!r}\n{done.stderr.decode()}"
    return done.stdout
