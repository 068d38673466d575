"""``--sysinfo``: the page about what the application runs in. Pure, but for the packages, which are looked up here.

What is shown is what a worker has found at its start (``forkserver/system.py``).
"""

import json
import time
from collections.abc import Iterator
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

from spawning.status.page import as_html, table

_DOCUMENT = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="robots" content="noindex">
<title>Spawning – system</title>
<link rel="stylesheet" href="status.css">
<main id="main">
<header><h1>System</h1>
<p>as worker {worker} has found it at its start, {at}</p></header>
{tables}
</main>
<footer><a href="./">status</a></footer>
</html>
"""

Values = dict[str, Any]


def found(directory: str, generation: int) -> Values | None:
    """Return what a worker of a generation has written; None: none has yet."""
    try:
        values: Values = json.loads(Path(directory, f"system-{generation}.json").read_bytes())
    except FileNotFoundError:
        return None
    values["packages"] = packages(values["path"])
    return values


def packages(path: list[str]) -> list[tuple[str, str]]:
    """List the packages that are installed in the directories of a path: name and version."""
    known = {each.metadata["Name"]: each.version for each in distributions(path=path)}
    return sorted((name, version) for name, version in known.items() if name)


def document(values: Values) -> str:
    """Return the page."""
    at = time.strftime("%Y-%m-%d %H:%M:%S %z", time.localtime(values["at"]))
    return _DOCUMENT.format(worker=as_html(values["worker"]), at=at, tables="\n".join(_tables(values)))


def _tables(values: Values) -> Iterator[str]:
    for title in ("interpreter", "machine", "process"):
        yield f"<h2>{title.capitalize()}</h2>{table(('what', 'value'), values[title].items())}"
    yield f"<h2>Path</h2>{table(('sys.path',), [[each] for each in values['path']])}"
    yield f"<h2>Packages</h2>{table(('package', 'version'), values['packages'])}"
    yield f"<h2>Modules</h2>{table(('module', 'version', 'file'), values['modules'], texts=(0, 1, 2))}"
    yield f"<h2>Environment</h2>{table(('variable', 'value'), values['environment'].items())}"
