"""Requests that take too long (``--request-timeout``): named in the log, interrupted, and given up if that fails.

The main thread looks once a second. It logs the stack of the thread and has :class:`RequestTimeout` raised in it. The
interpreter does that at the thread's next step in Python, so a thread that waits in C (for a socket, a lock) gets it
when the wait is over; if that takes too long as well, the request is *stuck*. The worker asks to be replaced after each
interruption: it may have struck a library between taking a lock and the ``try`` that gives it back, and then the
next thread that needs the lock waits for ever.

Where the exception may strike. Only inside the application: never in the code that sends, where it could leave a lock
taken, and never in a thread that has finished the request. Each call of the application (itself, one step of its
iterable, ``close``) puts a token, the time, into its ``window``, a list, and takes it out again; the main thread has
to take it out before it raises. Both are atomic, so exactly one of the two succeeds. A thread that finds its token gone
waits until the exception has been set, takes it back if it has not arrived yet, and raises it itself. So nothing is
left behind that could strike later. A request is interrupted once; from then on the application cannot send
anything for it.
"""

from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import suppress
from time import monotonic, sleep
from typing import Any, Final

from spawning.errors import RequestTimeout
from spawning.logs.log import Log
from spawning.primitives import get_ident
from spawning.worker.dispatch import Dispatch
from spawning.worker.executor import stack_of
from spawning.worker.interrupt import interrupt, receive
from spawning.worker.loop import Loop
from spawning.wsgi.blocks import HAVE_ALL
from spawning.wsgi.environ import Environ
from spawning.wsgi.exchange import Exchange, ExcInfo, WSGIApplication
from spawning.wsgi.files import FileWrapper
from spawning.wsgi.names import method_of, path_of, shown
from spawning.wsgi.request_id import id_at_end

PATIENCE: Final = 5.0  # seconds that an interrupted request may take to end
INTERRUPTED: Final = "a request was interrupted (--request-timeout)"
STUCK: Final = "a request is stuck (--request-timeout)"

log = Log("spawning.worker")


class Timeouts:
    """The requests under way in a worker, and how long they may take.

    :param worker: its name, for the log.
    :param seconds: that the application may take, or go on without sending anything.
    :param call: makes the application as one exchange sees it.
    """

    def __init__(
        self, worker: str, seconds: float, call: "Callable[[Exchange, WSGIApplication], Call] | None" = None
    ) -> None:
        self._worker = worker
        self._seconds = seconds
        self._call = call or Call
        self._calls: dict[int, Call] = {}  # by thread

    def run(self, exchange: Exchange, application: WSGIApplication) -> None:
        """Run an exchange so that it can be interrupted. The thread that owns it."""
        call = self._call(exchange, application)
        self._calls[call.ident] = call
        try:
            exchange.run(call)
        finally:
            del self._calls[call.ident]

    def look(self, now: float) -> str:
        """Interrupt what takes too long. Main thread.

        :param now: monotonic seconds.
        :returns: why the worker is to be replaced, as far as that is new; empty when it is not.
        """
        found = ""
        for call in list(self._calls.values()):
            if call.is_stuck(now) and not call.given_up:
                call.given_up = True
                found = STUCK
                log.error("request stuck %s", self._names(call, now))
            elif call.claim(now - self._seconds):
                log.error("request timed out %s\n%s", self._names(call, now), call.stack())
                if call.interrupt():
                    found = found or INTERRUPTED
        return found

    @property
    def stuck(self) -> set[Exchange]:
        """The exchanges that were interrupted in vain and are still under way."""
        return {call.exchange for call in list(self._calls.values()) if call.given_up}

    def _names(self, call: "Call", now: float) -> str:
        exchange = call.exchange
        environ = exchange.environ
        path, seconds = shown(path_of(environ)), now - exchange.started
        method, end = method_of(environ), id_at_end(environ)
        return f"worker={self._worker} method={method} path={path} seconds={seconds:.1f}{end}"


