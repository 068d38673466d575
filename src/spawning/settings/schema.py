"""The JSON Schema of a file of settings, for editors: https://json-schema.org/draft/2020-12/schema."""

import dataclasses
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any, Final

from spawning.settings import values
from spawning.settings.names import APP, FILE_KEYS, MIDDLEWARE, key_of
from spawning.settings.table import DEFAULTS, OPTIONS, Settings

_TEXTS: Final = {"type": "array", "items": {"type": "string", "minLength": 1}}
_TYPES: Final[Mapping[Any, dict[str, Any]]] = {
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    float: {"type": "number"},
    str: {"type": "string", "minLength": 1},
    int | str: {"type": ["integer", "string"]},
    tuple: _TEXTS,
}
# What the type alone does not say.
_MORE: Final[Mapping[Callable[[Any], Any], dict[str, Any]]] = {
    values.most_memory: {"minimum": 0, "maximum": 2**40, "pattern": f"^{values.AUTO}$"},
    values.seconds: {"exclusiveMinimum": 0},
    values.seconds_or_none: {"minimum": 0},
    values.reload: {"enum": ["dev", "git"]},
    values.log_level: {"enum": [*values.LOG_LEVELS]},
    values.form_of_log: {"enum": ["text", "json"]},
    values.field_value: {"minLength": 0, "pattern": "^([!-~]([ -~]*[!-~])?)?$"},
    values.field_name: {"pattern": "^[0-9A-Za-z-]+$"},
    values.path: {"pattern": "^/[!-~]*$"},
    values.script_name: {"pattern": "^/"},
    values.umask: {"pattern": "^(0o|0)?[0-7]{1,3}$"},
    values.statuses: {"pattern": "^[1-5][0-9][0-9](-[1-5][0-9][0-9])?$"},
}
_APPLICATION: Final = {
    APP: {"type": "string", "minLength": 1, "description": "The application, such as mysite.wsgi:application."},
    MIDDLEWARE: {**_TEXTS, "description": "What it is wrapped in, the last one outermost."},
}


def schema() -> dict[str, Any]:
    """Return the schema of ``spawning.toml``; the table [tool.spawning] of ``pyproject.toml`` has the same."""
    hints = typing.get_type_hints(Settings)
    types_of = {item.name: hints[item.name] for item in dataclasses.fields(Settings)}
    properties: dict[str, Any] = dict(_APPLICATION)
    for key, name in FILE_KEYS.items():
        if name not in OPTIONS:
            continue
        found = _property(name, types_of[name])
        properties[key] = found if key == key_of(name) else {**found, "description": f"The same as {key_of(name)}."}
        if "-" in key:
            properties[key.replace("-", "_")] = {**found, "description": f"The same as {key_of(name)}."}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Settings of Spawning",
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
    }


def _property(name: str, hint: Any) -> dict[str, Any]:
    option = OPTIONS[name]
    found = {**_of_type(hint), "description": option.help}
    if isinstance(option.parse, values.Integer):
        found |= {"minimum": option.parse.low, "maximum": option.parse.high}
    else:
        found |= _MORE.get(option.parse, {})
    default = DEFAULTS.get(name)
    if default is not None and option.key:
        found["default"] = list(default) if isinstance(default, tuple) else default
    return found


def _of_type(hint: Any) -> dict[str, Any]:
    """Return the schema of a type of a field; an optional one is left out of the file rather than null."""
    if hint in _TYPES:
        return dict(_TYPES[hint])
    if isinstance(hint, types.UnionType):
        (hint,) = (each for each in typing.get_args(hint) if each is not type(None))
    return dict(_TYPES[typing.get_origin(hint) or hint])
