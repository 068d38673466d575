"""From plain values to :class:`Settings`, and back."""

import dataclasses
import os
from collections.abc import Mapping
from typing import Any

from spawning.errors import ConfigError
from spawning.settings.table import OPTIONS, Settings


def parsed(name: str, value: Any, origin: str) -> Any:
    """Turn a plain value (text, or already of the right type) into that of setting `name`.

    :param origin: where the value came from, for the error message (``option --port``, a file and section …).
    :raises ConfigError: the value cannot be used; names it, where it came from and what would be right.
    """
    try:
        return OPTIONS[name].parse(value)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{origin}: {_shown(value)} is not {error}") from None


def _shown(value: Any) -> str:
    """Show a value in a message; several ones without the brackets that nobody has typed."""
    return ", ".join(repr(item) for item in value) if value and isinstance(value, list | tuple) else repr(value)


def from_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return setting name to environment variable, for those variables that are set."""
    return {name: option.env for name, option in OPTIONS.items() if option.env and environ.get(option.env)}


def checked(
    values: Mapping[str, Any], source: Mapping[str, str] | None = None, environ: Mapping[str, str] = os.environ
) -> Settings:
    """Build settings from plain values; what is absent has its default (or comes from its environment variable).

    :param values: setting name to value, as text or already of the right type; other keys are ignored.
    :param source: setting name to where the value came from, for the error message (``option --port``, a file name …).
    :raises ConfigError: a value cannot be used; names it, where it came from and what would be right.
    """
    sources = source or {}
    result = {
        name: parsed(name, environ[variable], f"environment variable {variable}")
        for name, variable in from_environment(environ).items()
        if name not in values
    }
    for name in OPTIONS:
        if name in values:
            result[name] = parsed(name, values[name], sources.get(name, f"setting {name}"))
    return Settings(**result)


def as_dict(settings: Settings) -> dict[str, Any]:
    """Return the settings as the dictionary that ``config_factory`` gets: plain values, tuples as lists."""
    values = dataclasses.asdict(settings)
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}
