"""The access log: Apache's combined format, the request's duration in seconds appended, and its id if it has one.

The thread that finished a response makes its line at once, while what it needs is at hand, and appends it to a list.
The worker's main thread writes what has gathered, one ``write`` a batch, to a file opened for appending: lines of
several workers do not mix. What a line says of the request (:class:`Entry`) is made together with what its environ is
copied from, so once for equal requests of a connection; and its parts are remembered with what they are made of, since
clients repeat themselves.
"""

import os
import sys
import time
from time import monotonic
from typing import Any, Final

from spawning.errors import ConfigError
from spawning.memo import ENTRY, STRING, Memo

_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MAX_WRITE: Final = 1 << 20  # bytes a write

_Known = Memo[tuple[Any, ...], tuple[str, str]]

# Who asks: how a line begins, and the agent towards its end.
_clients: Final[_Known] = Memo(1024, 1 << 20, 4096)
# What is asked for: the request line, and the referrer.
_requests: Final[_Known] = Memo(1024, 1 << 20, 4096)
_known_client: Final = _clients.get
_known_request: Final = _requests.get

_BRIEF: Final = tuple(f"{microseconds / 1e6:.6f}" for microseconds in range(1000))
"""Durations below a millisecond, written: to write a float takes longer than everything that is looked up."""


class Entry:
    """What a line says of a request, whatever becomes of it: how the line begins, and what goes around the status.

    :param address: of the client, as the application was told.
    """

    __slots__ = ("address", "client", "end", "request")

    def __init__(self, address: str, client: str, request: str, end: str) -> None:
        self.address = address
        self.client = client
        self.request = request
        self.end = end


NO_ENTRY: Final = Entry("", "", "", "")


def entry(environ: dict[str, Any]) -> Entry:
    """Make the entry of a request from its environ, before the application has it."""
    get = environ.get
    who = (get("REMOTE_ADDR"), get("HTTP_USER_AGENT"))
    what = (get("REQUEST_METHOD"), get("RAW_URI"), get("SERVER_PROTOCOL"), get("HTTP_REFERER"))
    client, agent = _known_client(who) or _client(who)
    request, referrer = _known_request(what) or _request(what)
    return Entry(environ["REMOTE_ADDR"], client, request, referrer + agent)


class AccessLog:
    """:meth:`record` from any thread; the rest from the main thread only.

    :param path: a file, ``-`` for stdout.
    :param with_ids: end each line with ``REQUEST_ID``.
    :raises OSError: the file cannot be opened for appending.
    """

    def __init__(self, path: str, *, with_ids: bool = False) -> None:
        self._path = path
        self._with_ids = with_ids
        self._lines: list[str] = []
        self._descriptor = self._open()
        self._time = ""
        self._next_second = 0.0  # monotonic seconds

    @property
    def waiting(self) -> bool:
        return bool(self._lines)

    def _open(self) -> int:
        if self._path == "-":
            return sys.stdout.fileno()
        return os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)

    def reopen(self) -> None:
        """Open the file anew, after it was rotated; the old one stays in use if that fails.

        :raises OSError: the file cannot be opened.
        """
        if self._path != "-":
            self.flush()
            descriptor = self._open()
            os.close(self._descriptor)
            self._descriptor = descriptor

    def flush(self) -> None:
        """Write the gathered lines. A log that cannot be written (disk full) loses lines, not requests."""
        lines = self._lines
        count = len(lines)
        if not count:
            return
        data = "".join(lines[:count]).encode("ascii")
        del lines[:count]
        for start in range(0, len(data), _MAX_WRITE):
            try:
                os.write(self._descriptor, data[start : start + _MAX_WRITE])
            except OSError:
                return

    def record(self, entry: Entry, environ: dict[str, Any], code: int, sent: int, started: float) -> None:
        """Add the line of a response that has just been finished.

        :param entry: of the request.
        :param environ: as the application has left it: it may know who the client is.
        :param code: status code.
        :param sent: bytes of content.
        :param started: (monotonic seconds) when its execution began.
        """
        now = monotonic()
        if now >= self._next_second:
            self._stamp(now)
        client = entry.client
        user, address = environ.get("REMOTE_USER"), environ.get("REMOTE_ADDR")
        if user or address != entry.address:
            client = _begin(address, user)
        seconds = now - started
        duration = _BRIEF[int(seconds * 1e6)] if seconds < 0.001 else f"{seconds:.6f}"
        end = f" {_quoted(environ.get('REQUEST_ID') or None)}\n" if self._with_ids else "\n"
        self._lines.append(f"{client}{self._time}{entry.request}{code} {sent or '-'}{entry.end}{duration}{end}")

    def _stamp(self, now: float) -> None:
        """Write the time of day, for the rest of its second."""
        wall = time.time()
        t = time.localtime(wall)
        offset = t.tm_gmtoff // 60
        sign = "-" if offset < 0 else "+"
        zone = f"{sign}{abs(offset) // 60:02}{abs(offset) % 60:02}"
        self._time = (
            f"{t.tm_mday:02}/{_MONTHS[t.tm_mon - 1]}/{t.tm_year}:{t.tm_hour:02}:{t.tm_min:02}:{t.tm_sec:02} {zone}"
        )
        self._next_second = now + 1 - wall % 1


def _begin(address: object, user: object) -> str:
    return f"{_quoted(address or None)} - {_quoted(user or None)} ["


def _client(who: tuple[Any, ...]) -> tuple[str, str]:
    address, agent = who
    return _remember(_clients, who, (_begin(address, None), f' "{_quoted(agent)}" '))


def _request(what: tuple[Any, ...]) -> tuple[str, str]:
    *line, referrer = what
    return _remember(_requests, what, (f'] "{" ".join(map(_quoted, line))}" ', f' "{_quoted(referrer)}"'))


def _remember(known: _Known, key: tuple[Any, ...], parts: tuple[str, str]) -> tuple[str, str]:
    # The parts hold what the key does, escaped. There are up to four strings in a key.
    known.put(key, parts, ENTRY + 8 * STRING + 2 * (len(parts[0]) + len(parts[1])))
    return parts


def _quoted(value: object) -> str:
    """Escape as Apache does: what a client sent cannot end the field, the line, or reach a terminal. None is a dash."""
    if value is None:
        return "-"
    return _escaped(value if type(value) is str else str(value))


def _escaped(text: str) -> str:
    if text.isascii() and text.isprintable() and '"' not in text and "\\" not in text:
        return text
    return "".join([c if 32 <= ord(c) < 127 and c not in '"\\' else f"\\x{ord(c) & 0xFF:02x}" for c in text])


def check_writable(path: str, origin: str) -> None:
    """See that a log can be written, without creating it for longer than that takes.

    :raises ConfigError: it cannot.
    """
    if path == "-":
        return
    existed = os.path.lexists(path)
    try:
        with open(path, "ab"):
            pass
    except OSError as error:
        raise ConfigError(f"{origin}: cannot write {path}: {error.strerror}") from None
    if not existed:
        os.unlink(path)
