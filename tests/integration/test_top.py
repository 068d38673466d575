"""``spawnctl top`` in a real terminal (a pty), and where there is none."""

import os
import pty
import re
import select
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from integration.client import Client, request
from integration.control import spawnctl
from integration.gate import Gate
from integration.server import DEADLINE, Server, _inherited_environment
from integration.sites import held
from integration.status import STATUS

SITE = ("basics.application", "-s", "2", "-t", "4", *STATUS)


class Terminal:
    """A terminal with ``spawnctl top`` in it.

    :ivar seen: all that it was sent.
    """

    def __init__(self, server: Server, *args: str) -> None:
        self.master, self.slave = pty.openpty()
        termios.tcsetwinsize(self.slave, (24, 100))
        self.before = termios.tcgetattr(self.slave)
        command = [sys.executable, "-m", "spawning.ctl", "-a", f"127.0.0.1:{server.port}", "top", *args]
        streams = {"stdin": self.slave, "stdout": self.slave, "stderr": subprocess.PIPE}
        self.process = subprocess.Popen(command, env=_inherited_environment(), **streams)  # type: ignore[call-overload]
        self.seen = ""

    def wait_for(self, pattern: str) -> None:
        until = time.monotonic() + DEADLINE
        while not re.search(pattern, self.seen):
            ready, _, _ = select.select([self.master], [], [], max(0.0, until - time.monotonic()))
            assert ready, self.seen
            self.seen += os.read(self.master, 65536).decode("utf-8", "replace")

    def drain(self) -> None:
        """Read what is left."""
        while select.select([self.master], [], [], 0)[0]:
            self.seen += os.read(self.master, 65536).decode("utf-8", "replace")


@contextmanager
def terminal(server: Server, *args: str) -> Iterator[Terminal]:
    shown = Terminal(server, *args)
    try:
        yield shown
    finally:
        shown.process.kill()
        shown.process.communicate()
        os.close(shown.master)
        os.close(shown.slave)


@pytest.mark.parametrize("key", [b"q", b"\x1b"])
def test_it_is_live_until_a_key_ends_it_and_leaves_the_terminal_as_it_was(gate: Gate, key: bytes) -> None:
    with Server(*SITE) as server, held(gate, server.port), terminal(server, "-n", "0.2") as shown:
        shown.wait_for(r"GET /hold")
        shown.wait_for(r"\d s +1\.\d +request")  # it is looked at again, in whichever worker
        assert re.search(r"1\.1 +serving", shown.seen)
        assert server.reload()
        shown.wait_for(r"last reload +generation 2 finished \(SIGHUP\)")
        os.write(shown.master, key)
        assert shown.process.wait(DEADLINE) == 0
        shown.drain()
        assert shown.seen.startswith("\x1b[?1049h")
        assert shown.seen.endswith("\x1b[?1049l")
        assert termios.tcgetattr(shown.slave) == shown.before
        gate.open()


def test_the_end_of_the_server_ends_it_with_a_sentence(tmp_path: Path) -> None:
    with Server(*SITE) as server, terminal(server, "-n", "0.2") as shown:
        shown.wait_for(r"requests/s")
        assert server.stop() == 0
        assert shown.process.wait(DEADLINE) in (1, 2)
        assert shown.process.stderr is not None
        assert b"spawnctl: " in shown.process.stderr.read()
        shown.drain()
        assert shown.seen.endswith("\x1b[?1049l")
        assert termios.tcgetattr(shown.slave) == shown.before


def test_an_interrupt_leaves_the_terminal_as_it_was() -> None:
    with Server(*SITE) as server, terminal(server) as shown:
        shown.wait_for(r"requests/s")
        shown.process.send_signal(2)
        assert shown.process.wait(DEADLINE) == 130
        shown.drain()
        assert shown.seen.endswith("\x1b[?1049l")
        assert termios.tcgetattr(shown.slave) == shown.before


def test_nothing_that_a_client_sends_reaches_the_terminal(gate: Gate) -> None:
    """Nor what an application raises: the path is percent-decoded."""
    hostile = gate.target.replace("/hold", "/hold%1b%5b31m%0aforged%c2%9b")
    with Server("escapes.application", "-s", "1", *STATUS) as server, Client(server.port) as client:
        client.send(request(hostile))
        gate.wait_entered()
        with terminal(server, "-n", "0.2") as shown:
            shown.wait_for(r"/hold\\x1b\[31m\\nforged")
            os.write(shown.master, b"q")
            assert shown.process.wait(DEADLINE) == 0
            shown.drain()
            ours = r"\x1b\[(\?1049[hl]|\?25[hl]|[HKJ])"
            assert "\x1b" not in re.sub(ours, "", shown.seen)
            assert "\x9b" not in shown.seen
        gate.open()


def test_where_there_is_no_terminal_it_says_it_once() -> None:
    with Server(*SITE) as server:
        done = spawnctl("-a", f"127.0.0.1:{server.port}", "top", "-n", "0.2")
        assert done.status == 0
        assert "requests/s 0" in done.out
        assert re.search(r"^1\.2 +serving", done.out, re.MULTILINE)
        assert "\x1b" not in done.out
    assert "0.2<=x<=3600" in spawnctl("top", "-n", "0").err
