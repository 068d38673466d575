"""Check the package as people get it: ``make package-test``, or ``python -m release.check``.

Builds the sdist and the wheel, and tries

* what they say of themselves (``twine check --strict``), and that no link of the README is a relative one;
* that the sdist's own tests pass where it is unpacked (the fast ones: ``tests/unit`` and ``tests/layers``);
* the wheel on each Python that is supported: every one that this machine has is tried and named, and so is every one
  that it does not have;
* the wheel with the lowest versions of everything that it allows, on the lowest Python;
* the wheel with nothing but click, where what needs more says so in one line.

"Tried" means: a server starts, answers, reloads by a signal and by a changed file, answers with the new code, and ends;
with coroutines and a status service too.
Needs a package index. Ends with status 1 at the first thing that is wrong.
"""

import email
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import zipfile
from collections.abc import Iterable, Sequence
from email.message import Message
from pathlib import Path

ROOT = Path(__file__).parent.parent
SUPPORTED = ("3.11", "3.12", "3.13", "3.14")
PYENV = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = tuple(PROJECT["optional-dependencies"])
USES = (
    ("-t", "4"),
    ("-t", "4", "--reload", "dev"),
    ("-t", "0", "--status", "127.0.0.1:0", "--app-metrics"),
)
RELATIVE = re.compile(r"\]\((?![a-z]+:|#)[^)]+\)")
IN_WHEEL = ("spawning/py.typed", "spawning/cli.py", "spawning/status/static/", ".dist-info/licenses/LICENSE")
IN_SDIST = ("tests/unit/", "docs/settings.md", "docs/from/gunicorn.md", "examples/", ".ci/run", "Makefile", "LICENSE")


class WrongError(Exception):
    """Something is wrong with the package."""


def main() -> int:
    """Check everything; return the exit status."""
    with tempfile.TemporaryDirectory(prefix="package-test-") as directory:
        work = Path(directory)
        try:
            check(work)
        except (WrongError, subprocess.CalledProcessError) as error:
            print(f"\nthe package is not good: {error}", file=sys.stderr)
            return 1
    return 0


def check(work: Path) -> None:
    """Check everything, in an empty directory.

    :raises WrongError: something is wrong.
    """
    sdist, wheel = build(work)
    described(wheel)
    complete(sdist, wheel)
    own_tests(sdist, work)
    found = {version: interpreter(version) for version in SUPPORTED}
    for version, python in found.items():
        if python is not None:
            tried(work / f"python-{version}", python, [f"{wheel}[{','.join(EXTRAS)}]"], f"Python {version}")
    lowest = next(python for python in found.values() if python is not None)
    floors = [f"{wheel}[{','.join(EXTRAS)}]", *lowest_versions()]
    tried(work / "lowest", lowest, floors, f"the lowest versions ({', '.join(floors[1:])})")
    bare(work / "bare", lowest, wheel)
    print("\nthe package is good")
    for version, python in found.items():
        print(f"  Python {version}: {'tried, ' + str(python) if python else 'NOT TRIED, this machine has none'}")


# The files -----------------------------------------------------------------------------------------------------------


def build(work: Path) -> tuple[Path, Path]:
    """Build both files, the wheel from the sdist, and have twine look at them."""
    tools = environment(work / "tools", sys.executable, ["build", "twine"])
    say("building")
    run(tools / "python", "-m", "build", "--outdir", work / "dist", ROOT)
    (sdist,), (wheel,) = (list((work / "dist").glob(pattern)) for pattern in ("*.tar.gz", "*.whl"))
    run(tools / "twine", "check", "--strict", sdist, wheel)
    return sdist, wheel


def described(wheel: Path) -> None:
    """Look at what the wheel says of itself."""
    say("what it says of itself")
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        metadata: Message = email.message_from_bytes(archive.read(name))
    text = metadata.get_payload()
    assert isinstance(text, str)
    demand(metadata["Author"] == "The Spawning developers", f"Author is {metadata['Author']!r}")
    demand(len(metadata.get_all("Project-URL", [])) >= 4, "there are no addresses")
    demand(not RELATIVE.findall(text), f"the README has relative links: {RELATIVE.findall(text)[:3]}")
    required = [each for each in metadata.get_all("Requires-Dist", []) if "extra ==" not in each]
    demand(len(required) == 2, f"more is required than click and setproctitle: {required}")
    demand(set(metadata.get_all("Provides-Extra", [])) == set(EXTRAS), "an extra is missing")
    addresses = " ".join(metadata.get_all("Project-URL", []))
    if ".example" in addresses:
        message = "the project's addresses ([project.urls]) are still reserved names"
        demand("RELEASE" not in os.environ, message)
        print(f"  {message}: not to be released (RELEASE=1 makes this an error)")


