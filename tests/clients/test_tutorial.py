"""The tutorial, typed as it stands in ``docs/tutorial.md``: every block, and what the commands print.

Not tried: the three lines that make a virtual environment and install into it, since tests have one. The port is the
kernel's in place of 8000, and the load lasts two seconds in place of eight.
"""

import contextlib
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from clients.programs import program
from integration.server import DEADLINE, Server

PAGE = Path(__file__).parents[2] / "docs" / "tutorial.md"
INSTALLING = ("python3 -m venv ", ". ~/tutorial", "pip install ")
BLOCK = re.compile(r"^```(\w+)(?: title=\"([^\"\n]*)\")?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
END = "end of the command:"


class Command(NamedTuple):
    """A command, and the lines that it is said to print."""

    text: str
    printed: tuple[str, ...]


def commands(block: str) -> Iterator[Command]:
    """Yield the commands of a block of a console."""
    for each in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        text, *printed = each.splitlines()
        yield Command(text, tuple(printed))


class Terminal:
    """A shell, as the reader has one: it keeps its directory and its background jobs."""

    def __init__(self, directory: Path, environ: dict[str, str]) -> None:
        self._shell = subprocess.Popen(
            ["bash"], cwd=directory, env=environ, text=True, bufsize=1, start_new_session=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def type(self, command: str) -> str:
        """Type a command, and return what it prints."""
        assert self._shell.stdin is not None
        assert self._shell.stdout is not None
        self._shell.stdin.write(f"{command}\necho; echo '{END}'\n")
        found = ""
        for line in self._shell.stdout:
            if line == f"{END}\n":
                break
            found += line
        return found.rstrip("\n")

    def close(self) -> None:
        self._shell.communicate(timeout=DEADLINE)


class Reader:
    """Who follows the tutorial: with a directory, a terminal, and a server in another one."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._control = {"SPAWNING_CONTROL_DIRECTORY": str(directory / "control")}
        (directory / "control").mkdir()
        path = f"{Path(sys.executable).parent}:{Path(program('ab')).parent}:{os.environ['PATH']}"
        self.terminal = Terminal(directory, {**os.environ, **self._control, "PATH": path})
        self.open = contextlib.ExitStack()
        self.open.callback(self.terminal.close)
        self._server: Server | None = None
        self.typed = 0

    def follow(self, kind: str, title: str, text: str) -> None:
        """Do what a block says."""
        if kind != "console":
            (self._directory / "mysite" / title).write_text(text.replace("127.0.0.1:8000", "127.0.0.1:0"))
            return
        for command in commands(text):
            if not command.text.startswith(INSTALLING):
                self.typed += 1
                check(command, self._do(command.text))

    def _do(self, command: str) -> str:
        words = shlex.split(command)
        if words[0] == "spawn" and "--check-config" not in words:
            return self._serve([each for each in words[1:] if each not in ("--port", "8000")])
        port = self._server.port if self._server is not None else 0
        found = self.terminal.type(command.replace(":8000", f":{port}").replace("-t 8 ", "-t 2 "))
        if words[:2] == ["spawnctl", "stop"] and self._server is not None:
            assert self._server.wait() == 0
            self._server = None
        return found.replace(f":{port}", ":8000")

    def _serve(self, arguments: list[str]) -> str:
        self._server = self.open.enter_context(Server(*arguments, cwd=self._directory / "mysite", env=self._control))
        return self._server.log().replace(f":{self._server.port}", ":8000")


def check(command: Command, found: str) -> None:
    """See that what is said to be printed is, in that order; ``…`` stands for anything."""
    rest = found.splitlines()
    for line in command.printed:
        if line.strip("…"):
            pattern = ".*".join(map(re.escape, line.split("…")))
            at = next((number for number, each in enumerate(rest) if re.fullmatch(pattern, each)), None)
            assert at is not None, f"{command.text!r} does not print {line!r} but {found}"
            rest = rest[at + 1 :]


def test_the_tutorial_does_what_it_says(tmp_path: Path) -> None:
    blocks = BLOCK.findall(PAGE.read_text())
    assert len(blocks) > 10
    reader = Reader(tmp_path)
    with reader.open:
        for kind, title, text in blocks:
            reader.follow(kind, title, text)
        assert reader.typed > 14
