"""Show settings as a file that says the same, with where each value came from."""

import dataclasses
import json
from collections.abc import Iterator, Mapping
from typing import Any

from spawning.settings.names import APP, MIDDLEWARE
from spawning.settings.option import Option
from spawning.settings.sources import Configuration
from spawning.settings.table import OPTIONS
from spawning.settings.values import FACTORY_SHORT_NAMES

_ADDRESS = ("host", "port")
_VARIABLE = f"environment variable {OPTIONS['port'].env}"
_SHORT = {path: name for name, path in FACTORY_SHORT_NAMES.items()}


def as_toml(configuration: Configuration, options: Mapping[str, Option] = OPTIONS) -> str:
    """Return a configuration as TOML; what has no value, or is secret, is in a comment.

    :param options: what is shown, in this order.
    """
    return "\n".join(_lines(_without_port(configuration), options)) + "\n"


def _without_port(configuration: Configuration) -> Configuration:
    """Return what says the same without the variable PORT: alone it is a listener on every address (``net.wanted``)."""
    settings, sources = configuration.settings, configuration.sources
    if settings.bind or "port" not in sources or not _unsaid(sources):
        return configuration
    said = {**sources, "bind": sources["port"]}
    return Configuration(dataclasses.replace(settings, bind=(f":{settings.port}",)), said)


def _unsaid(sources: Mapping[str, str]) -> bool:
    """Whether nobody has said host or port, but for the variable."""
    return all(sources.get(name, _VARIABLE) == _VARIABLE for name in _ADDRESS)


def _lines(configuration: Configuration, options: Mapping[str, Option]) -> Iterator[str]:
    settings, sources = configuration.settings, configuration.sources
    said = _origin("args", sources)
    in_vain = _ADDRESS if settings.bind and _unsaid(sources) else ()
    if settings.args:
        yield f"{APP} = {toml(settings.args[0])}  # {said}"
    if settings.args[1:]:
        yield f"{MIDDLEWARE} = {toml(settings.args[1:])}  # {said}"
    group = ""
    for name, option in options.items():
        if not option.key or not option.in_file:
            continue
        if option.group != group:
            group = option.group
            yield f"\n# {group}"
        value, origin = getattr(settings, name), _origin(name, sources)
        if option.secret and value is not None:
            yield f"# {option.key} is hidden  # {origin}"
        elif name in in_vain:
            yield f"# {option.key} does not count beside bind  # {origin}"
        elif value is None:
            yield f"# {option.key} has no value  # {origin}"
        else:
            yield f"{option.key} = {toml(_SHORT.get(value, value) if name == 'factory' else value)}  # {origin}"


def _origin(name: str, sources: Mapping[str, str]) -> str:
    """Return where a value came from without the line, which changes with every edit."""
    return sources.get(name, "default").removeprefix("environment variable ").partition(", line ")[0]


def toml(value: Any) -> str:
    """Write a value of a setting."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        text = value.encode("utf-8", "replace").decode()  # what is no text of a file is no Unicode either
        return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(toml, value))}]"
    return f"{value:g}" if isinstance(value, float) and value.is_integer() and value < 10**6 else repr(value)
