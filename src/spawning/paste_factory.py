"""The factory for PasteDeploy (``-f paste``), and the server factory for ``use = egg:spawning`` (``pserve``).

``spawn -f paste development.ini [key=value …]`` serves the application of the file (``development.ini#name`` another
one than ``main``); ``[server:main]`` may set whatever the table of settings knows, by its names there. What is said
outside of the file beats it. With ``use = egg:spawning`` the names of long options are taken too, and an unknown name
is an error; a section that is written for another server is searched for the names we know and is otherwise left alone.

Rules: PasteDeploy is imported inside the functions, since it is an extra; the controller never comes here.
"""

import argparse
import contextlib
import logging
import logging.config
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from configparser import Error as IniError
from configparser import RawConfigParser
from dataclasses import dataclass
from typing import Any, NoReturn
from urllib.parse import quote

from spawning import interpreter
from spawning.errors import EXIT_CONFIG, ConfigError
from spawning.settings import OPTIONS, parsed
from spawning.settings.names import FILE_KEYS, setting_of, suggestion
from spawning.wsgi_factory import WSGIApplication, application_errors, wrap

_DECIDED = {"args", "factory", "chdir", "env_file"}  # before the file is read
_FILE_SETTINGS = frozenset(name for name, option in OPTIONS.items() if option.in_file) - _DECIDED
_KEYS = [key for key, name in FILE_KEYS.items() if name in _FILE_SETTINGS]
_OUR_EGG = "egg:spawning"


@dataclass(frozen=True, slots=True)
class IniFile:
    """What ``args`` of the paste factory mean.

    :param path: absolute path of the file.
    :param name: the application's name, the part behind ``#``; ``main`` if there is none.
    :param variables: the ``key=value`` pairs, PasteDeploy's global configuration.
    """

    path: str
    name: str
    variables: dict[str, str]

    @classmethod
    def named(cls, args: list[str]) -> "IniFile":
        """Read ``[config:]FILE[#NAME] [key=value …]``.

        :raises ConfigError: no file is named, it does not exist, or an argument is no pair.
        """
        if not args:
            raise ConfigError("no ini file given: name it, such as development.ini")
        file, _, name = args[0].removeprefix("config:").partition("#")
        path = os.path.abspath(file)
        if not os.path.isfile(path):
            raise ConfigError(f"there is no ini file {file} (looked for {path})")
        for pair in args[1:]:
            if not pair.partition("=")[0] or "=" not in pair:
                raise ConfigError(f"argument {pair!r} behind {file} is not of the form key=value")
        return cls(path, name or "main", dict(pair.split("=", 1) for pair in args[1:]))

    @property
    def argument(self) -> str:
        """The file and name as one argument of the command line."""
        return self.path if self.name == "main" else f"{self.path}#{self.name}"


def config_factory(args: dict[str, Any]) -> dict[str, Any]:
    """Add the settings of the file's server section to those of the command line, and watch the file.

    :raises ConfigError: PasteDeploy or the file is missing, the file cannot be read, or a setting in it is wrong.
    """
    ini = IniFile.named(args["args"])
    found = server_settings(ini)
    chosen = {name: value for name, value in found.items() if name not in args["explicit"]}
    watch = dict.fromkeys([*args["watch"], *found.get("watch", ()), ini.path])
    return {**args, **chosen, "watch": list(watch), "app_factory": "spawning.paste_factory.app_factory"}


def app_factory(config: dict[str, Any]) -> WSGIApplication:
    """Configure logging from the file as ``pserve`` does, and load the application.

    :raises AppLoadError: the logging sections or the application do not load.
    """
    from paste.deploy import loadapp

    ini = IniFile.named(config["args"])
    _configure_logging(ini)
    with application_errors(f"the application {ini.name} of {ini.path} does not load"):
        application = loadapp(f"config:{quote(ini.path)}", name=ini.name, global_conf=ini.variables)
    return wrap(application, f"the application {ini.name} of {ini.path}", ())


def server_factory(global_conf: Mapping[str, str], **local_conf: str) -> Callable[[Any], NoReturn]:
    """Make the server for ``use = egg:spawning``, called by ``pserve`` (entry point ``paste.server_factory``).

    The application that ``pserve`` has loaded is not used: the controller must never hold the application's code, or it
    could not give it up at a reload. So serving replaces this process (same pid) by ``spawn -f paste FILE``.

    :param global_conf: PasteDeploy's global configuration, with ``__file__``.
    :param local_conf: what the server section holds.
    :raises SystemExit: with status 2, after one line on stderr: the section holds something that cannot be used.
    """
    try:
        command = spawn_command(global_conf, local_conf, sys.argv[1:])
    except ConfigError as error:
        print(f"spawn: {error}", file=sys.stderr)
        raise SystemExit(EXIT_CONFIG) from None

    def serve(application: Any) -> NoReturn:
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        os.execv(command[0], command)

    return serve


