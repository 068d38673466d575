"""Where settings are said, and which of several sources counts.

The command line beats ``SPAWNING_*``, these beat the file, the file beats the factory (which runs later and elsewhere:
``explicit`` names what it may not change), the factory beats the conventional variables (``PORT``), and these beat the
default. All of it is read again at every reload, by the same :class:`Sources`.
"""

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from spawning.errors import ConfigError
from spawning.settings import files
from spawning.settings.checking import checked, from_environment, parsed
from spawning.settings.files import Said
from spawning.settings.names import APP, MIDDLEWARE, VARIABLES, key_of, suggestion
from spawning.settings.option import PREFIX
from spawning.settings.table import OPTIONS, Settings
from spawning.settings.vain import check_effects

NOT_SETTINGS = frozenset(
    {"SPAWNING_CONTROL_DIRECTORY", "SPAWNING_SUCCEED", "SPAWNING_CHECK_SUCCESSION", "SPAWNING_TYPED_IN"}
)
"""Variables of ours that are none of a setting's."""
# What Kubernetes and Docker set for a service or container that is called "spawning".
_LINK = re.compile(r"SPAWNING_(.*_)?(SERVICE_(HOST|PORT)(_.*)?|PORT_\d+_(TCP|UDP)(_.*)?|NAME|ENV_.*)")
_LINK_VALUE = re.compile(r"(tcp|udp)://")
_TOO_LATE = ("config", "chdir", "env_file")  # these are needed before the file of variables is read


@dataclass(frozen=True, slots=True)
class Configuration:
    """All that has been said.

    :param sources: name of a setting to where its value came from (``option --port``, ``environment variable PORT``,
        ``spawning.toml, line 3, port``), for those that are not defaults; the application's is ``args``.
    """

    settings: Settings
    sources: dict[str, str]

    def behind_the_factory(self, settings: Settings) -> dict[str, str]:
        """Return where settings came from that are no defaults, as the factory has given them back."""
        return self.sources | {
            name: f"factory {settings.factory}, setting {key_of(name)}"
            for name in OPTIONS
            if getattr(settings, name) != getattr(self.settings, name)
        }


