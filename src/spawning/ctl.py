"""The command ``spawnctl``: asks the controller of a running server something, over its control socket.

Rules: it decides nothing, the controller does. Every error is one line on stderr, ``spawnctl: …``; exit status 1 when
the server says no (a reload that was refused also shows the application's traceback), 2 when the question does not
reach one. Which server: ``--socket``, or ``--address``, or the only one running. Only servers of the same user, of
root, or of the owner of the directory that ``--socket`` names are asked and believed. All that is printed goes through
:func:`write`, since it comes from elsewhere: from clients of the site, and from the application.
"""

import itertools
import json
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial

import click

from spawning import __version__, ctl_report
from spawning.ctl_console import converse
from spawning.ctl_logs import LogError, follow, last_lines, place
from spawning.ctl_server import (
    EXIT_REFUSED,
    EXIT_UNREACHABLE,
    SECONDS,
    ControlError,
    Ended,
    Values,
    Where,
    ask,
    connected,
    read_answer,
)
from spawning.ctl_text import in_lines, requests_text, stacks_text, status_text, write
from spawning.ctl_top import watch
from spawning.ipc.control import encode

PROGRAM = "spawnctl"
EXIT_INTERRUPTED = 130
_LOOK = 0.2  # seconds, between looks whether a log has grown
_AGAIN = 0.05  # seconds, between attempts to reach a server that is being upgraded

_WHICH = ("-S", "--socket", "-a", "--address")
_MEANT = {
    "restart": "reload loads new code without a pause, upgrade a new Spawning or Python; stop ends the server",
    "start": "the command spawn starts a server",
    "kill": "stop ends the server, and kill -QUIT its controller at once",
    "workers": "scale N changes how many there are",
}  # words that look like commands, and what there is


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    :param arguments: what stands behind the command's name; by default that of this process.
    :returns: the exit status.
    """
    given = sys.argv[1:] if arguments is None else list(arguments)
    try:
        spawnctl.main(which_server_first(given), prog_name=PROGRAM, standalone_mode=False)
    except click.ClickException as error:
        return _fail(error.format_message(), EXIT_UNREACHABLE)
    except click.Abort:
        return EXIT_INTERRUPTED
    except ControlError as error:
        if error.details:
            write(error.details.removesuffix("\n"), err=True)
        return _fail(str(error), error.status)
    # boundary: another version's answer, which lacks what is to be shown, or has something else in its place
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
        return _fail(f"the server cannot be understood: {error!r}", EXIT_UNREACHABLE)
    return 0


def _fail(message: str, status: int) -> int:
    write(f"{PROGRAM}: {' '.join(message.split())}", err=True)
    return status


def which_server_first(arguments: Sequence[str]) -> list[str]:
    """Put the options that say which server is meant before the command, wherever they were typed.

    >>> which_server_first(["status", "--json", "-a", "localhost:80"])
    ['-a', 'localhost:80', 'status', '--json']
    """
    first: list[str] = []
    rest: list[str] = []
    words = iter(arguments)
    for word in words:
        if word == "--":
            rest += [word, *words]
        elif word in _WHICH:
            first += [word, *itertools.islice(words, 1)]
        elif word.startswith(tuple(f"{flag}=" for flag in _WHICH if flag.startswith("--"))):
            first.append(word)
        else:
            rest.append(word)
    return first + rest


class _Commands(click.Group):
    """The commands, and what people type in their place."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if self.get_command(ctx, name) is None and not name.startswith("-"):
            hint = _MEANT.get(name) or f"there are {', '.join(self.list_commands(ctx))}"
            raise ControlError(f"there is no command {name}: {hint}")
        return super().resolve_command(ctx, args)


# Commands ------------------------------------------------------------------------------------------------------------


