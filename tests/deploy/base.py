"""Base systems for containers, made once by debootstrap and kept in ``tests/deploy/.work``; wheels for their Python."""

import platform
import subprocess
import sys
import tempfile
from pathlib import Path

from clients.programs import run

ROOT = Path(__file__).parents[2]
WORK = Path(__file__).parent / ".work"
MIRROR = "http://deb.debian.org/debian"
LONG = 900.0  # seconds; for what loads packages over the network
_LEFT_OUT = ("./var/cache/apt/*", "./var/lib/apt/lists/*", "./usr/share/doc/*", "./usr/share/locale/*")


def system(release: str, *packages: str) -> Path:
    """Return the tar file of a Debian system with Python and more packages; it is made at the first time."""
    kept = WORK / f"{'-'.join((release, *packages))}.tar"
    if kept.exists():
        return kept
    WORK.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="spawning-base-") as directory:
        Path(directory).chmod(0o755)  # it is the root of the system, for every user
        included = ",".join(("python3", "python3-venv", "ca-certificates", *packages))
        run("debootstrap", "--variant=minbase", f"--include={included}", release, directory, MIRROR, timeout=LONG)
        part = kept.with_suffix(".part")
        patterns = [f"--exclude={each}" for each in _LEFT_OUT]
        run("tar", "--create", "--file", part, "--directory", directory, *patterns, ".", timeout=LONG)
        part.rename(kept)
    return kept


def wheels(directory: Path, python: str) -> None:
    """Put Spawning's wheel, and those of all that it needs, into a directory.

    :param python: the version of Python that they are for.
    """
    pip = [sys.executable, "-m", "pip"]
    subprocess.run(
        [*pip, "wheel", "--quiet", "--no-deps", "--wheel-dir", str(directory), str(ROOT)], check=True, timeout=LONG
    )
    of = [f"--platform=manylinux{glibc}_{platform.machine()}" for glibc in ("2014", "_2_28")]
    fixed = ["--only-binary=:all:", f"--python-version={python}", *of]
    found = map(str, directory.glob("spawning-*.whl"))
    subprocess.run([*pip, "download", "--quiet", *fixed, "--dest", str(directory), *found], check=True, timeout=LONG)
