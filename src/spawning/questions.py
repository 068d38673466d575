"""What ``spawn`` answers instead of serving: ``--print-schema``, ``--print-config``, ``--check-config`` and
``--from-gunicorn``.
"""

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from spawning.errors import ConfigError
from spawning.interpreter import enter
from spawning.settings.schema import schema
from spawning.settings.show import as_toml
from spawning.settings.sources import Sources


def answer(question: str, sources: Sources, words: Sequence[str] = ()) -> int:
    """Answer a question; return the exit status.

    :param words: what was asked about, of a question with a value.
    :raises ConfigError: something has to be changed.
    :raises AppLoadError: the application does not load.
    """
    return _ANSWERS[question](sources, words)


def _schema(sources: Sources, words: Sequence[str]) -> int:
    _write(json.dumps(schema(), indent=2, ensure_ascii=False) + "\n")
    return 0


def _configuration(sources: Sources, words: Sequence[str]) -> int:
    _write(as_toml(sources.read()))
    return 0


def _check(sources: Sources, words: Sequence[str]) -> int:
    from spawning.check_config import check  # late: it takes what a controller takes
    from spawning.controller.start import find_account

    configuration = sources.read_all()
    settings = configuration.settings
    if settings.chdir is not None:
        enter(settings.chdir, configuration.sources["chdir"])
    find_account(configuration)
    check(configuration)
    _write(f"the configuration is good: {' '.join(settings.args)} loads\n")
    return 0


def _from_gunicorn(sources: Sources, words: Sequence[str]) -> int:
    from spawning.elsewhere.convert import from_gunicorn  # late: only who moves needs it

    path, *application = words
    _write(from_gunicorn(path, application, os.environ))
    return 0


def _write(text: str) -> None:
    """Write to stdout.

    :raises ConfigError: it takes nothing.
    """
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # or the interpreter would complain at its end, once more
        raise ConfigError(f"cannot write to stdout: {error.strerror}") from None


_ANSWERS: Final[Mapping[str, Callable[[Sources, Sequence[str]], int]]] = {
    "print_schema": _schema,
    "print_config": _configuration,
    "check_config": _check,
    "from_gunicorn": _from_gunicorn,
}