def complete(sdist: Path, wheel: Path) -> None:
    """See that nothing is missing in the files, and that the wheel has the package alone."""
    say("what is in them")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    demand(not missing(IN_WHEEL, names), f"the wheel lacks {missing(IN_WHEEL, names)}")
    others = [name for name in names if not re.match(r"spawning(/|-[^/]*\.dist-info/)", name)]
    demand(not others, f"the wheel has {others[:3]} besides the package")
    with tarfile.open(sdist) as archive:
        names = [name.partition("/")[2] for name in archive.getnames()]
    demand(not missing(IN_SDIST, names), f"the sdist lacks {missing(IN_SDIST, names)}")
    kept = output("git", "-C", ROOT, "ls-files", "src", "tests", "docs", "examples").splitlines()
    demand(not set(kept) - set(names), f"the sdist lacks {sorted(set(kept) - set(names))[:5]}")


def own_tests(sdist: Path, work: Path) -> None:
    """Unpack the sdist and have its fast tests pass there."""
    say("the sdist's own tests")
    with tarfile.open(sdist) as archive:
        archive.extractall(work / "unpacked", filter="data")
    (source,) = (work / "unpacked").iterdir()
    python = environment(work / "own", sys.executable, ["pip>=25.1"]) / "python"
    run(python, "-m", "pip", "install", "--quiet", ".", "--group", "test", cwd=source)
    arguments = ("-q", "-n", "2", "-p", "no:cacheprovider", "tests/unit", "tests/layers")
    print(output(python, "-m", "pytest", *arguments, cwd=source).splitlines()[-1])


# Installing ----------------------------------------------------------------------------------------------------------


def lowest_versions() -> list[str]:
    """Return what is required, and what the extras are, pinned to the lowest version that is allowed."""
    requirements = [
        *PROJECT["dependencies"],
        *(each for extra in PROJECT["optional-dependencies"].values() for each in extra),
    ]
    demand(all(">=" in each for each in requirements), f"a requirement has no lowest version: {requirements}")
    return [each.replace(">=", "==") for each in requirements]


def tried(directory: Path, python: Path, packages: Sequence[str], name: str) -> None:
    """Install and use a server."""
    say(name)
    programs = environment(directory, python, packages)
    site = directory / "site"
    for options in USES:
        use(programs, site, *options)
    answer = output(programs / "spawn", "-f", "paste", "none.ini", "--check-config", cwd=site, status=2)
    demand("there is no ini file none.ini" in answer, f"paste: {answer}")


def bare(directory: Path, python: Path, wheel: Path) -> None:
    """Install it with click alone, which has no compiled part."""
    say("nothing but click")
    programs = environment(directory, python, ["click"])
    run(programs / "python", "-m", "pip", "install", "--quiet", "--no-deps", wheel)
    use(programs, directory / "site", "-t", "4")
    answer = output(programs / "spawn", "shop:app", "--reload", "dev", cwd=directory / "site", status=2)
    needed = "spawn: option --reload: dev needs watchfiles, the extra spawning[reload]: pip install watchfiles"
    demand(answer.strip() == needed, f"--reload dev says {answer!r}")


def use(programs: Path, site: Path, *options: str) -> None:
    """Start a server, change its code, and stop it: ``release/use.py``, executed by that Python."""
    run(programs / "python", "-W", "error", ROOT / "release" / "use.py", site, *options)


def interpreter(version: str) -> Path | None:
    """Find a Python of that version, of the path or of pyenv."""
    candidates = [str(each / "bin" / "python") for each in sorted(PYENV.glob(f"{version}.*"))]
    candidates += [each for each in [shutil.which(f"python{version}")] if each is not None]
    question = "import sys; print('%d.%d' % sys.version_info[:2])"
    for candidate in candidates:
        answer = subprocess.run([candidate, "-c", question], capture_output=True, text=True, check=False)
        if answer.returncode == 0 and answer.stdout.strip() == version:
            return Path(candidate)
    return None


def environment(directory: Path, python: Path | str, packages: Sequence[str | Path]) -> Path:
    """Make a virtual environment with these packages; return the directory of its programs."""
    run(python, "-m", "venv", directory)
    programs = directory / "bin"
    run(programs / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages)
    return programs


# Small things --------------------------------------------------------------------------------------------------------


def missing(wanted: Iterable[str], names: Sequence[str]) -> list[str]:
    return [each for each in wanted if not any(each in name for name in names)]


def demand(holds: bool, otherwise: str) -> None:
    if not holds:
        raise WrongError(otherwise)


def say(what: str) -> None:
    print(f"\n== {what}", flush=True)


def run(*command: Path | str, cwd: Path | None = None) -> None:
    subprocess.run(command, check=True, cwd=cwd)


def output(*command: Path | str, cwd: Path | None = None, status: int = 0) -> str:
    answer = subprocess.run(command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    demand(answer.returncode == status, f"{' '.join(map(str, command))} ends with {answer.returncode}: {answer.stdout}")
    return answer.stdout


if __name__ == "__main__":
    sys.exit(main())
