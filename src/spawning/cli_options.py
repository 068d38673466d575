"""The options of ``spawn``, made from the table of settings: parsing, ``--help``, and completion in a shell.

Rules: values stay text, only ``settings`` says what is right. An option that is unknown is answered with what it is
called here, or with nothing; a guess that does not help is worse than none.
"""

import sys
from collections.abc import Callable, Sequence
from typing import Any, Final

import click
from click.shell_completion import CompletionItem

from spawning import __version__
from spawning.errors import ConfigError
from spawning.habits import ELSEWHERE, check_config, check_values, reload_alone
from spawning.settings import DEFAULTS, FACTORY_SHORT_NAMES, OPTIONS, Option
from spawning.settings.names import nearest

PROGRAM = "spawn"

DESCRIPTION = """\
Serve the WSGI application APP, wrapped in each MIDDLEWARE, the last one outermost. Names are
package.module:attribute or package.module.attribute; with module:factory() the factory is called.

\b
    spawn mysite.wsgi:application
    spawn -f django mysite.settings --port 9090 -s 4 -t 100
    spawn -f paste development.ini [key=value …]
    spawn                                           what spawning.toml says
"""

QUESTIONS: Final = {
    "check_config": ("--check-config", "Check all settings, load the application in a process of its own, and exit."),
    "print_config": ("--print-config", "Show all settings as a file of settings, and where each comes from."),
    "print_schema": ("--print-schema", "Show the JSON Schema of a file of settings, for editors."),
    "from_gunicorn": ("--from-gunicorn", "Show a gunicorn.conf.py, which is executed, as a file of settings."),
}
_ASKED_OF: Final = {"from_gunicorn": "FILE"}  # questions that have a value
_HABIT = "__habit"  # behind the name of a setting: its parameter for spellings of other servers
_CHOICES: Final = {"reload": ("dev", "git"), "factory": tuple(FACTORY_SHORT_NAMES)}
_PLACES: Final = {"FILE": "file", "DIRECTORY": "dir", "PATH": "file"}


def typed_values(arguments: Sequence[str]) -> dict[str, Any] | None:
    """Return ``args``, the options that were typed, as text, and the questions that were asked.

    :returns: None when --help, --version or the shell's question for completions is answered.
    :raises click.ClickException: an option lacks its value, or has one that it does not take.
    :raises ConfigError: an option is unknown, is given twice in vain, or its value was meant for another one.
    """
    check_config(arguments)
    try:
        values = command().main(reload_alone(arguments), prog_name=PROGRAM, standalone_mode=False)
    except click.NoSuchOption as error:
        raise ConfigError(_unknown(error.option_name)) from None
    return _merged(values) if isinstance(values, dict) else None


def command() -> click.Command:
    """Make the command, whose callback returns what was typed."""
    parameters: list[click.Parameter] = []
    for name, option in OPTIONS.items():
        if option.flags:
            parameters.append(_parameter(name, option))
        if option.habits:
            parameters.append(_habit(name, option))
    return _Command(
        PROGRAM,
        callback=lambda **values: values,
        params=[*parameters, _arguments(), *(_question(name) for name in QUESTIONS), _version()],
        help=DESCRIPTION,
        options_metavar="[options]",
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
    )


def _unknown(flag: str) -> str:
    if flag in ELSEWHERE:
        return f"there is no option {flag} here: {ELSEWHERE[flag]}"
    known = [each for option in OPTIONS.values() for each in (*option.flags, *option.habits)]
    known += [each for each, _ in QUESTIONS.values()]
    close = nearest(flag, [each for each in known if each.startswith("--")])
    return f"there is no option {flag}{f'; did you mean {close}?' if close else ', see spawn --help'}"


def _merged(values: dict[str, Any]) -> dict[str, Any]:
    """Return what was typed, one value for each setting that has one.

    :raises ConfigError: an option is given twice, or its value was meant for another one.
    """
    found: dict[str, Any] = {"args": values["args"]}
    found |= {name: values[name] for name in QUESTIONS if values[name]}
    for name, option in OPTIONS.items():
        given, habit = values.get(name), values.get(name + _HABIT)
        if option.is_switch:
            chosen = [each for each in (given, None if habit is None else not habit) if each is not None]
            found |= {name: chosen[0]} if chosen else {}
        elif given or habit:
            found[name] = _one_or_several(name, option, (*(given or ()), *(habit or ())))
    check_values(found)
    return found


def _one_or_several(name: str, option: Option, given: tuple[str, ...]) -> str | tuple[str, ...]:
    if is_repeatable(name):
        return given
    if len(given) > 1 and option.again:
        raise ConfigError(f"option {option.flag}: given twice, as {' and as '.join(map(repr, given))}; {option.again}")
    return given[-1]


def is_repeatable(name: str) -> bool:
    """Whether a setting is a list, so that its option may be repeated."""
    return isinstance(DEFAULTS.get(name), tuple)


def _parameter(name: str, option: Option) -> click.Option:
    """Make the option from its row of the table. All its values are kept, to be told that there are several."""
    default = DEFAULTS.get(name)
    shows_default = default not in (None, ()) and not option.is_switch
    hints = [f"default: {_shown(default)}"] if shows_default else []
    hints += [f"variable: {option.env}"] if option.env else []
    help_text = f"{option.help} [{', '.join(hints)}]" if hints else option.help
    if option.is_switch:
        flags = [flag for flag in option.flags if flag not in option.opposites]
        flags = ["/".join([flag, *option.opposites]) for flag in flags]
        return click.Option([*flags, name], is_flag=True, default=None, help=help_text)
    return click.Option(
        [*option.flags, name], metavar=option.metavar, multiple=True, type=str, help=help_text,
        shell_complete=_completions(name, option),
    )  # fmt: skip


def _habit(name: str, option: Option) -> click.Option:
    """Make the hidden option for what it is called elsewhere; that of a switch means the opposite."""
    spellings = [*option.habits, name + _HABIT]
    if option.is_switch:
        return click.Option(spellings, is_flag=True, default=None, hidden=True)
    return click.Option(spellings, multiple=True, type=str, hidden=True)


def _completions(name: str, option: Option) -> Callable[[click.Context, click.Parameter, str], list[CompletionItem]]:
    def complete(context: click.Context, parameter: click.Parameter, begun: str) -> list[CompletionItem]:
        if name in _CHOICES:
            return [CompletionItem(each) for each in _CHOICES[name] if each.startswith(begun)]
        return [CompletionItem(begun, type=_PLACES.get(option.metavar, "plain"))]

    return complete


def _shown(default: Any) -> str:
    if isinstance(default, tuple):
        return ",".join(default)
    if isinstance(default, float):
        return f"{default:g}"
    short = {path: name for name, path in FACTORY_SHORT_NAMES.items()}
    return short.get(str(default), str(default))


def _arguments() -> click.Argument:
    return click.Argument(["args"], nargs=-1, metavar="APP [MIDDLEWARE …]")


def _question(name: str) -> click.Option:
    flag, help_text = QUESTIONS[name]
    if name in _ASKED_OF:
        return click.Option([flag, name], metavar=_ASKED_OF[name], type=click.Path(), help=help_text)
    return click.Option([flag, name], is_flag=True, help=help_text)


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
                sections.setdefault(option.group if option else "Questions", []).append(record)
        for title, records in sections.items():
            with formatter.section(title):
                formatter.write_dl(records)