@click.group(
    cls=_Commands,
    invoke_without_command=True,  # which is answered below, with the commands that there are
    subcommand_metavar="COMMAND [ARGS]...",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
)
@click.option("-S", "--socket", "path", metavar="PATH", help="The server's control socket.")
@click.option("-a", "--address", metavar="ADDRESS", help="The server's address, as it was started with.")
@click.version_option(__version__, prog_name=PROGRAM, message="%(prog)s %(version)s")
@click.pass_context
def spawnctl(context: click.Context, path: str | None, address: str | None) -> None:
    """Look after a running Spawning server; without an option, the only one running."""
    context.obj = Where(path, address)
    if context.invoked_subcommand is None:
        raise ControlError(f"no command given: there are {', '.join(spawnctl.list_commands(context))}")


_as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
_wait = click.option("--wait", is_flag=True, help="Wait for the end, and say on the way what happens.")


def _print(values: Values, as_json: bool, text: Callable[[Values], str]) -> None:
    write(json.dumps(values, indent=2).replace("\x7f", "\\u007f") if as_json else text(in_lines(values)))


@spawnctl.command()
@_as_json
@click.pass_obj
def status(where: Where, as_json: bool) -> None:
    """Show generations, workers and the last refusal."""
    _print(ask(where, "status"), as_json, status_text)


@spawnctl.command()
@_wait
@click.pass_obj
def reload(where: Where, wait: bool) -> None:
    """Load the new code beside the old, and switch when it is ready.

    With --wait the exit status is 0 when the new generation serves and stays, and 1 when it was refused, or rolled back
    because its workers died within ten seconds.
    """
    _show_begun(ask(where, "reload", patient=wait, wait=wait))


@spawnctl.command()
@_wait
@click.pass_obj
def rollback(where: Where, wait: bool) -> None:
    """Serve the code before again, from memory (--keep-previous says how long it is there)."""
    _show_begun(ask(where, "rollback", patient=wait, wait=wait))


@spawnctl.command()
@_wait
@click.pass_obj
def upgrade(where: Where, wait: bool) -> None:
    """Change to the Spawning or Python that is installed now, in place.

    With --wait the exit status is 0 when a generation of it serves, and 1 when it or the application was refused.
    """
    answer = ask(where, "upgrade", patient=wait, wait=wait)
    _show_begun(_ask_next(where, answer["generation"]) if wait else answer)


def _ask_next(where: Where, generation: int) -> Values:
    """Wait for a generation of the program that takes the server's place, which forgets who asks too early."""
    until = time.monotonic() + SECONDS
    while True:
        try:
            return ask(where, "wait", patient=True, generation=generation)
        except ControlError as error:
            if not (isinstance(error, Ended) or error.status == EXIT_UNREACHABLE) or time.monotonic() > until:
                raise
        time.sleep(_AGAIN)


def _show_begun(answer: Values) -> None:
    number, seconds = answer["generation"], answer.get("seconds")
    end = "was asked for" if seconds is None else f"serves, after {seconds:.3f} s"
    write(f"generation {number} {end}")


@spawnctl.command()
@click.argument("workers", type=int)
@click.pass_obj
def scale(where: Where, workers: int) -> None:
    """Have so many WORKERS from now on, until the server ends."""
    write(f"{ask(where, 'scale', workers=workers)['workers']} workers wanted")


@spawnctl.command()
@_wait
@click.pass_obj
def stop(where: Where, wait: bool) -> None:
    """Finish what is under way, and end."""
    try:
        ask(where, "stop", patient=wait, wait=wait)
    except Ended:
        write("stopped")
    else:
        write("stopping")


@spawnctl.command()
@_as_json
@click.pass_obj
def requests(where: Where, as_json: bool) -> None:
    """Show what each thread is executing, and since when."""
    _print(ask(where, "requests"), as_json, requests_text)


