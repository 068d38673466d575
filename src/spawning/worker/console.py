"""A Python console in a worker: what a person types is executed beside the requests (``--backdoor``).

The controller has looked at who asks, and hands over the connection of ``spawnctl console``; ``ipc/control.py`` has the
conversation. A console has two threads of its own, and the worker waits for neither at its end:

* The *reader* takes what the person sends, so that Ctrl-C arrives and an end of the connection is seen while something
  is executed. It alone interrupts the executor.
* The *executor* executes it, and is the only one that sends.

``_lines`` is what the reader has for the executor, behind a condition. To interrupt, the reader has to take the token
out of ``_window``, a list; the executor puts it in before it executes something, and takes it out again, also while it
sends. Both are atomic, so exactly one of the two succeeds. An executor that finds its token gone waits until the
exception has arrived, so that it never strikes later, where it could leave half a message behind.

While something is executed, ``sys.stdout`` and ``sys.stderr`` are objects that send on what this thread writes and give
all else to the streams before them.
"""

import os
import sys
import traceback
from codeop import CommandCompiler
from collections import deque
from contextlib import suppress
from platform import python_version
from socket import SHUT_RDWR
from time import sleep
from types import CodeType
from typing import Any, Final

from spawning.ipc.control import MAX_QUESTION, decode, encode
from spawning.logs.log import Log
from spawning.logs.setup import fields
from spawning.primitives import Condition, ServerThread, get_ident, open_socket, socket
from spawning.worker.interrupt import interrupt
from spawning.wsgi import forked

MOST_LINES: Final = 1000  # that may wait to be executed; `spawnctl` sends the next one when it is asked to
MOST_SOURCE: Final = 2**20  # characters of a statement of several lines
_PIECE: Final = 2**14  # characters of output in one message
_STEPS: Final = 100  # of the interpreter, by the first of which an exception that was set has arrived
_FILE: Final = "<console>"

log = Log("spawning.worker")


class Backdoor:
    """The one console that a worker may have at a time. Main thread.

    :param worker: its name.
    :param allowed: somebody has said ``--backdoor``.
    :param names: what code at the console can use: name to object.
    """

    def __init__(self, worker: str, allowed: bool, names: dict[str, Any]) -> None:
        self._worker = worker
        self._allowed = allowed
        self._names = names
        self._console: Console | None = None

    def open(self, fd: int) -> None:
        """Begin a console, or say why not.

        :param fd: the connected socket, which is closed at the end.
        """
        sock = open_socket(fd, blocking=True)
        if not self._allowed:
            _refuse(sock, "there are no consoles here: the server was started without --backdoor")
            return
        if self._console is not None and self._console.is_alive:
            _refuse(sock, f"worker {self._worker} has a console already, or what was executed there has not ended yet")
            return
        console = Console(sock, self._worker, self._names)
        try:
            console.start()
        except RuntimeError:
            _refuse(sock, "the system gives no more threads")
            return
        self._console = console

    def close_in_child(self) -> None:
        """Close the connection in a process that the application has forked."""
        if self._console is not None:
            self._console.close_in_child()


def _refuse(sock: socket, reason: str) -> None:
    with suppress(OSError), sock:
        sock.sendall(encode({"error": reason}))


