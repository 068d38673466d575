"""``spawnctl console``: the person's end of a console in a worker (``worker/console.py``).

On a terminal lines are edited with ``readline``, and Ctrl-C interrupts what the worker executes; otherwise stdin is
sent line by line. A line is sent when it is asked for, so nothing piles up. The protocol is in ``ipc/control.py``.
"""

import contextlib
import signal
import socket
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from spawning.ipc.control import decode, encode

_PROMPTS = {False: ">>> ", True: "... "}  # whether a statement has begun

Values = dict[str, Any]


def converse(about: Values, sock: socket.socket, said: Iterable[bytes], write: Callable[[str], None]) -> str | None:
    """Converse until the end.

    :param about: the worker's answer to the question for a console.
    :param sock: the connection.
    :param said: what comes from there, by lines.
    :param write: shows a text.
    :returns: why the worker does not go on with it; empty: the person has ended it, None: the worker has ended.
    """
    on_terminal = sys.stdin.isatty()
    if on_terminal:
        _prepare_editing()
        names = ", ".join(about["names"])
        write(f"Python {about['python']} in worker {about['worker']}, pid {about['pid']}; there are {names}.\n")
        write("Ctrl-D ends the console, and nothing else.\n")
    with _interrupts_there(sock), contextlib.suppress(ConnectionError):
        for each in map(decode, said):
            if "output" in each:
                write(str(each["output"]))
                continue
            if "ended" in each:
                return str(each["ended"])
            more = bool(each["more"])
            line = _typed(_PROMPTS[more]) if on_terminal else _next_line(more)
            if line is None:
                return ""
            sock.sendall(encode(line))
    return None


def _typed(prompt: str) -> Values | None:
    """Return what is typed at a prompt, as a message; None: that was all."""
    with _interrupts_here():
        try:
            return {"line": input(prompt)}
        except EOFError:
            print()
            return None
        except KeyboardInterrupt:
            print("\nKeyboardInterrupt")
            return {"cancel": True}


def _next_line(more: bool) -> Values | None:
    """Return the next line of stdin; behind the last one the line that completes a statement."""
    line = sys.stdin.buffer.readline()
    if line:
        return {"line": line.decode(errors="replace").removesuffix("\n")}
    return {"line": ""} if more else None


def _prepare_editing() -> None:
    with contextlib.suppress(ImportError):  # a Python without it: lines are not edited
        import readline

        readline.set_auto_history(True)


@contextmanager
def _interrupts_there(sock: socket.socket) -> Iterator[None]:
    """Have Ctrl-C interrupt the worker's code, not this program in the middle of a message."""

    def tell(*_: object) -> None:
        with contextlib.suppress(OSError):  # it has ended
            sock.sendall(encode({"interrupt": True}))

    before = signal.signal(signal.SIGINT, tell)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _interrupts_here() -> Iterator[None]:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
