"""Files for ``--log-config``: a dictionary for ``logging.config.dictConfig``, as TOML or JSON.

What is wrong with the form of such a dictionary, ``logging`` says without the place, or when the first record comes.
So it is looked at here. Classes and functions are only named here: nothing is imported.
"""

from collections.abc import Mapping
from typing import Any, Final, NoReturn

from spawning.errors import ConfigError
from spawning.settings.files import read_tables
from spawning.settings.names import nearest

_SECTIONS: Final = ("formatters", "filters", "handlers", "loggers")
_SWITCHES: Final = ("incremental", "disable_existing_loggers")
_KEYS: Final = ("version", "root", *_SECTIONS, *_SWITCHES)
_LEVELS: Final = ("CRITICAL", "FATAL", "ERROR", "WARNING", "WARN", "INFO", "DEBUG", "NOTSET")
_OTHER_KINDS: Final = (".ini", ".conf", ".cfg", ".py", ".yaml", ".yml")
# Loggers whose lines people look for here, and would find unchanged: the first word of a name, or all of it.
_ERROR_LOG: Final = (
    "lines of the server do not pass through logging; --log-level, --log-format and --stderr change them"
)
_ACCESS_LOG: Final = "access lines do not pass through logging; --access-log-file and --access-log-format change them"
_IN_VAIN: Final = {"spawning": _ERROR_LOG, "gunicorn.access": _ACCESS_LOG, "gunicorn": _ERROR_LOG}


class LogConfig:
    """What a file says, and where.

    :param path: of the file.
    :param shown: what it is called in messages.
    :param origin: where it was named, ``option --log-config`` for example.
    :ivar values: the dictionary.
    :raises ConfigError: it cannot be read, or ``logging`` could not use it; in one line, with file, line and key.
    """

    def __init__(self, path: str, shown: str, origin: str) -> None:
        self._shown = shown
        self._origin = origin
        if shown.endswith(_OTHER_KINDS):
            raise ConfigError(f"{origin}: {shown} has to be TOML or JSON, of the form of logging.config.dictConfig")
        try:
            self.values, self._lines = read_tables(path, shown)
        except ConfigError as error:
            raise ConfigError(f"{origin}: {error}") from None
        self.values.setdefault("version", 1)
        self._check()

    def refuse(self, reason: str, *key: str) -> NoReturn:
        """Refuse the file.

        :param key: where in it the mistake is.
        :raises ConfigError: always.
        """
        lines = (self._lines.get(key[:length]) for length in range(len(key), 0, -1))
        line = next((f", line {number}" for number in lines if number), "")
        place = ", ".join([f"{self._shown}{line}", *([".".join(key)] if key else [])])
        raise ConfigError(f"{self._origin}: {place}: {reason}")

    def _check(self) -> None:
        for key in self.values:
            if key not in _KEYS:
                close = nearest(key, _KEYS)
                self.refuse(f"there is no such key{f'; did you mean {close}?' if close else ''}", key)
        if self.values["version"] != 1:
            self.refuse(f"{self.values['version']!r} is not 1, the only version that there is", "version")
        for key in _SWITCHES:
            if not isinstance(self.values.get(key, False), bool):
                self.refuse(f"{self.values[key]!r} is neither true nor false", key)
        for section in _SECTIONS:
            for name, table in self._table(self.values, section).items():
                self._table({name: table}, name, section)
        for name, handler in self._section("handlers").items():
            self._check_handler(handler, "handlers", name)
        for name, logger in self._section("loggers").items():
            for server, reason in _IN_VAIN.items():
                if f"{name}.".startswith(f"{server}."):
                    self.refuse(reason, "loggers", name)
            self._check_logger(logger, "loggers", name)
        self._check_logger(self._table(self.values, "root"), "root")

    def _check_handler(self, handler: Mapping[str, Any], *key: str) -> None:
        if "class" not in handler and "()" not in handler and not self.values.get("incremental"):
            self.refuse('it has no class; write for example class = "logging.StreamHandler"', *key)
        self._check_level(handler, *key)
        if "formatter" in handler:
            self._check_names([handler["formatter"]], "formatters", *key, "formatter")
        self._check_names(handler.get("filters", []), "filters", *key, "filters")

    def _check_logger(self, logger: Mapping[str, Any], *key: str) -> None:
        self._check_level(logger, *key)
        self._check_names(logger.get("handlers", []), "handlers", *key, "handlers")
        self._check_names(logger.get("filters", []), "filters", *key, "filters")

    def _check_level(self, table: Mapping[str, Any], *key: str) -> None:
        level = table.get("level", "NOTSET")
        is_number = isinstance(level, int) and not isinstance(level, bool)
        if level not in _LEVELS and not is_number:
            self.refuse(f"{level!r} is not a level: DEBUG, INFO, WARNING, ERROR, CRITICAL", *key, "level")

    def _check_names(self, names: object, section: str, *key: str) -> None:
        if not isinstance(names, list):
            self.refuse(f"{names!r} is not a list of names", *key)
        for name in names:
            if not isinstance(name, str) or name not in self._section(section):
                self.refuse(f"there is nothing called {name!r} in {section}", *key)

    def _section(self, name: str) -> dict[str, Any]:
        return self.values.get(name) or {}

    def _table(self, values: Mapping[str, Any], name: str, *key: str) -> dict[str, Any]:
        found = values.get(name, {})
        if not isinstance(found, dict):
            self.refuse(f"{found!r} is not a table", *key, name)
        return found