class Sources:
    """What was typed, the environment, and the file; to be read as often as wanted.

    :param typed: name of a setting to what the command line says, with ``args``: the words that are no options.
    :param typed_in: the directory in which the command was typed, by its name; ``config`` and ``chdir`` begin there.
    :param environ: the variables of the process.
    :param otherwise: is asked for the application when nobody names it, with what is said, the directory to be in, and
        the variables.
    """

    def __init__(
        self,
        typed: Mapping[str, Any],
        typed_in: str,
        environ: Mapping[str, str] = os.environ,
        otherwise: Callable[[Mapping[str, Said], str, Mapping[str, str]], Mapping[str, Said]] | None = None,
    ) -> None:
        self.typed_in = typed_in
        self._typed = {name: Said(value, _option(name)) for name, value in typed.items() if name != "args"}
        if typed.get("args"):
            self._typed |= files.application(typed["args"], "argument APP")
        self._environ = environ
        self._otherwise = otherwise

    def read_all(self) -> Configuration:
        """Read all sources, one of which has to name the application.

        :raises ConfigError: as :meth:`read`.
        """
        configuration = self.read()
        if not configuration.settings.args:
            raise ConfigError(
                "no APP given: name the application, such as mysite.wsgi:application"
                f" (with -f django the settings module, with -f paste the ini file), here or as app in {files.OWN}"
            )
        return configuration

    def read(self) -> Configuration:
        """Read all sources.

        :raises ConfigError: a value cannot be used, a name is none of a setting's, a file or directory is not there.
        """
        outer = {**_variables(self._environ), **self._typed}
        said = {**self._file(outer, self._directory(outer)), **outer}
        directory = self._directory(said)
        environ = self._environ
        if "env_file" in said:
            environ = {**self._environment_file(said["env_file"], directory), **environ}
            said = {**said, **_variables(environ), **self._typed}
        if "chdir" in said:
            said["chdir"] = Said(directory, said["chdir"].origin)
        if APP not in said and self._otherwise is not None:
            said |= self._otherwise(said, directory, environ)
        configuration = _configuration(said, environ)
        for each in configuration.settings.pythonpath:
            if not os.path.exists(os.path.join(directory, each)):
                raise ConfigError(f"{configuration.sources['pythonpath']}: {each} does not exist")
        return configuration

    def _directory(self, said: Mapping[str, Said]) -> str:
        """Return the directory to be in, by its name."""
        if "chdir" not in said:
            return self.typed_in
        value, origin = said["chdir"]
        directory = os.path.normpath(os.path.join(self.typed_in, parsed("chdir", value, origin)))
        if not os.path.isdir(directory):
            raise ConfigError(f"{origin}: {directory} is not a directory")
        return directory

    def _file(self, outer: Mapping[str, Said], directory: str) -> dict[str, Said]:
        """Read the configuration file, the one that is named or that of the directory, and note which one it was."""
        if "config" in outer:
            value, origin = outer["config"]
            shown = parsed("config", value, origin)
            path = os.path.join(self.typed_in, shown)
            if not os.path.isfile(path):
                raise ConfigError(f"{origin}: there is no file {shown}")
        else:
            found = files.find(directory)
            if found is None:
                return {}
            path, shown, origin = found, os.path.basename(found), os.path.basename(found)
        return {**files.read(path, shown), "config": Said(path, origin)}

    def _environment_file(self, said: Said, directory: str) -> dict[str, str]:
        shown = parsed("env_file", *said)
        path = os.path.join(directory, shown)
        if not os.path.isfile(path):
            raise ConfigError(f"{said.origin}: there is no file {shown}")
        found = files.read_environment(path, shown)
        for name in found:
            if VARIABLES.get(name) in _TOO_LATE:
                raise ConfigError(f"{shown}: {name} is needed before this file is read; set it elsewhere")
        return found


def _option(name: str) -> str:
    return f"option {OPTIONS[name].flag}"


def _variables(environ: Mapping[str, str]) -> dict[str, Said]:
    """Return what the variables of ours say.

    :raises ConfigError: one of them is none of a setting's.
    """
    found: dict[str, Said] = {}
    for variable, value in environ.items():
        if not variable.startswith(PREFIX) or variable in NOT_SETTINGS or not value:
            continue
        origin = f"environment variable {variable}"
        name = VARIABLES.get(variable)
        if variable.endswith("_PORT") and _LINK_VALUE.match(value):
            continue
        if name is None and _LINK.fullmatch(variable):
            continue
        if name is None:
            raise ConfigError(f"{origin} is no setting{suggestion(variable, VARIABLES, plain=False)}")
        if name == "args":
            said = files.application(value.split(), origin)
        else:
            said = {name: Said(value.split() if name == MIDDLEWARE else value, origin)}
        if twice := found.keys() & said.keys():
            raise ConfigError(f"{origin}: {found[min(twice)].origin} has said it already")
        found |= said
    return found


def _configuration(said: Mapping[str, Said], environ: Mapping[str, str]) -> Configuration:
    values = {name: each.value for name, each in said.items() if name in OPTIONS}
    sources = {name: each.origin for name, each in said.items() if name in OPTIONS}
    if APP in said:
        app = parsed("args", [said[APP].value], said[APP].origin)
        middleware = parsed("args", *said[MIDDLEWARE]) if MIDDLEWARE in said else ()
        values["args"], sources["args"] = (*app, *middleware), said[APP].origin
    elif MIDDLEWARE in said and said[MIDDLEWARE].value:
        raise ConfigError(f"{said[MIDDLEWARE].origin}: there is no APP that it could wrap")
    explicit = [name for name in OPTIONS if name in values and name not in ("args", "config")]
    sources = {
        name: f"environment variable {variable}"
        for name, variable in from_environment(environ).items()
        if name not in values
    } | sources
    settings = checked({**values, "explicit": explicit}, sources, environ)
    check_effects(settings, sources)
    return Configuration(settings, sources)