@spawnctl.command()
@click.argument("name", type=click.Choice(["error", "access"]), default="error")
@click.option("-n", "--lines", type=click.IntRange(0, 100_000), default=20, help="How many of the last lines.")
@click.option("-f", "--follow", "on", is_flag=True, help="Go on with what is written from now on.")
@click.pass_obj
def logs(where: Where, name: str, lines: int, on: bool) -> None:
    """Show the end of the error log, or of the access log, if it is a file."""
    answer = ask(where, "logs")
    try:
        path = place(name, answer[name], answer["pid"])
        with path.open("rb") as file:
            _write_lines(last_lines(file, lines))
            if on:
                for more in follow(path, file, lambda: time.sleep(_LOOK)):
                    _write_lines(more)
    except LogError as error:
        raise ControlError(str(error), EXIT_REFUSED) from None
    except OSError as error:
        raise ControlError(f"the {name} log cannot be read: {error.filename}: {error.strerror}", EXIT_REFUSED) from None


def _write_lines(data: bytes) -> None:
    if data:
        write(data.decode("utf-8", "backslashreplace").removesuffix("\n"))


@spawnctl.command()
@click.option("-n", "--interval", type=click.FloatRange(0.2, 3600), default=1.0, help="Seconds between two looks.")
@click.pass_obj
def top(where: Where, interval: float) -> None:
    """Show how the server is, live; q ends. Where the output is no terminal, once."""
    watch(lambda: (ask(where, "status", full=True), ask(where, "requests")), interval)


@spawnctl.command()
@click.argument("worker")
@_as_json
@click.pass_obj
def stacks(where: Where, worker: str, as_json: bool) -> None:
    """Show where each thread of WORKER is; its name is like 7.2."""
    _print(ask(where, "stacks", worker=worker), as_json, stacks_text)


@spawnctl.command()
@click.argument("worker")
@click.pass_obj
def console(where: Where, worker: str) -> None:
    """Execute Python in WORKER, whose name is like 7.2, while it serves; the server needs --backdoor.

    Without a terminal, stdin is executed line by line.
    """
    try:
        with connected(where.find()) as sock, sock.makefile("rb") as reader:
            sock.sendall(encode({"command": "console", "worker": worker}))
            about = read_answer(reader)
            sock.settimeout(None)
            reason = converse(about, sock, reader, partial(write, end=""))
    except TimeoutError:
        raise ControlError(f"worker {worker} has not answered within {SECONDS:g} s") from None
    except (OSError, ValueError, KeyError) as error:
        raise ControlError(f"the server cannot be understood: {error}") from None
    if reason != "":
        raise ControlError(reason or f"worker {about['worker']} has ended", EXIT_REFUSED)


@spawnctl.command()
@_as_json
@click.pass_obj
def config(where: Where, as_json: bool) -> None:
    """Show the settings of the generation that serves, and where each comes from."""
    answer = ask(where, "config")
    _print(answer["settings"], True, str) if as_json else write(answer["toml"].removesuffix("\n"))


@spawnctl.command()
@click.argument("file")
@click.option("-g", "--group-by", type=click.Choice(list(ctl_report.GROUPS)), default="path", show_default=True)
@click.option("--earliest", metavar="TIME", help="Leave out what ended before; -1h, 2026-11-23, 2026-11-23T19:30.")
@click.option("--latest", metavar="TIME", help="Leave out what ended after.")
@click.option("-n", "--most", type=click.IntRange(1), default=20, show_default=True, help="Show so many groups.")
@_as_json
def log(file: str, group_by: str, earliest: str | None, latest: str | None, most: int, as_json: bool) -> None:
    """Count requests in FILE, an access log (- is stdin): how many, how often, how long.

    The groups with the most time in all come first. No server is asked.
    """
    try:
        with click.open_file(file, "rb") as lines:
            found, strange = ctl_report.of_file(lines, group_by, earliest, latest)
    except ValueError as error:
        raise ControlError(f"log: {error}") from None
    except OSError as error:
        raise ControlError(f"log: cannot read {file}: {error.strerror}") from None
    if as_json:
        write(json.dumps({"group_by": group_by, "groups": found[:most], "left_out": strange}, indent=2))
    else:
        write(ctl_report.text(found[:most], group_by, strange))


if __name__ == "__main__":
    sys.exit(main())