class Call:
    """The application, as one exchange sees it. For the thread that runs the exchange, but for what says otherwise.

    :ivar claimed: the watchdog is about to interrupt it, or has.
    :ivar interrupted_at: (monotonic seconds) when the exception was set; 0: it was not.
    :ivar given_up: it has not ended in time after that.
    :ivar untimed: it has taken its connection (``wsgi.tunnel``), and may go on for as long as it likes.
    """

    __slots__ = ("_application", "_window", "claimed", "exchange", "given_up", "ident", "interrupted_at", "untimed")

    def __init__(self, exchange: Exchange, application: WSGIApplication) -> None:
        self.exchange = exchange
        self.ident = get_ident()
        self.claimed = False
        self.interrupted_at = 0.0
        self.given_up = False
        self.untimed = False
        self._application = application
        self._window: list[float] = []

    def __call__(self, environ: Environ, start_response: object) -> Iterable[bytes]:
        environ["wsgi.early_hints"] = self._hint
        if "spawning.socket" in environ:
            environ["spawning.socket"].before = self._untime
        result: Iterable[bytes] = self.inside(self._application, environ, self._start_response)
        if type(result) in (list, tuple) or (type(result) is FileWrapper and result.extent() is not None):
            return result
        return Blocks(self, result)

    def inside(self, function: Callable[..., Any], *arguments: object) -> Any:
        """Call a function of the application, which may be interrupted.

        :raises RequestTimeout: it was, now or before.
        """
        if self.interrupted_at:
            raise RequestTimeout
        try:
            if not self.untimed:
                self._window.append(monotonic())
            return function(*arguments)
        finally:
            self._leave()

    def _leave(self) -> bool:
        """Let nobody interrupt any more; False: nobody could have."""
        try:
            self._window.pop()
        except IndexError:
            while self.claimed and not self.interrupted_at:
                sleep(0.0005)  # the other side is between two lines
            if self.interrupted_at:
                self._receive()
                raise RequestTimeout from None
            return False
        return True

    def _receive(self) -> None:
        """Have the exception arrive now, unless it has."""
        receive(RequestTimeout)

    def _start_response(
        self, status: str, headers: list[tuple[str, str]], exc_info: ExcInfo | None = None
    ) -> Callable[[bytes], None]:
        self.exchange.start_response(status, headers, exc_info)
        return self._write

    def _write(self, data: bytes) -> None:
        was_inside = self._leave()
        try:
            self.exchange.write(data)
        finally:
            if was_inside:
                self._window.append(monotonic())

    def _hint(self, headers: list[tuple[str, str]]) -> None:
        was_inside = self._leave()
        try:
            self.exchange(headers)
        finally:
            if was_inside:
                self._window.append(monotonic())

    def _untime(self) -> None:
        """Let nobody interrupt from now on.

        :raises RequestTimeout: somebody has, a moment ago.
        """
        self.untimed = True
        if self._is_current():
            self._leave()
        else:  # a thread of the application, which is not to be interrupted in any case
            with suppress(IndexError):
                self._window.pop()

    def _is_current(self) -> bool:
        return get_ident() == self.ident

    # -- the main thread ----------------------------------------------------------------------------------------------

    def is_stuck(self, now: float) -> bool:
        return bool(self.interrupted_at) and now - self.interrupted_at >= PATIENCE

    def claim(self, before: float) -> bool:
        """If the application was entered before that time and has not returned: get the right, and the duty, to
        :meth:`interrupt` it.
        """
        try:
            entered = self._window[-1]
            if entered >= before:
                return False
            self.claimed = True
            self._window.remove(entered)
        except (IndexError, ValueError):  # it has returned meanwhile
            self.claimed = False
            return False
        return True

    def interrupt(self) -> bool:
        """Raise in the thread.

        :returns: whether that may strike between any two steps of it, and leave behind it anything half done.
        """
        interrupt(self.ident, RequestTimeout)
        self.interrupted_at = monotonic()
        return True

    def stack(self) -> str:
        """Return where it is, as a traceback shows it."""
        return stack_of(self.ident)


class Blocks:
    """The iterable that the application returned, each step of which may be interrupted."""

    __slots__ = ("_blocks", "_call", "_iterator")

    _iterator: Iterator[bytes]

    def __init__(self, call: Call, blocks: Iterable[bytes]) -> None:
        self._call = call
        self._blocks = blocks

    def __iter__(self) -> Iterator[bytes]:
        iterator: Iterator[bytes] = self._call.inside(iter, self._blocks)
        if type(iterator) in HAVE_ALL:
            return iterator  # no step of it is the application's
        self._iterator = iterator
        return self

    def __next__(self) -> bytes:
        block: bytes = self._call.inside(next, self._iterator)
        return block

    def close(self) -> None:
        """Close it, also behind an interruption (PEP 3333: whatever has happened)."""
        close = getattr(self._blocks, "close", None)
        if close is None:
            return
        if self._call.interrupted_at:
            close()
        else:
            self._call.inside(close)


def nothing_but(stuck: Collection[Exchange], dispatch: Dispatch, loop: Loop) -> bool:
    """Whether a retired worker has nothing left to do but what is stuck. Main thread."""
    executing = dispatch.executor.executing + len(dispatch.lead.box)
    return executing <= len(stuck) and loop.connections <= len(stuck) and not loop.ferries
