"""``--sysinfo``: what the application runs in, as its last worker has found it at its start, for the status service."""

import json
import os
import platform
import re
import sys
import time
from contextlib import suppress
from typing import Any

from spawning.forkserver.shared import make_directory
from spawning.logs.log import Log
from spawning.logs.setup import fields

# Variables whose values are shown; any other may hold a secret.
_HARMLESS = re.compile(
    r"PATH|PYTHON\w+|LANG|LANGUAGE|LC_\w+|TZ|HOME|USER|LOGNAME|SHELL|PWD|TMPDIR|VIRTUAL_ENV|PORT|WEB_CONCURRENCY"
    r"|DJANGO_SETTINGS_MODULE|HOSTNAME|XDG_RUNTIME_DIR|LD_LIBRARY_PATH|LD_PRELOAD|MALLOC_\w+"
)
HIDDEN = "(hidden)"

log = Log("spawning.forkserver")


def write(directory: str, generation: int, worker: str) -> None:
    """Write it for a generation, in place of what another worker has found.

    :param directory: that of all generations.
    :param worker: the name of the worker that writes.
    """
    path = os.path.join(directory, f"system-{generation}.json")
    draft = f"{path}.{os.getpid()}"
    try:
        with open(draft, "w", encoding="utf-8") as file:
            json.dump({"worker": worker, **_found()}, file)
        os.replace(draft, path)
    except OSError as error:  # a full disk; the worker serves
        log.warning("system information cannot be written %s", fields(reason=error))


def prepare(directory: str) -> None:
    """Make the directory.

    :raises ConfigError: that cannot be done.
    """
    make_directory(directory, "option --sysinfo")


def _found() -> dict[str, Any]:
    return {
        "at": time.time(),
        "interpreter": {
            "Python": sys.version,
            "implementation": platform.python_implementation(),
            "executable": sys.executable,
            "prefix": sys.prefix,
            "base prefix": sys.base_prefix,
            "flags": str(sys.flags).removeprefix("sys.flags"),
            "encoding of file names": sys.getfilesystemencoding(),
            "recursion limit": str(sys.getrecursionlimit()),
            "hash seed": "random" if sys.flags.hash_randomization else "fixed",
        },
        "machine": {
            "platform": platform.platform(),
            "machine": platform.machine(),
            "C library": " ".join(platform.libc_ver()),
            "name": platform.node(),
            "processors": f"{len(os.sched_getaffinity(0))} of {os.cpu_count()}",
        },
        "process": {
            "pid": str(os.getpid()),
            "directory": os.getcwd(),
            "user": str(os.geteuid()),
            "group": str(os.getegid()),
            "other groups": ", ".join(map(str, os.getgroups())) or "none",
            "time zone": ", ".join(dict.fromkeys(time.tzname)),
        },
        "path": list(sys.path),
        "environment": {name: _value(name, value) for name, value in sorted(os.environ.items())},
        "modules": sorted(_modules()),
    }


def _value(name: str, value: str) -> str:
    return value if _HARMLESS.fullmatch(name) else HIDDEN


def _modules() -> list[tuple[str, str, str]]:
    """List the packages and modules of the first level that are imported: name, version, file."""
    found = []
    for name, module in list(sys.modules.items()):
        if "." in name or name in sys.stdlib_module_names:
            continue
        attributes: dict[str, Any] = {}
        with suppress(TypeError):  # what an application has put there need not be a module
            attributes = vars(module)  # not getattr, which may run code of a module
        version, file = attributes.get("__version__"), attributes.get("__file__")
        found.append((name, version if isinstance(version, str) else "", file if isinstance(file, str) else ""))
    return found
