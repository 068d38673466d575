"""Install what is measured: ``python -m bench.install`` by the interpreter of the suite's environment.

What comes from Debian is only looked for; what is missing is named with the command that installs it. A server that
cannot be installed is said and left out, so that it does not keep the others from being measured.
"""

import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path

from bench import apache, nginx

HERE = Path(__file__).parent
_HEADERS = ("/usr/include", "/usr/local/include")


def _command(name: str) -> Callable[[], bool]:
    return lambda: shutil.which(name) is not None


def _header(name: str) -> Callable[[], bool]:
    return lambda: any(Path(directory, name).exists() for directory in (*_HEADERS, sysconfig.get_path("include")))


def _mod_wsgi() -> bool:
    binary = shutil.which(apache.BINARY)
    return binary is not None and apache.module_path(binary, "wsgi").exists()


NEEDED: dict[str, Callable[[], bool]] = {
    "apache2-utils": _command("ab"),
    "wrk": _command("wrk"),
    "build-essential": _command("cc"),
    "libev-dev": _header("ev.h"),
    "python3-dev": _header("Python.h"),
}
"""Debian package to whether it is there: load generators, and what the servers in C are compiled with."""

WANTED: dict[str, Callable[[], bool]] = {
    "apache2-bin": _command(apache.BINARY),
    "nginx-light": lambda: bool(nginx.binary()),
    "libapache2-mod-wsgi-py3": _mod_wsgi,
}
"""As ``NEEDED``, of servers that are left out when they are not there."""


def missing(packages: dict[str, Callable[[], bool]]) -> list[str]:
    """List the packages that are not there."""
    return [name for name, is_there in packages.items() if not is_there()]


def check() -> None:
    """Print which Debian packages are missing.

    :raises SystemExit: the suite cannot do without one of them.
    """
    if optional := missing(WANTED):
        print(
            f"bench: some servers are left out; to measure them: apt-get install {' '.join(optional)}", file=sys.stderr
        )
    if needed := missing(NEEDED):
        sys.exit(f"bench: missing from Debian: apt-get install {' '.join(needed)}")


def main() -> None:
    """Check, then install Spawning from this checkout and each server of ``requirements.txt``."""
    check()
    _install("--editable", str(HERE.parent), required=True)
    for line in (HERE / "requirements.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            _install(line)


def _install(*what: str, required: bool = False) -> None:
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *what]
    if subprocess.run(command, check=False).returncode:
        message = f"bench: pip could not install {what[-1]}"
        if required:
            sys.exit(message)
        print(f"{message}; it is left out", file=sys.stderr)


if __name__ == "__main__":
    main()