class Console:
    """See the module.

    :param sock: the connection, which blocks.
    :param worker: the worker's name.
    :param names: what the code can use.
    """

    def __init__(self, sock: socket, worker: str, names: dict[str, Any]) -> None:
        self._sock = sock
        self._worker = worker
        self._namespace = {"__name__": "__console__", "exit": _leave, "quit": _leave, **names}
        self._names = sorted(names)
        self._compile = CommandCompiler()
        self._source: list[str] = []  # of a statement that is not complete
        self._arrived = Condition()
        self._lines: deque[str | None] = deque()  # None: start the statement anew
        self._ended = False  # the person has gone, or sends what is no line
        self._reason = ""  # why the worker ends it
        self._window: list[None] = []
        self._raised = False  # the exception has been set
        self._missed = False  # the reader was to interrupt, and found no token
        self._pid = os.getpid()
        self._executor = _Thread(f"console of worker {worker}", self._execute_all)
        self._reader = _Thread(f"reader of the console of worker {worker}", self._read_all)

    def start(self) -> None:
        """Start both threads.

        :raises RuntimeError: the system gives no more threads.
        """
        self._executor.start()
        try:
            self._reader.start()
        except RuntimeError:
            self._end()
            raise

    @property
    def is_alive(self) -> bool:
        """Whether something may still be executed."""
        return self._executor.is_alive()

    def close_in_child(self) -> None:
        with suppress(OSError):
            os.close(self._sock.detach())  # the reader has not closed its file, nor ever will there

    # The reader ------------------------------------------------------------------------------------------------------

    def _read_all(self) -> None:
        try:
            with self._sock.makefile("rb") as lines:
                while not self._ended and (line := lines.readline(MAX_QUESTION + 1)):
                    self._take(line)
        except OSError as error:
            log.debug("console ends %s", fields(worker=self._worker, reason=error))
        except ValueError as error:
            self._reason = f"what was sent to the console cannot be read: {error}"
        self._end()
        self._interrupt()

    def _take(self, line: bytes) -> None:
        """Take a line of the conversation.

        :raises ValueError: it is none, or too much.
        """
        if len(line) > MAX_QUESTION:
            raise ValueError(f"a line of more than {MAX_QUESTION} bytes")
        said = decode(line)
        if said.get("interrupt"):
            self._interrupt()
            return
        with self._arrived:
            if len(self._lines) >= MOST_LINES:
                raise ValueError("too many lines wait")
            self._missed = False  # what was said before meant something else
            self._lines.append(None if said.get("cancel") else str(said.get("line", "")))
            self._arrived.notify_all()

    def _end(self) -> None:
        with self._arrived:
            self._ended = True
            self._arrived.notify_all()

    def _interrupt(self) -> None:
        """Raise in the executor; if it sends something at this moment, it does that itself behind it."""
        if not self._raise_inside():
            self._missed = True
            if self._raise_inside():  # it has come back from sending before it could see that
                self._missed = False

    def _raise_inside(self) -> bool:
        """Raise in the executor; False: that would not be inside what it executes."""
        try:
            self._window.pop()
        except IndexError:
            return False
        interrupt(self._executor.ident or 0, KeyboardInterrupt)
        self._raised = True
        return True

    # The executor ----------------------------------------------------------------------------------------------------

    def _execute_all(self) -> None:
        log.warning("console opened %s", fields(worker=self._worker, pid=self._pid))
        about = {"worker": self._worker, "pid": self._pid, "python": python_version(), "names": self._names}
        with suppress(OSError):  # the person has gone
            self._send({"ok": about})
            while not self._ended and self._asked():
                pass
            self._send({"ended": self._reason})
        self._end()
        with suppress(OSError):
            self._sock.shutdown(SHUT_RDWR)  # so that the reader sees the end
        self._sock.close()
        log.warning("console closed %s", fields(worker=self._worker, pid=self._pid))

    def _asked(self) -> bool:
        """Ask for a line and execute it, if it completes a statement; False: that was the last one."""
        self._send({"more": bool(self._source)})
        with self._arrived:
            while not self._lines and not self._ended:
                self._arrived.wait()
            if self._ended:
                return False
            line = self._lines.popleft()
        if line is None:
            self._source.clear()
            return True
        self._source.append(line)
        code = self._compiled("\n".join(self._source))
        if code is None:
            return True
        self._source.clear()
        return self._executed(code)

    def _compiled(self, source: str) -> CodeType | None:
        """Return the code of a statement; None: it is not complete, or wrong, which the person is told."""
        if len(source) > MOST_SOURCE:
            self._source.clear()
            self._write(f"a statement of more than {MOST_SOURCE} characters is too much\n")
            return None
        try:
            return self._compile(source, _FILE, "single")
        except (OverflowError, SyntaxError, ValueError, RecursionError, MemoryError) as error:
            self._source.clear()
            self._write("".join(traceback.format_exception_only(error)))
            return None

    def _executed(self, code: CodeType) -> bool:
        """Execute; False: the code wants the console to end."""
        failure: BaseException | None = None
        streams = _Streams(self)
        try:
            try:
                self._enter_window()
                if not self._ended:  # else the reader has looked into the window for the last time
                    exec(code, self._namespace)
            finally:
                self._leave_window()
        # boundary: it may raise anything, and so may what the person interrupts
        except BaseException as error:
            failure = error
        finally:
            streams.restore()
        if os.getpid() != self._pid:
            forked.leave(failure)
        if failure is None:
            return True
        if isinstance(failure, SystemExit):
            return False
        self._write(_shown(failure))
        return True

    def _enter_window(self) -> None:
        """Let the reader interrupt from now on.

        :raises KeyboardInterrupt: it was to do so before.
        """
        self._raised = False
        self._window.append(None)
        if self._missed:
            self._missed = False
            raise KeyboardInterrupt

    def _leave_window(self) -> None:
        """Let nobody interrupt any more.

        :raises KeyboardInterrupt: somebody has, a moment ago.
        """
        try:
            self._window.pop()
        except IndexError:
            while not self._raised:
                sleep(0.0005)  # the reader is between two lines
            for _ in range(_STEPS):
                sleep(0)

    def display(self, value: object) -> None:
        """Show what an expression has given. Not as ``sys.displayhook`` does: to set ``builtins._`` would replace the
        function that ``gettext`` has put there for the application.
        """
        if value is not None:
            self._namespace["_"] = value
            self._write(f"{value!r}\n")

    def _write(self, text: str) -> None:
        for start in range(0, len(text), _PIECE):
            self._send({"output": text[start : start + _PIECE]})

    def write_inside(self, text: str) -> None:
        """Send what the code writes. Nobody interrupts in the middle of that.

        :raises OSError: the person has gone.
        :raises KeyboardInterrupt: somebody has interrupted.
        """
        self._leave_window()
        try:
            self._write(text)
        finally:
            self._enter_window()

    def _send(self, values: dict[str, Any]) -> None:
        self._sock.sendall(encode(values))


