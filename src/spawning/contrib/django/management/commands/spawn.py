"""``manage.py spawn [ADDRESS] [-- OPTION …]``: serve the project as ``runserver`` does, by Spawning.

The process becomes the command ``spawn`` by exec, since the controller must not hold the application's code. What the
command line, the variables and the configuration file of Spawning say counts; without their word it is as with
``runserver``: port 8000 of this machine, and while developing (``DEBUG``) one process that reloads.
"""

import os
import re
import sys
from argparse import ArgumentParser
from collections.abc import Collection, Sequence
from typing import Any

import click
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from spawning import interpreter
from spawning.cli_options import typed_values
from spawning.errors import ConfigError
from spawning.settings.sources import Sources

_ADDRESS = re.compile(r"(?:(?P<host>\[[0-9A-Fa-f:.%]+\]|[0-9A-Za-z.-]+):)?(?P<port>[0-9]+)")
_DEFAULT = ("127.0.0.1", "8000")


class Command(BaseCommand):
    help = "Serves the project by Spawning; while DEBUG is on, changed code is loaded at once. Options of the command"
    help += " spawn may follow behind --."
    requires_system_checks: Sequence[str] = []  # each generation runs them when it loads
    suppressed_base_arguments = {"--verbosity", "--traceback", "--skip-checks"}  # noqa: RUF012 - as Django names it

    words: Sequence[str] = ()

    def run_from_argv(self, argv: list[str]) -> None:
        """Keep what stands behind ``--`` for the command ``spawn``, and deal with the rest as every command does."""
        end = argv.index("--") if "--" in argv else len(argv)
        self.words = argv[end + 1 :]
        super().run_from_argv(argv[:end])

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add what ``runserver`` has too."""
        parser.add_argument(
            "address", nargs="?", metavar="ADDRESS", help="PORT or HOST:PORT, by default 127.0.0.1:8000."
        )
        parser.add_argument("--noreload", action="store_true", help="Do not load changed code.")

    def handle(self, *args: Any, **options: Any) -> None:
        """Become the server.

        :raises CommandError: the address is none, or the configuration of Spawning cannot be used.
        """
        if not settings.DEBUG and not settings.ALLOWED_HOSTS:
            raise CommandError("You must set settings.ALLOWED_HOSTS if DEBUG is False.")
        try:
            told = typed_values(self.words)
            if told is None:  # --help or --version, which is answered
                return
            said = {*Sources({}, os.getcwd()).read().sources, *told}
        except click.ClickException as error:
            raise CommandError(error.format_message()) from None
        except ConfigError as error:
            raise CommandError(str(error)) from None
        reloads = settings.DEBUG and not options["noreload"]
        typed = arguments(settings.SETTINGS_MODULE, options["address"], said, reloads=reloads)
        command = interpreter.spawning(*typed, *self.words)
        sys.stdout.flush()
        sys.stderr.flush()
        os.execv(command[0], command)


def arguments(module: str, address: str | None, said: Collection[str], *, reloads: bool) -> list[str]:
    """Return the arguments of ``spawn`` that nobody has typed as such.

    :param module: the settings.
    :param address: as it was typed.
    :param said: names of the settings that options, variables or a file have given.
    :param reloads: whether changed code is loaded, and one process does.
    :raises CommandError: the address is none.
    """
    found = ["-f", "django", module]
    program = os.path.dirname(os.path.abspath(sys.argv[0]))
    if os.path.basename(sys.argv[0]) == "manage.py" and program != os.getcwd():
        found += ["--pythonpath", program]
    if address is not None or not {"host", "port", "bind"} & set(said):
        host, port = _parts(address)
        found += ["--host", host, "--port", port]
    if reloads and "reload" not in said:
        found += ["--reload", "dev"]
    if reloads and "num_processes" not in said:
        found += ["--processes", "1"]
    return found


def _parts(address: str | None) -> tuple[str, str]:
    if address is None:
        return _DEFAULT
    match = _ADDRESS.fullmatch(address)
    if match is None:
        raise CommandError(f"{address!r} is not a port or HOST:PORT, such as 8000, 0.0.0.0:8000 or [::1]:8000")
    host = match["host"] or _DEFAULT[0]
    return ("0.0.0.0" if host == "0" else host), match["port"]
