"""Settings as a file, and the schema of such a file."""

import dataclasses
import tomllib
from typing import Any

import pytest

from spawning.settings import OPTIONS, Settings
from spawning.settings.names import FILE_KEYS
from spawning.settings.schema import schema
from spawning.settings.show import as_toml, toml
from spawning.settings.sources import Configuration


@pytest.mark.parametrize(
    "value",
    ["", "a", 'quote " and \\', "\x7f\x1b\n\t", "ü€\u2028", True, False, 0, 2**62, 0.5, 75.0, 1e300, ("a", "b"), ()],
)
def test_a_value_is_read_as_it_was(value: Any) -> None:
    read = tomllib.loads(f"x = {toml(value)}")["x"]
    assert (tuple(read) if isinstance(read, list) else read) == value


def test_what_is_no_unicode_can_be_shown() -> None:
    """A file name of the command line may hold any bytes."""
    shown = toml("a\udcff")
    assert tomllib.loads(f"x = {shown}")["x"] == "a?"


def test_a_secret_is_not_shown() -> None:
    options = {"pidfile": dataclasses.replace(OPTIONS["pidfile"], secret=True)}
    shown = as_toml(Configuration(Settings(pidfile="s3cret"), {"pidfile": "environment variable X"}), options)
    assert "s3cret" not in shown
    assert "# pidfile is hidden  # X" in shown.splitlines()


def test_every_setting_of_a_file_is_shown() -> None:
    shown = as_toml(Configuration(Settings(args=("a:b", "c:d")), {"args": "spawning.toml, line 3, app"}))
    assert shown.startswith('app = "a:b"  # spawning.toml\nmiddleware = ["c:d"]  # spawning.toml\n')
    for option in OPTIONS.values():
        if option.key and option.in_file:
            assert f"\n{option.key} = " in shown or f"\n# {option.key} has no value" in shown


def test_the_schema_has_every_key_of_a_file() -> None:
    properties = schema()["properties"]
    assert set(properties) == {*FILE_KEYS, *(key.replace("-", "_") for key in FILE_KEYS)}
    assert schema()["additionalProperties"] is False


TYPES = {"string": str, "integer": int, "number": float, "boolean": bool, "array": list}


@pytest.mark.parametrize("name", [name for name, option in OPTIONS.items() if option.key and option.in_file])
def test_the_schema_takes_the_default_and_says_what_it_means(name: str) -> None:
    option = OPTIONS[name]
    found = schema()["properties"][option.key]
    assert found["description"] == option.help
    if "default" in found:
        kinds = [found["type"]] if isinstance(found["type"], str) else found["type"]
        assert isinstance(found["default"], tuple(TYPES[kind] for kind in kinds))
        assert found.get("minimum", found["default"]) <= found["default"] <= found.get("maximum", found["default"])
        assert found["default"] in found.get("enum", [found["default"]])