class _Thread(ServerThread):
    def __init__(self, name: str, work: Any) -> None:
        super().__init__(name)
        self._work = work

    def run(self) -> None:
        self._work()


class _Streams:
    """The streams while a console executes something. They are what they were before, unless somebody has replaced them
    meanwhile.
    """

    def __init__(self, console: Console) -> None:
        self._hook = sys.displayhook
        self._ours = {name: _Stream(console, getattr(sys, name)) for name in ("stdout", "stderr")}
        for name, stream in self._ours.items():
            setattr(sys, name, stream)
        sys.displayhook = console.display

    def restore(self) -> None:
        sys.displayhook = self._hook
        for name, stream in self._ours.items():
            stream.console = None
            if getattr(sys, name) is stream:
                setattr(sys, name, stream.before)


class _Stream:
    """One of them. Any thread.

    :ivar console: None: it has ended, and somebody has kept this object.
    :ivar before: the stream in whose place it is.
    """

    def __init__(self, console: Console, before: Any) -> None:
        self.console: Console | None = console
        self.before = before
        self._ident = get_ident()

    def write(self, text: str) -> int:
        console = self.console
        if console is None or get_ident() != self._ident:
            written: int = self.before.write(text)
            return written
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        console.write_inside(text)
        return len(text)

    def writelines(self, lines: Any) -> None:
        for each in lines:
            self.write(each)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.before, name)


def _leave(status: object = None) -> None:
    """End the console, as a person expects of ``exit``; that of ``site`` would close stdin."""
    raise SystemExit(status)


def _shown(error: BaseException) -> str:
    """Return the traceback, without what is above the code."""
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename == __file__:
        trace = trace.tb_next
    return "".join(traceback.format_exception(type(error), error, trace))
