"""The command ``spawnctl``: asks the controller of a running server something, over its control socket.

Rules: it decides nothing, the controller does. Every error is one line on stderr, ``spawnctl: …``; exit status 1 when
the server says no (a reload that was refused also shows the application's traceback), 2 when the question does not
reach one. Which server: ``--socket``, or ``--address``, or the only one running.
"""

import json
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from spawning import __version__
from spawning.ctl_text import requests_text, stacks_text, status_text
from spawning.ipc.control import SUFFIX, decode, directories, encode, name_for

PROGRAM = "spawnctl"
EXIT_REFUSED, EXIT_UNREACHABLE, EXIT_INTERRUPTED = 1, 2, 130
_AGAIN = 0.05  # seconds, between attempts to reach a server that is being upgraded
_SECONDS = 15.0  # that a server has to say something, unless we wait for the end of what it does

Values = dict[str, Any]


class ControlError(Exception):
    """Say in one line why there is no answer; `details` is a traceback or empty."""

    def __init__(self, message: str, status: int = EXIT_UNREACHABLE, details: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.details = details


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    :param arguments: what stands behind the command's name; by default that of this process.
    :returns: the exit status.
    """
    given = sys.argv[1:] if arguments is None else list(arguments)
    try:
        spawnctl.main(given, prog_name=PROGRAM, standalone_mode=False)
    except click.ClickException as error:
        return _fail(error.format_message(), EXIT_UNREACHABLE)
    except click.Abort:
        return EXIT_INTERRUPTED
    except ControlError as error:
        sys.stderr.write(error.details)
        return _fail(str(error), error.status)
    return 0


def _fail(message: str, status: int) -> int:
    line = " ".join(message.split())
    print(f"{PROGRAM}: {line}", file=sys.stderr)
    return status


# Finding and asking a server -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Where:
    """Which server is meant: a socket, an address, or neither."""

    path: str | None
    address: str | None

    def find(self) -> Path:
        """Give the control socket.

        :raises ControlError: there is none, or more than one could be meant.
        """
        if self.path is not None:
            return Path(self.path)
        name = self._name()
        living = [path for path in _sockets() if _is_alive(path) and (name is None or _matches(path, name))]
        if len(living) > 1:
            names = ", ".join(path.name.removesuffix(SUFFIX) for path in living)
            raise ControlError(f"several servers are running ({names}): say which with --address or --socket")
        if not living:
            at = f" at {self.address}" if self.address else ""
            raise ControlError(f"no server is running{at}, or its control socket is elsewhere (--socket)")
        return living[0]

    def _name(self) -> str | None:
        """Give the name of the socket of the server at the address."""
        if self.address is None:
            return None
        host, _, port = self.address.rpartition(":")
        if not host or not port.isdecimal():
            raise ControlError(f"option --address: {self.address!r} is not HOST:PORT")
        return name_for(host, int(port))


def _sockets() -> Iterator[Path]:
    for directory in directories(os.environ):
        if os.access(directory, os.R_OK | os.X_OK):
            yield from sorted(path for path in directory.glob(f"*{SUFFIX}") if path.is_socket())


def _matches(path: Path, name: str) -> bool:
    """Whether a socket has a default name; one that was taken has a pid behind it."""
    return path.name == name or path.name.startswith(f"{name.removesuffix(SUFFIX)}-")


def _is_alive(path: Path) -> bool:
    try:
        with _connected(path):
            return True
    except ControlError:
        return False


@contextmanager
def _connected(path: Path) -> Iterator[socket.socket]:
    """Connect.

    :raises ControlError: nobody is there, or it is somebody else's.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(_SECONDS)
        try:
            sock.connect(str(path))
        except FileNotFoundError:
            raise ControlError(f"no server is running: {path} does not exist") from None
        except ConnectionRefusedError:
            raise ControlError(f"no server is running: nobody listens on {path} any more") from None
        except PermissionError:
            raise ControlError(f"{path} belongs to another user; be that user, or root") from None
        except OSError as error:
            raise ControlError(f"cannot connect to {path}: {error.strerror or error}") from None
        yield sock


def ask(where: Where, command: str, *, patient: bool = False, **arguments: Any) -> Values:
    """Ask a server and give its answer; what it says on the way goes to stderr.

    :param patient: wait for the answer however long it takes.
    :raises ControlError: there is no answer, or it is no.
    """
    try:
        with _connected(where.find()) as sock, sock.makefile("rb") as reader:
            sock.settimeout(None if patient else _SECONDS)
            sock.sendall(encode({"command": command, **arguments}))
            for line in reader:
                said = decode(line)
                if "progress" in said:
                    print(said["progress"], file=sys.stderr, flush=True)
                elif "error" in said:
                    raise ControlError(said["error"], EXIT_REFUSED, said.get("details", ""))
                else:
                    answer: Values = said["ok"]
                    return answer
    except TimeoutError:
        raise ControlError(f"the server has not answered within {_SECONDS:g} s") from None
    except (OSError, ValueError, KeyError) as error:
        raise ControlError(f"the server cannot be understood: {error}") from None
    raise Ended("the server has ended without an answer", EXIT_REFUSED)


class Ended(ControlError):
    """The connection has ended instead of an answer."""


# Commands ------------------------------------------------------------------------------------------------------------


@click.group(no_args_is_help=False, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.option("-S", "--socket", "path", metavar="PATH", help="The server's control socket.")
@click.option("-a", "--address", metavar="HOST:PORT", help="The server's address, as it was started with.")
@click.version_option(__version__, prog_name=PROGRAM, message="%(prog)s %(version)s")
@click.pass_context
def spawnctl(context: click.Context, path: str | None, address: str | None) -> None:
    """Look after a running Spawning server; without an option, the only one running."""
    context.obj = Where(path, address)


_as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
_wait = click.option("--wait", is_flag=True, help="Wait for the end, and say on the way what happens.")


def _print(values: Values, as_json: bool, text: Callable[[Values], str]) -> None:
    click.echo(json.dumps(values, indent=2) if as_json else text(values))


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

    With --wait the exit status is 0 when the new generation serves, and 1 when it was refused.
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
    until = time.monotonic() + _SECONDS
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
    click.echo(f"generation {number} {end}")


@spawnctl.command()
@click.argument("workers", type=int)
@click.pass_obj
def scale(where: Where, workers: int) -> None:
    """Have so many WORKERS from now on, until the server ends."""
    click.echo(f"{ask(where, 'scale', workers=workers)['workers']} workers wanted")


@spawnctl.command()
@_wait
@click.pass_obj
def stop(where: Where, wait: bool) -> None:
    """Finish what is under way, and end."""
    try:
        ask(where, "stop", patient=wait, wait=wait)
    except Ended:
        click.echo("stopped")
    else:
        click.echo("stopping")


@spawnctl.command()
@_as_json
@click.pass_obj
def requests(where: Where, as_json: bool) -> None:
    """Show what each thread is executing, and since when."""
    _print(ask(where, "requests"), as_json, requests_text)


@spawnctl.command()
@click.argument("worker")
@_as_json
@click.pass_obj
def stacks(where: Where, worker: str, as_json: bool) -> None:
    """Show where each thread of WORKER is; its name is like 7.2."""
    _print(ask(where, "stacks", worker=worker), as_json, stacks_text)


if __name__ == "__main__":
    sys.exit(main())
