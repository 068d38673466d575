"""The access log: Apache's combined format, the request's duration in seconds appended, and its id if it has one.

The thread that finished a response makes its line at once, while what it needs is at hand, and appends it to a list.
The worker's main thread gives what has gathered to a thread that writes it (``writer.py``), and waits for nothing. What
a line says of the request (:class:`Entry`) is made together with what its environ is
copied from, so once for equal requests of a connection; and its parts are remembered with what they are made of, since
clients repeat themselves.
"""

import re
import time
from time import monotonic
from typing import Any, Final

from spawning.logs.setup import LAST_SECONDS, report_lost, zone
from spawning.logs.writer import Writer
from spawning.memo import ENTRY, STRING, Memo

_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

# Behind the request line, whose quotes are escaped, so that it ends with the second.
_STATUS: Final = re.compile(r'(?<=" )[45][0-9]{2}(?= )')

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


class AccessLog:
    """:meth:`record` from any thread; the rest from the main thread only.

    :param descriptor: open for writing, closed when another one takes its place; -1 is none yet, and lines are lost.
    :param with_ids: end each line with ``REQUEST_ID``.
    :param writer: of another kind than to a descriptor.
    """

    def __init__(self, descriptor: int = -1, *, with_ids: bool = False, writer: Writer | None = None) -> None:
        self._with_ids = with_ids
        self._lines: list[str] = []
        self._writer = writer if writer is not None else Writer(descriptor, report)
        self._zone = zone()
        self._time = ""
        self._offset = ""
        self._next_second = 0.0  # monotonic seconds
        self._lost_before = 0  # lines, of earlier files

    @property
    def waiting(self) -> bool:
        """Whether there is something to be flushed."""
        return bool(self._lines)

    @property
    def lost(self) -> int:
        """How many lines could not be written so far."""
        return self._lost_before + self._writer.lost

    def use(self, descriptor: int) -> None:
        """Write to another file from now on. What was recorded before goes to the old one, whenever that takes it."""
        self.flush()
        before = self._writer
        unreported = before.take_lost()
        self._lost_before += before.lost - unreported
        self._writer = Writer(descriptor, report, lost=unreported)
        before.finish()

    def flush(self) -> None:
        """Have the gathered lines written, without waiting for it."""
        lines = self._lines
        count = len(lines)
        if count:
            self._writer.put("".join(lines[:count]))
            del lines[:count]

    def end(self, seconds: float = LAST_SECONDS) -> None:
        """Have everything written, and wait for it, but not longer than so many seconds; log what is lost."""
        self.flush()
        if not self._writer.drain(seconds) or self._writer.losing:
            report(self._writer.give_up())

    def entry(self, environ: dict[str, Any]) -> Entry:
        """Make the entry of a request from its environ, before the application has it. Any thread, as the next one."""
        get = environ.get
        who = (get("REMOTE_ADDR"), get("HTTP_USER_AGENT"))
        what = (get("REQUEST_METHOD"), get("RAW_URI"), get("SERVER_PROTOCOL"), get("HTTP_REFERER"))
        client, agent = _known_client(who) or _client(who)
        request, referrer = _known_request(what) or _request(what)
        return Entry(environ["REMOTE_ADDR"], client, request, referrer + agent)

    def begun_entry(self, address: str, begun: bytes) -> Entry:
        """Make the entry of a request that was refused before its head was read; nothing of it is remembered.

        :param address: of the client.
        :param begun: the request line as far as it has come.
        """
        line = quoted(begun.decode("latin-1") or None)
        return Entry(address, _begin(address, None), f'] "{line}" ', ' "-" "-" ')

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
        end = f" {quoted(environ.get('REQUEST_ID') or None)}\n" if self._with_ids else "\n"
        self._lines.append(f"{client}{self._time}{entry.request}{code} {sent or '-'}{entry.end}{duration}{end}")

    def _stamp(self, now: float) -> None:
        """Write the time of day, for the rest of its second."""
        wall = time.time()
        t, offset = self._zone.local(int(wall))
        self._time = (
            f"{t.tm_mday:02}/{_MONTHS[t.tm_mon - 1]}/{t.tm_year}:{t.tm_hour:02}:{t.tm_min:02}:{t.tm_sec:02} {offset}"
        )
        self._next_second = now + 1 - wall % 1


class ColouredAccessLog(AccessLog):
    """The same for a terminal: statuses of errors are in colours. To find them in the finished lines costs the requests
    nothing.
    """

    def flush(self) -> None:
        """Have the gathered lines written, without waiting for it."""
        lines = self._lines
        for number in range(len(lines)):
            lines[number] = _STATUS.sub(_in_colours, lines[number], count=1)
        super().flush()


def _in_colours(status: re.Match[str]) -> str:
    return f"\x1b[{31 if status[0][0] == '5' else 33}m{status[0]}\x1b[0m"


def _begin(address: object, user: object) -> str:
    return f"{quoted(address or None)} - {quoted(user or None)} ["


def _client(who: tuple[Any, ...]) -> tuple[str, str]:
    address, agent = who
    return _remember(_clients, who, (_begin(address, None), f' "{quoted(agent)}" '))


def _request(what: tuple[Any, ...]) -> tuple[str, str]:
    *line, referrer = what
    return _remember(_requests, what, (f'] "{" ".join(map(quoted, line))}" ', f' "{quoted(referrer)}"'))


def _remember(known: _Known, key: tuple[Any, ...], parts: tuple[str, str]) -> tuple[str, str]:
    # The parts hold what the key does, escaped. There are up to four strings in a key.
    known.put(key, parts, ENTRY + 8 * STRING + 2 * (len(parts[0]) + len(parts[1])))
    return parts


def quoted(value: object) -> str:
    """Escape as Apache does: what a client sent cannot end the field, the line, or reach a terminal. None is a dash."""
    if value is None:
        return "-"
    return escaped_text(value if type(value) is str else text_of(value))


def text_of(value: object) -> str:
    """Return a text, or show what an application has put into the environ in place of a string."""
    try:
        return str(value)
    # boundary: how it is shown is the application's code, and the response is under way
    except Exception:
        return type(value).__name__


def escaped_text(text: str) -> str:
    if text.isascii() and text.isprintable() and '"' not in text and "\\" not in text:
        return text
    return "".join([c if 32 <= ord(c) < 127 and c not in '"\\' else f"\\x{ord(c) & 0xFF:02x}" for c in text])


def report(count: int) -> None:
    report_lost(count, "access")
