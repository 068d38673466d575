"""Files of settings: ``spawning.toml``, ``[tool.spawning]`` of ``pyproject.toml``, and files of environment variables.

Rules: what a file says is returned with where it says so, file, line and key, so that whatever is wrong with it later
can be told to the person who wrote it. Nothing here knows what a value may be.
"""

import io
import json
import os
import re
import tomllib
from collections.abc import Mapping
from typing import Any, NamedTuple

from spawning.errors import ConfigError
from spawning.settings.names import APP, FILE_KEYS, MIDDLEWARE, setting_of, suggestion

OWN, PROJECT = "spawning.toml", "pyproject.toml"
_TABLE = ("tool", "spawning")
_OURS = re.compile(r"\btool\s*[.\]]\s*[\"']?spawning\b")
_ASSIGNMENT = re.compile(r"(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*)")
_QUOTED = re.compile(r"""'([^']*)'|"((?:[^"\\]|\\.)*)\"""", re.DOTALL)
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t"}


class Said(NamedTuple):
    """A value, and where it came from, for messages: ``spawning.toml, line 3, port``."""

    value: Any
    origin: str


def find(directory: str) -> str | None:
    """Return the path of the configuration file of a directory; None if it has none.

    :raises ConfigError: there may be one, but it cannot be read.
    """
    own, project = os.path.join(directory, OWN), os.path.join(directory, PROJECT)
    if os.path.exists(own):
        return own
    if not os.path.exists(project):
        return None
    text = _contents(project, PROJECT)
    return project if _OURS.search(text) and _table(_parsed(text, PROJECT)) is not None else None


def read(path: str, shown: str) -> dict[str, Said]:
    """Read a file of settings.

    :param shown: what the file is called in messages.
    :returns: name of a setting (``app`` and ``middleware`` in place of ``args``) to its value.
    :raises ConfigError: the file cannot be read, is no TOML, or holds a key that is none.
    """
    _refuse_other_kinds(shown)
    text = _contents(path, shown)
    values: Any = _parsed(text, shown)
    table: tuple[str, ...] = ()
    if os.path.basename(path) == PROJECT:
        values, table = _table(values), _TABLE
        if values is None:
            raise ConfigError(f"{shown} has no table [tool.spawning]")
    return _settings(values, shown, {key[-1]: number for key, number in _lines(text).items() if key[:-1] == table})


def read_tables(path: str, shown: str) -> tuple[dict[str, Any], dict[tuple[str, ...], int]]:
    """Read a file of tables that are no settings, in TOML, or in JSON if it is one object.

    :param shown: what the file is called in messages.
    :returns: what it says, and of TOML the line in which each key begins, by its path.
    :raises ConfigError: the file cannot be read, or is neither.
    """
    text = _contents(path, shown)
    if not text.lstrip().startswith("{"):
        return _parsed(text, shown), _lines(text)
    try:
        values = json.loads(text)
    except json.JSONDecodeError as error:
        raise ConfigError(f"{shown} is not JSON: {error.msg} (at line {error.lineno}, column {error.colno})") from None
    except RecursionError:
        raise ConfigError(f"{shown} is not JSON that can be read: nested too deeply") from None
    return values, {}


def _refuse_other_kinds(shown: str) -> None:
    if shown.endswith(".py"):
        raise ConfigError(f"{shown} is Python; a file of settings is TOML, such as {OWN}")
    if shown.endswith(".ini"):
        raise ConfigError(f"{shown} is an ini file; write -f paste {shown}, which reads its [server:main]")


def _contents(path: str, shown: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except OSError as error:
        raise ConfigError(f"cannot read {shown}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"cannot read {shown}: byte {error.start} is not UTF-8") from None


def _parsed(text: str, shown: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{shown} is not TOML: {error}") from None
    except RecursionError:
        raise ConfigError(f"{shown} is not TOML that can be read: nested too deeply") from None


def _table(values: Any) -> dict[str, Any] | None:
    for key in _TABLE:
        values = values.get(key) if isinstance(values, dict) else None
    return values if isinstance(values, dict) else None


def _settings(values: Mapping[str, Any], shown: str, lines: Mapping[str, int]) -> dict[str, Said]:
    found: dict[str, Said] = {}
    for key, value in values.items():
        at = f"{shown}, line {lines[key]}" if key in lines else shown
        name = setting_of(key)
        if name is None:
            raise ConfigError(f"{at}: there is no setting {key!r}{suggestion(key, FILE_KEYS)}")
        said = application(value, f"{at}, {key}") if name == "args" else {name: Said(value, f"{at}, {key}")}
        if twice := found.keys() & said.keys():
            raise ConfigError(f"{at}, {key}: {found[min(twice)].origin} has said it already")
        found |= said
    return found


def application(value: Any, origin: str) -> dict[str, Said]:
    """Divide ``args`` into the application and its middleware."""
    items = value if isinstance(value, list | tuple) else [value]
    return {APP: Said(items[0] if items else "", origin), MIDDLEWARE: Said(list(items[1:]), origin)}


def _lines(text: str) -> dict[tuple[str, ...], int]:
    """Return the line in which each key begins, by its path. The text is TOML: it has been parsed."""
    found: dict[tuple[str, ...], int] = {}
    table: tuple[str, ...] = ()
    statement, begin = "", 1
    for number, line in enumerate(io.StringIO(text), 1):
        begin = begin if statement else number
        statement += line
        if line.rstrip().endswith(",") and "#" not in line:
            continue  # it is within a list: not to be tried, since a list may be long
        try:
            values = tomllib.loads(statement)
        except tomllib.TOMLDecodeError:
            continue  # it goes on in the next line
        is_header = statement.lstrip().startswith("[")
        path = _path(values) if is_header else (*table, *_path(values))
        for length in range(1, len(path) + 1):
            found.setdefault(path[:length], begin)
        table = path if is_header else table
        statement = ""
    return found


def _path(values: Any) -> tuple[str, ...]:
    """Return the keys on the way to what one statement says."""
    path: tuple[str, ...] = ()
    while isinstance(values, dict) and len(values) == 1:
        ((key, values),) = values.items()
        path += (key,)
    return path


# Environment variables -----------------------------------------------------------------------------------------------


def read_environment(path: str, shown: str) -> dict[str, str]:
    """Read a file of environment variables: lines ``NAME=VALUE``, as shells and ``docker run --env-file`` take them.

    A value may be in single quotes, or in double ones with ``\\n``, ``\\"``, ``\\\\``; nothing is substituted. What
    follows a ``#`` behind blanks is a comment.

    :raises ConfigError: the file cannot be read, or a line is no assignment.
    """
    found: dict[str, str] = {}
    for number, line in enumerate(io.StringIO(_contents(path, shown)), 1):
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        match = _ASSIGNMENT.fullmatch(stripped)
        value = _value(match[2]) if match else None
        if match is None or value is None or "\0" in value:
            raise ConfigError(f"{shown}, line {number}: {stripped!r} is not of the form NAME=VALUE")
        found[match[1]] = value
    return found


def _value(text: str) -> str | None:
    """Read the part behind ``=``; None when a quote is not closed, or something follows it."""
    if text[:1] not in ("'", '"'):
        return re.split(r"(?:^|\s+)#", text, maxsplit=1)[0].rstrip()
    match = _QUOTED.match(text)
    rest = text[match.end() :].strip() if match else "?"
    if match is None or (rest and not rest.startswith("#")):
        return None
    if match[1] is not None:
        return match[1]
    return re.sub(r"\\(.)", lambda found: _ESCAPES.get(found[1], found[1]), match[2])
