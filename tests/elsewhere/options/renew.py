"""Make the lists of other servers' options from their ``--help``: ``python tests/elsewhere/options/renew.py``.

Each server is installed into a virtual environment of its own in a temporary directory, so a package index is needed;
for mod_wsgi also Debian's ``apache2-dev``, for uWSGI a C compiler. Only the names of options are kept, one a line, all
spellings of one option on one line. Review the difference: a new option needs a row in ``docs/from/``.
"""

import re
import subprocess
import sys
import tempfile
import venv
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).parent
OPTION = re.compile(r"^ {1,8}(?=-)(?P<spellings>.*?)(?: {2,}|$)")
SPELLING = re.compile(r"(?<![\w-])(--?(?:\[no-\])?[A-Za-z0-9][\w-]*)")
SERVERS = {
    "gunicorn": ("gunicorn", "gunicorn --help"),
    "waitress": ("waitress", "waitress-serve --help"),
    "uwsgi": ("uwsgi", "uwsgi --help"),
    "mod_wsgi": ("mod_wsgi", "mod_wsgi-express start-server --help"),
}


def options(text: str) -> Iterator[str]:
    """Yield a line for each option of a ``--help``: its spellings."""
    for line in text.splitlines():
        match = OPTION.match(line)
        if match is None:
            continue
        found = SPELLING.findall(match["spellings"])
        opposites = [each.replace("[no-]", "no-") for each in found if "[no-]" in each]
        yield " ".join([*(each.replace("[no-]", "") for each in found), *opposites])


def renew(server: str) -> None:
    """Install a server and write its list."""
    package, command = SERVERS[server]
    with tempfile.TemporaryDirectory() as directory:
        venv.create(directory, with_pip=True)
        programs = Path(directory) / "bin"
        subprocess.run([programs / "python", "-m", "pip", "install", "--quiet", package], check=True)
        question = f"import importlib.metadata as m; print(m.version({package!r}))"
        version = _output(programs / "python", "-c", question).strip()
        program, *arguments = command.split()
        lines = dict.fromkeys(options(_output(programs / program, *arguments)))
    text = "".join(f"{each}\n" for each in lines)
    (HERE / f"{server}.txt").write_text(f"# {package} {version}: {command}\n{text}")


def _output(*command: Path | str) -> str:
    """Return what a program prints; waitress' prints its help on stderr, with status 1 or 0 by its version."""
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False).stdout


if __name__ == "__main__":
    for name in sys.argv[1:] or SERVERS:
        renew(name)
