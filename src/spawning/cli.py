"""The command ``spawn`` (also ``spawning``, ``python -m spawning``): text in, :class:`Settings` out, exit status back.

Rules: every option is derived from the table in ``settings.py``, nothing is said twice; each error of the person who
typed is one line on stderr, ``spawn: …``, and exit status 2. The controller is imported only once the command line is
known to be right, so ``spawn --help`` and a typing error answer at once.
"""

import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import click

from spawning import __version__
from spawning.errors import EXIT_APP, EXIT_CONFIG, AppLoadError, ConfigError
from spawning.interpreter import refuse_free_threading
from spawning.ipc.signals import keep_out
from spawning.ipc.takeover import CHECK, inherited
from spawning.logs.log import escaped
from spawning.logs.setup import say
from spawning.logs.streams import provide
from spawning.settings import DEFAULTS, FACTORY_SHORT_NAMES, OPTIONS, Option, Settings, checked, from_environment

PROGRAM = "spawn"
EXIT_INTERRUPTED = 130

DESCRIPTION = """\
Serve the WSGI application APP, wrapped in each MIDDLEWARE, the last one outermost. Names are
package.module:attribute or package.module.attribute; with module:factory() the factory is called.

\b
    spawn mysite.wsgi:application
    spawn -f django mysite.settings --port 9090 -s 4 -t 100
    spawn -f paste development.ini [key=value …]
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    :param arguments: what stands behind the command's name; by default that of this process.
    :returns: the exit status: 0, 2 (the person who started Spawning has to change something), 3 (the application does
        not load), 130 (interrupted before
        it has begun to start).
    """
    provide()
    try:
        refuse_free_threading()
        return _run(sys.argv[1:] if arguments is None else arguments)
    except click.ClickException as error:
        return _fail(error.format_message(), EXIT_CONFIG)
    except ConfigError as error:
        return _fail(str(error), EXIT_CONFIG)
    except AppLoadError as error:
        say(escaped(error.details))
        return _fail(str(error), EXIT_APP)
    except KeyboardInterrupt:  # before there was anything to stop
        return EXIT_INTERRUPTED


def _run(arguments: Sequence[str]) -> int:
    asked = parse(arguments)
    if asked is None:
        return 0
    if (state := inherited(CHECK, os.environ)) is not None:
        from spawning.upgrade_check import check

        return check(state)
    keep_out()  # what arrives before the controller can deal with it waits until it can
    from spawning.controller.start import run  # late: see the rules above

    return run(*asked)


def _fail(message: str, status: int) -> int:
    line = " ".join(message.split())
    say(escaped(f"{PROGRAM}: {line}\n"))
    return status


def parse(arguments: Sequence[str], environ: Mapping[str, str] = os.environ) -> tuple[Settings, dict[str, str]] | None:
    """Read a command line.

    :returns: the settings and, for those that are not defaults, where each came from (``option --port``); None when the
        question was --help or --version, and is answered.
    :raises click.ClickException: an option is unknown or lacks its value.
    :raises ConfigError: APP is missing or a value cannot be used.
    """
    values = _typed_values(arguments)
    if values is None:
        return None
    if not values["args"]:
        raise ConfigError(
            "no APP given: name the application, such as mysite.wsgi:application"
            " (with -f django the settings module, with -f paste the ini file)"
        )
    explicit = [name for name in OPTIONS if name in values and name != "args"]
    sources = {name: f"environment variable {variable}" for name, variable in from_environment(environ).items()}
    sources |= {name: f"option {OPTIONS[name].flag}" for name in explicit}
    return checked({**values, "explicit": explicit}, sources, environ), sources


def _typed_values(arguments: Sequence[str]) -> dict[str, Any] | None:
    """Return ``args`` and the options that were typed, as text; None when --help or --version has answered."""
    command = _Command(
        PROGRAM,
        callback=lambda **values: {name: value for name, value in values.items() if name == "args" or _typed(value)},
        params=[
            *(_parameter(name, option) for name, option in OPTIONS.items() if option.flags),
            _arguments(),
            _version(),
        ],
        help=DESCRIPTION,
        options_metavar="[options]",
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
    )
    values = command.main(list(arguments), prog_name=PROGRAM, standalone_mode=False)
    return values if isinstance(values, dict) else None


def _typed(value: Any) -> bool:
    return value is not None and value != ()


def _parameter(name: str, option: Option) -> click.Option:
    """Make the option from its row of the table. Its value stays text: only ``settings`` says what is right."""
    hints = [f"default: {_shown(DEFAULTS[name])}"] if _typed(DEFAULTS.get(name)) and not option.is_switch else []
    hints += [f"variable: {option.env}"] if option.env else []
    help_text = f"{option.help} [{', '.join(hints)}]" if hints else option.help
    if option.is_switch:
        flags = [flag for flag in option.flags if flag not in option.opposites]
        flags = ["/".join([flag, *option.opposites]) for flag in flags]
        return click.Option([*flags, name], is_flag=True, default=None, help=help_text)
    several = isinstance(DEFAULTS.get(name), tuple)
    return click.Option(
        [*option.flags, name], metavar=option.metavar, multiple=several or bool(option.again), type=str, help=help_text,
        callback=_once if option.again else None,
    )  # fmt: skip


def _once(_: click.Context, parameter: click.Parameter, given: tuple[str, ...]) -> str | None:
    """Take the value of an option that may be given once."""
    if len(given) > 1:
        option = OPTIONS[parameter.name or ""]
        raise ConfigError(f"option {option.flag}: given twice ({', '.join(given)}); {option.again}")
    return given[0] if given else None


def _shown(default: Any) -> str:
    if isinstance(default, tuple):
        return ",".join(default)
    if isinstance(default, float):
        return f"{default:g}"
    short = {path: name for name, path in FACTORY_SHORT_NAMES.items()}
    return short.get(str(default), str(default))


def _arguments() -> click.Argument:
    return click.Argument(["args"], nargs=-1, metavar="APP [MIDDLEWARE …]")


def _version() -> click.Option:
    def answer(context: click.Context, _: click.Parameter, wanted: bool) -> None:
        if wanted:
            click.echo(f"spawning {__version__} (Python {sys.version.split()[0]})")
            context.exit()

    return click.Option(
        ["--version"], is_flag=True, is_eager=True, expose_value=False, callback=answer, help="Show the version."
    )


class _Command(click.Command):
    """The command whose ``--help`` lists the options by the groups of the table."""

    def format_options(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        sections: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(context):
            record = parameter.get_help_record(context)
            option = OPTIONS.get(parameter.name or "")
            if record is not None and isinstance(parameter, click.Option):
                sections.setdefault(option.group if option else "Help", []).append(record)
        for title, records in sections.items():
            with formatter.section(title):
                formatter.write_dl(records)
