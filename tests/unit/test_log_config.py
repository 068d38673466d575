"""Files for ``--log-config``: what is wrong with one is said with its place."""

from pathlib import Path

import pytest

from spawning.errors import ConfigError
from spawning.settings.log_config import LogConfig

HANDLER = '[handlers.a]\nclass = "logging.NullHandler"\n'
WRONG = {
    "version = 2": "FILE, line 1, version: 2 is not 1, the only version that there is",
    "handler = 1": "FILE, line 1, handler: there is no such key; did you mean handlers?",
    "other = 1": "FILE, line 1, other: there is no such key",
    "incremental = 1": "FILE, line 1, incremental: 1 is neither true nor false",
    "disable_existing_loggers = 'no'": "FILE, line 1, disable_existing_loggers: 'no' is neither true nor false",
    "handlers = []": "FILE, line 1, handlers: [] is not a table",
    "root = 'INFO'": "FILE, line 1, root: 'INFO' is not a table",
    "[handlers]\na = 1": "FILE, line 2, handlers.a: 1 is not a table",
    "\n[formatters]\na = 1": "FILE, line 3, formatters.a: 1 is not a table",
    "[handlers.a]\nlevel = 'INFO'": "FILE, line 1, handlers.a: it has no class; write for example class = ",
    HANDLER + "level = 'LOUD'": "FILE, line 3, handlers.a.level: 'LOUD' is not a level: DEBUG, INFO, ",
    HANDLER + "level = true": "FILE, line 3, handlers.a.level: True is not a level",
    HANDLER + "formatter = 'x'": "FILE, line 3, handlers.a.formatter: there is nothing called 'x' in formatters",
    HANDLER + "filters = ['x']": "FILE, line 3, handlers.a.filters: there is nothing called 'x' in filters",
    "[loggers.shop]\nlevel = 'info'": "FILE, line 2, loggers.shop.level: 'info' is not a level",
    "[loggers.shop]\nhandlers = 'a'": "FILE, line 2, loggers.shop.handlers: 'a' is not a list of names",
    "[loggers.shop]\nhandlers = [['a']]": "FILE, line 2, loggers.shop.handlers: there is nothing called ['a'] in",
    "[loggers.spawning]\nlevel = 'INFO'": "FILE, line 1, loggers.spawning: lines of the server do not pass through log",
    "\n[loggers.'spawning.worker']": "FILE, line 2, loggers.spawning.worker: lines of the server do not pass through ",
    "[loggers.'gunicorn.error']": "FILE, line 1, loggers.gunicorn.error: lines of the server do not pass through log",
    "[loggers.'gunicorn.access']": "FILE, line 1, loggers.gunicorn.access: access lines do not pass through logging;",
    "[root]\nhandlers = ['a']": "FILE, line 2, root.handlers: there is nothing called 'a' in handlers",
    "[root]\nlevel = [1]": "FILE, line 2, root.level: [1] is not a level",
    '{"root": {"level": "LOUD"}}': "FILE, root.level: 'LOUD' is not a level",
    '{"root": ': "FILE is not JSON: Expecting value (at line 1, column 10)",
    "root": "FILE is not TOML: ",
}


@pytest.mark.parametrize("text", WRONG)
def test_what_is_wrong_has_a_place(tmp_path: Path, text: str) -> None:
    path = tmp_path / "file"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        LogConfig(str(path), "FILE", "spawning.toml, line 3, log-config")
    assert str(caught.value).startswith(f"spawning.toml, line 3, log-config: {WRONG[text]}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["logging.ini", "logging.conf", "logging.yaml", "logging_config.py"])
def test_other_kinds_of_files_are_named(name: str) -> None:
    with pytest.raises(ConfigError, match=f"option --log-config: {name} has to be TOML or JSON"):
        LogConfig("/no/such", name, "option --log-config")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "version = 1\nincremental = true\n[handlers.a]\nlevel = 10",
        HANDLER + "level = 'WARN'\nfilters = ['f']\n[filters.f]\nname = 'x'\n[root]\nhandlers = ['a']\nlevel = 15",
        '[handlers.a]\n"()" = "shop.Handler"',
        "[loggers.spawningpool]\n[loggers.'shop.spawning']\n[loggers.gunicorn_tools]",
    ],
)
def test_what_is_right_is_taken(tmp_path: Path, text: str) -> None:
    path = tmp_path / "file"
    path.write_text(text)
    assert LogConfig(str(path), "FILE", "option --log-config").values["version"] == 1
