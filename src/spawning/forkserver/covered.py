"""``--coverage``: coverage.py notes which lines of the application are executed, in all its processes.

It begins in the fork server, before anything of the application is imported, and goes on in the workers, which are
forked from that. Each worker writes what is new to a file of its own, once a second and at its end; the status service
adds the files up (``status/covered.py``). What the application's own configuration says about coverage counts, but for
where the files are.
"""

import os
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from spawning.errors import ConfigError
from spawning.forkserver.shared import make_directory
from spawning.logs.log import Log
from spawning.logs.setup import fields
from spawning.primitives import ServerThread, sleep

if TYPE_CHECKING:
    from coverage import Coverage

EVERY = 1.0  # seconds between two writes
_ORIGIN = "option --coverage"
_OURS = f"{Path(__file__).parents[1]}/*"
_WARNINGS = ["no-data-collected", "module-not-imported", "module-not-measured", "already-imported", "module-not-python"]

log = Log("spawning.forkserver")


def begin(directory: str, generation: int) -> "Covered":
    """Begin to note lines.

    :param directory: that of all generations.
    :param generation: its number.
    :raises ConfigError: coverage is missing, or its configuration is wrong.
    """
    check()
    from coverage import Coverage
    from coverage.exceptions import CoverageException

    make_directory(directory, _ORIGIN)
    own = os.path.join(directory, f"coverage-{generation}")
    make_directory(own, _ORIGIN)
    try:
        found = Coverage(data_file=os.path.join(own, "lines"), data_suffix=True, messages=False)
        _add(found, "run:omit", [_OURS])
        _add(found, "run:disable_warnings", _WARNINGS)
        found.set_option("run:patch", [])  # files for processes that others start, and the end of ours
        found.start()
    except CoverageException as error:
        raise ConfigError(f"{_ORIGIN}: coverage does not start: {error}") from None
    return Covered(found)


def check() -> None:
    """See that coverage is there.

    :raises ConfigError: it is not.
    """
    if find_spec("coverage") is None:
        raise ConfigError(f"{_ORIGIN} needs coverage, the extra spawning[coverage]: pip install coverage")


def _add(found: "Coverage", option: str, values: list[str]) -> None:
    before: Any = found.get_option(option)
    found.set_option(option, [*(before or ()), *values])


class Covered:
    """What is noted in this process.

    :param found: it has begun.
    """

    def __init__(self, found: "Coverage") -> None:
        self._found = found
        self._lock = Lock()
        self._told = False

    def follow(self) -> None:
        """Write from now on, in a thread. In a worker."""
        with suppress(RuntimeError):  # no thread can be started: what has been noted is written at the end
            _Writer(self).start()

    def write(self) -> None:
        """Write what is new; what cannot be written now, is with the next time."""
        with self._lock:
            try:
                self._found.save()
            # boundary: a full disk, a file that somebody has removed; the worker serves on
            except Exception as error:
                if not self._told:
                    log.warning("coverage cannot be written %s", fields(reason=error))
                self._told = True


class _Writer(ServerThread):
    def __init__(self, covered: Covered) -> None:
        super().__init__("coverage")
        self._covered = covered

    def run(self) -> None:
        while True:
            sleep(EVERY)
            self._covered.write()
