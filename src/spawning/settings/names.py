"""What settings are called outside: keys of a file, environment variables. Names of both kinds lead to one setting.

A key is the long option's name (``max-requests``, ``_`` for ``-`` is the same) or the setting's own
(``num_processes``). The application is two keys: ``app`` and ``middleware`` make up the setting ``args``.
"""

import difflib
from collections.abc import Iterable

from spawning.settings.option import PREFIX
from spawning.settings.table import OPTIONS

APP, MIDDLEWARE = "app", "middleware"
_CLOSE = 0.75  # how alike names are that may be taken for each other: "prot" and "port" are


def _keys() -> dict[str, str]:
    found = {APP: APP, MIDDLEWARE: MIDDLEWARE}
    for name, option in OPTIONS.items():
        found |= {_plain(name): name}
        found |= {_plain(flag.lstrip("-")): name for flag in option.flags if flag not in option.opposites}
    return {key: name for key, name in found.items() if len(key) > 1}


def _plain(key: str) -> str:
    return key.replace("_", "-")


KEYS = _keys()
"""Every key, with ``-``, to the name of its setting."""
FILE_KEYS = {key: name for key, name in KEYS.items() if name not in OPTIONS or OPTIONS[name].in_file}
VARIABLES = {f"{PREFIX}{key.upper().replace('-', '_')}": name for key, name in KEYS.items() if name != "explicit"}
"""Every environment variable of ours to the name of its setting."""


def key_of(name: str) -> str:
    """Return the key that a setting has in the documentation: that of its option, or its own name."""
    return (OPTIONS[name].key if name in OPTIONS else name) or name


def setting_of(key: str) -> str | None:
    """Return the name of the setting that a key of a file means; None if there is none."""
    return FILE_KEYS.get(_plain(key))


def suggestion(word: str, known: Iterable[str], *, plain: bool = True) -> str:
    """Return the end of a message that names what was probably meant, ``; did you mean port?``, or nothing.

    :param plain: whether ``_`` and ``-`` are the same.
    """
    close = nearest(_plain(word) if plain else word, known)
    return f"; did you mean {close}?" if close else ""


def nearest(word: str, known: Iterable[str]) -> str:
    """Return the name that is most like a word; empty when none is much like it."""
    return next(iter(difflib.get_close_matches(word, list(known), n=1, cutoff=_CLOSE)), "")
