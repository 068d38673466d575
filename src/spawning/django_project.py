"""Finding the settings of a Django project that the command line does not name.

They are what ``DJANGO_SETTINGS_MODULE`` says, and otherwise what ``manage.py`` in the working directory sets that
variable to. The file is read, not executed. This module imports no Django.
"""

import ast
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from spawning.errors import ConfigError

VARIABLE = "DJANGO_SETTINGS_MODULE"
_MANAGE = "manage.py"


class Found(NamedTuple):
    """A settings module, and where its name was found (for messages)."""

    settings: str
    origin: str


def find(directory: Path, environ: Mapping[str, str], *, wanted: bool) -> Found | None:
    """Find the settings of the project in a directory.

    :param wanted: the command line asks for Django (``-f django``). Otherwise the directory has to say so, by its
        ``manage.py``.
    :returns: None when there is no project.
    :raises ConfigError: there is a ``manage.py`` that names no settings, and nothing else does.
    """
    manage = directory / _MANAGE
    there = manage.is_file()
    if not there and not wanted:
        return None
    if environ.get(VARIABLE):
        return Found(environ[VARIABLE], f"environment variable {VARIABLE}")
    if not there:
        return None
    settings = _named_in(manage)
    if not settings:
        raise ConfigError(f"{manage} sets no {VARIABLE}: name the settings, such as spawn -f django mysite.settings")
    return Found(settings, str(manage))


def _named_in(manage: Path) -> str:
    """Return what ``os.environ.setdefault("DJANGO_SETTINGS_MODULE", …)``, or an assignment, gives; empty if none."""
    try:
        tree = ast.parse(manage.read_bytes())
    except (OSError, SyntaxError, ValueError) as error:
        raise ConfigError(f"{manage} cannot be read: {error}") from None
    for node in ast.walk(tree):
        match node:
            case ast.Call(
                func=ast.Attribute(attr="setdefault"),
                args=[ast.Constant(value=name), ast.Constant(value=str(settings))],
            ) if name == VARIABLE:
                return settings
            case ast.Assign(
                targets=[ast.Subscript(slice=ast.Constant(value=name))], value=ast.Constant(value=str(settings))
            ) if name == VARIABLE:
                return settings
    return ""
