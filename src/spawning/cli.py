"""The command ``spawn`` (also ``spawning``, ``python -m spawning``): text in, a configuration out, exit status back.

Rules: every option is derived from the table of settings (``cli_options.py``), nothing is said twice; each error of the
person who typed is one line on stderr, ``spawn: …``, and exit status 2. The controller is imported only once the
configuration is known to be right, so ``spawn --help`` and a typing error answer at once.
"""

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from spawning.account import Account
from spawning.cli_options import PROGRAM, QUESTIONS, typed_values
from spawning.controller.paths import working_directory
from spawning.daemon import Answer, begin
from spawning.daemon import check as check_unmanaged
from spawning.django_project import find
from spawning.errors import EXIT_APP, EXIT_CONFIG, AppLoadError, ConfigError
from spawning.interpreter import enter, refuse_free_threading
from spawning.ipc.signals import keep_out
from spawning.ipc.succession import CHECK, SUCCEED, inherited, typed_in
from spawning.logs.log import escaped
from spawning.logs.setup import finish, say
from spawning.logs.streams import provide
from spawning.settings import FACTORY_SHORT_NAMES
from spawning.settings.files import Said
from spawning.settings.names import APP
from spawning.settings.sources import Configuration, Sources

EXIT_INTERRUPTED = 130
FOUND = "Django project "  # how the origin of an application begins that nobody has named


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
    asked = parse(arguments, os.environ, typed_in(os.environ) or _here())
    if asked is None:
        return 0
    if asked.question:
        from spawning.questions import answer  # late: see the rules above

        return answer(asked.question, asked.sources, asked.words)
    try:
        configuration = asked.sources.read_all()
    except ConfigError as error:
        if SUCCEED in os.environ:
            return _go_on(asked.sources, error)
        raise
    if (origin := configuration.sources["args"]).startswith(FOUND):
        settings = configuration.settings.args[0]
        say(f"{PROGRAM}: no APP given, so the Django settings {settings} are served ({origin.removeprefix(FOUND)})\n")
    if (directory := configuration.settings.chdir) is not None:
        enter(directory, configuration.sources["chdir"])
    if (state := inherited(CHECK, os.environ)) is not None:
        from spawning.upgrade_check import check

        return check(state)
    return _serve(configuration, asked.sources)


def _serve(configuration: Configuration, sources: Sources) -> int:
    """Serve, as the user, with the streams, and in the background if the settings say so.

    A program that takes the place of an earlier one is all of that already.
    """
    settings, origins = configuration.settings, configuration.sources
    again = SUCCEED in os.environ
    if again or not settings.daemonize:
        keep_out()  # what arrives before the controller can deal with it waits until it can
    from spawning.controller.standard import open_standard
    from spawning.controller.start import find_account, run

    if again:
        return run(configuration, sources)
    if settings.daemonize:
        check_unmanaged(origins["daemonize"], os.environ, os.getpid())
    account = find_account(configuration)
    streams = open_standard(settings, origins, account)
    if settings.daemonize:
        answer = begin(streams)
        return answer if isinstance(answer, int) else _serve_answering(configuration, sources, account, answer)
    for stream, descriptor in streams.items():
        os.dup2(descriptor, stream)
        os.close(descriptor)
    return run(configuration, sources, account)


def _serve_answering(configuration: Configuration, sources: Sources, account: Account | None, answer: Answer) -> int:
    """Serve in the background, and answer the command that was typed."""
    from spawning.controller.start import run

    def ready() -> None:
        finish()  # the command's end is when scripts look into the log
        answer.ready()

    keep_out()
    try:
        return run(configuration, sources, account, ready)
    except ConfigError as error:
        answer.refuse(EXIT_CONFIG, _line(str(error)))
        raise
    except AppLoadError as error:
        answer.refuse(EXIT_APP, escaped(error.details) + _line(str(error)))
        raise


def _go_on(sources: Sources, error: ConfigError) -> int:
    """Be the controller although the configuration cannot be read, which it could be when the program before asked: a
    service runs, and that is no reason to end it.
    """
    keep_out()
    from spawning.controller.start import go_on

    return go_on(sources, str(error))


def _here() -> str:
    try:
        return working_directory()
    except FileNotFoundError:
        raise ConfigError("the current directory does not exist any more: go to another one") from None


def _fail(message: str, status: int) -> int:
    say(_line(message))
    return status


def _line(message: str) -> str:
    return escaped(f"{PROGRAM}: {' '.join(message.split())}\n")


@dataclass(frozen=True, slots=True)
class Asked:
    """A command line that has been understood: serve, or answer a question (a key of ``QUESTIONS``).

    :param words: of a question with a value: that, and what stands on the command line besides options.
    """

    sources: Sources
    question: str = ""
    words: tuple[str, ...] = ()


def parse(arguments: Sequence[str], environ: Mapping[str, str], directory: str) -> Asked | None:
    """Read a command line.

    :param directory: where it was typed.
    :returns: what was asked for; None when the question was --help or --version, and is answered.
    :raises click.ClickException: an option lacks its value.
    :raises ConfigError: an option is unknown, or given twice.
    """
    typed = typed_values(arguments)
    if typed is None:
        return None
    questions = {name: typed.pop(name) for name in QUESTIONS if name in typed}
    if len(questions) > 1:
        raise ConfigError(f"{' and '.join(QUESTIONS[name][0] for name in questions)}: ask one thing at a time")
    words: tuple[str, ...] = ()
    if "from_gunicorn" in questions:
        words = (os.path.join(directory, questions["from_gunicorn"]), *typed["args"])
        if typed.keys() != {"args"} or len(typed["args"]) > 1:
            raise ConfigError("option --from-gunicorn: at most an APP stands beside it, which the file may lack")
    return Asked(Sources(typed, directory, environ, django_here), next(iter(questions), ""), words)


def django_here(said: Mapping[str, Said], directory: str, environ: Mapping[str, str]) -> dict[str, Said]:
    """Return what replaces an APP that is not named: the settings of the Django project here, if there is one."""
    factory = said["factory"].value if "factory" in said else None
    if factory not in (None, "django", FACTORY_SHORT_NAMES["django"]):
        return {}
    found = find(Path(directory), environ, wanted=factory is not None)
    if found is None:
        return {}
    origin = f"{FOUND}from {found.origin}"
    return {APP: Said(found.settings, origin), "factory": said.get("factory", Said("django", origin))}