def spawn_command(global_conf: Mapping[str, str], local_conf: Mapping[str, str], typed: Sequence[str]) -> list[str]:
    """Build the command that serves what ``pserve`` was asked to serve.

    :param typed: the arguments of ``pserve``, which tells a server neither the application's name nor the section's.
    :raises ConfigError: a value cannot be used, or ``pserve`` was started in a way that cannot be carried over.
    """
    hupper = sys.modules.get("hupper")
    if hupper is not None and hupper.is_active():
        raise ConfigError(
            "pserve --reload does not work with egg:spawning: write reload = dev in [server:main] instead"
        )
    if "__file__" not in global_conf:
        raise ConfigError("egg:spawning needs an ini file: the configuration has no __file__")
    path = os.path.abspath(global_conf["__file__"])
    own = {"__file__", "here", *_own_options(path, "DEFAULT")}
    ini = IniFile(path, _application_name(path, typed), {k: v for k, v in global_conf.items() if k not in own})
    here = _checked_section({"use": _OUR_EGG, **local_conf}, path, "server section")
    there = server_settings(ini)
    flags = [flag for name, value in here.items() if there.get(name) != value for flag in _flags(name, value)]
    pairs = [f"{name}={value}" for name, value in ini.variables.items()]
    return [*interpreter.start(), "-m", "spawning", "-f", "paste", *flags, ini.argument, *pairs]


def server_settings(ini: IniFile) -> dict[str, Any]:
    """Read the settings of ``[server:NAME]`` (the application's name, as ``pserve`` does) or else ``[server:main]``.

    :returns: setting name to value; empty if the file has no such section.
    :raises ConfigError: PasteDeploy is missing, the file cannot be read, or a value cannot be used.
    """
    try:
        from paste.deploy.loadwsgi import ConfigLoader
    except ModuleNotFoundError:
        raise ConfigError(
            "the factory paste needs PasteDeploy, the extra spawning[paste]: pip install PasteDeploy"
        ) from None

    with _ini_errors(ini.path):
        loader = ConfigLoader(ini.path)
        loader.update_defaults(ini.variables, overwrite=False)
        for section in (f"server:{ini.name}", "server:main"):
            if loader.parser.has_section(section):
                own = _own_options(ini.path, section)
                values = {name: loader.parser.get(section, name) for name in own if not name.startswith("get ")}
                defaults = loader.parser.defaults()
                values |= {name[4:].strip(): defaults[own[name]] for name in own if name.startswith("get ")}
                return _checked_section(values, ini.path, f"[{section}]")
    return {}


def _own_options(path: str, section: str) -> dict[str, str]:
    """Return what a section holds itself, without interpolation: PasteDeploy mixes the ``[DEFAULT]`` section in."""
    parser = RawConfigParser(default_section="")
    parser.optionxform = str  # type: ignore[assignment, method-assign]  # names keep their case, as in PasteDeploy
    with _ini_errors(path):
        parser.read(path, encoding="utf-8")
        return dict(parser.items(section)) if parser.has_section(section) else {}


def _checked_section(values: Mapping[str, str], path: str, section: str) -> dict[str, Any]:
    ours = values.get("use", "").lower().partition("#")[0] == _OUR_EGG
    result: dict[str, Any] = {}
    for key, value in values.items():
        name = setting_of(key) if ours else key  # another server's names are its own, but those that are like settings
        if name in _FILE_SETTINGS:
            if name in result:
                raise ConfigError(f"{path} {section}: {key} says what another name of the setting {name} has said")
            result[name] = parsed(name, value, f"{path} {section} {key}")
        elif ours and key != "use" and not key.startswith("set "):
            raise ConfigError(f"{path} {section}: there is no setting {key}{suggestion(key, _KEYS)}")
    return result


def _flags(name: str, value: Any) -> list[str]:
    """Write a setting for the command line."""
    option = OPTIONS[name]
    if not option.flags or (option.is_switch and not value and not option.opposites) or value is None:
        raise ConfigError(
            f"setting {name} is read from [server:main] only, not from the section that pserve has chosen"
        )
    if option.is_switch:
        return [option.flag if value else option.opposites[0]]
    return [part for item in (value if isinstance(value, tuple) else (value,)) for part in (option.flag, str(item))]


def _application_name(path: str, typed: Sequence[str]) -> str:
    """Find which application ``pserve`` was asked for: ``--app-name NAME`` or ``FILE#NAME``."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("-n", "--app-name")
    known, others = parser.parse_known_args(list(typed))
    if known.app_name:
        return str(known.app_name)
    for argument in others:
        file, _, name = argument.removeprefix("config:").partition("#")
        if name and os.path.abspath(file) == path:
            return name
    return "main"


def _configure_logging(ini: IniFile) -> None:
    if not _own_options(ini.path, "loggers"):
        return
    defaults = {"__file__": ini.path, "here": os.path.dirname(ini.path), **ini.variables}
    with application_errors(f"the logging configuration of {ini.path} does not load"):
        logging.config.fileConfig(ini.path, defaults, disable_existing_loggers=False)


@contextlib.contextmanager
def _ini_errors(path: str) -> Iterator[None]:
    try:
        yield
    except (IniError, KeyError, OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {' '.join(str(error).split())}") from None
