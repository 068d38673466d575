"""``--stdout`` and ``--stderr``: the files that these streams of all processes are, instead of what they would inherit.

They are opened before anything is started, so every process has them by inheritance, the application's children too.
After a rotation (USR1) the controller opens them anew and hands them on, like those of the access log
(``logfiles.py``): who may not open a file need not. What was open stays in use if that fails.
"""

import os
from collections.abc import Iterator, Mapping

from spawning.account import Account
from spawning.controller.logfiles import why_not
from spawning.errors import ConfigError
from spawning.logs.log import Log
from spawning.logs.setup import fields
from spawning.logs.streams import open_file
from spawning.settings import Settings

NAMES = {1: "stdout", 2: "stderr"}  # descriptor to setting

log = Log("spawning.controller")


def open_standard(settings: Settings, sources: Mapping[str, str], account: Account | None) -> dict[int, int]:
    """Open the files that the settings name; return descriptor (1, 2) to the open file.

    :param sources: setting name to where its value came from, for messages.
    :param account: whom a file is to belong to that is made by this.
    :raises ConfigError: a file cannot be opened; then none has been made.
    """
    opened: dict[int, int] = {}
    made: list[str] = []
    for stream, name in NAMES.items():
        path = getattr(settings, name)
        if path is None:
            continue
        try:
            is_new = not os.path.lexists(path)
            opened[stream] = open_file(path)
        except OSError as error:
            for each in made:
                os.unlink(each)
            raise ConfigError(f"{sources[name]}: cannot write {path}: {why_not(path, error)}") from None
        if is_new:
            made.append(path)
            if account is not None:
                os.fchown(opened[stream], account.uid, account.gid)
    return opened


class StandardFiles:
    """Opens them anew. For the controller's loop alone.

    :param directory: where the service was started: relative paths begin there.
    """

    def __init__(self, directory: str) -> None:
        self._directory = directory

    def reopened(self, settings: Settings, cause: str) -> Iterator[tuple[int, int]]:
        """Open the files anew, and give descriptor (1, 2) and open file, which is the caller's to close; log which are.

        :param settings: with which the service was started.
        :param cause: for the log.
        """
        for stream, name in NAMES.items():
            if (path := getattr(settings, name)) is None:
                continue
            path = os.path.join(self._directory, path)
            try:
                descriptor = open_file(path)
            except OSError as error:
                said = fields(log=name, file=path, reason=why_not(path, error), meanwhile="the file before")
                log.error("log cannot be opened %s", said)  # noqa: TRY400 - it says all
                continue
            yield stream, descriptor
            log.info("log reopened %s", fields(log=name, file=path, signal=cause))
