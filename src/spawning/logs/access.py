"""The access log: Apache's combined format, the request's duration in seconds appended, and its id if it has one.

The thread that finished a response appends a record to a list and does nothing else. The worker's main thread formats
and writes what has gathered, one ``write`` a batch, to a file opened for appending: lines of several workers do not
mix.
"""

import os
import sys
import time
from typing import Any, Final

from spawning.errors import ConfigError

_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MAX_WRITE: Final = 1 << 20  # bytes a write

_MOST_KNOWN: Final = 1024  # texts remembered with what they are escaped to, since clients repeat themselves …
_LONGEST_KNOWN: Final = 512  # … of at most so many characters each

_known: dict[str, str] = {}

# environ, status code, bytes of content, duration in seconds
Record = tuple[dict[str, Any], int, int, float]


class AccessLog:
    """Records in, lines out. :meth:`append` from any thread; the rest from the main thread only.

    :param path: a file, ``-`` for stdout.
    :param with_ids: end each line with ``REQUEST_ID``.
    :raises OSError: the file cannot be opened for appending.
    """

    def __init__(self, path: str, *, with_ids: bool = False) -> None:
        self._path = path
        self._with_ids = with_ids
        self._records: list[Record] = []
        self.append = self._records.append
        self._descriptor = self._open()
        self._second = -1
        self._time = ""

    @property
    def waiting(self) -> bool:
        return bool(self._records)

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
        """Write the gathered records. A log that cannot be written (disk full) loses lines, not requests."""
        records = self._records
        count = len(records)
        if not count:
            return
        batch = records[:count]
        del records[:count]
        self._stamp(int(time.time()))
        line = self._line_with_id if self._with_ids else self._line
        data = "".join([line(record) for record in batch]).encode("latin-1", "replace")
        for start in range(0, len(data), _MAX_WRITE):
            try:
                os.write(self._descriptor, data[start : start + _MAX_WRITE])
            except OSError:
                return

    def _stamp(self, second: int) -> None:
        if second != self._second:
            self._second = second
            t = time.localtime(second)
            offset = t.tm_gmtoff // 60
            sign = "-" if offset < 0 else "+"
            zone = f"{sign}{abs(offset) // 60:02}{abs(offset) % 60:02}"
            self._time = (
                f"{t.tm_mday:02}/{_MONTHS[t.tm_mon - 1]}/{t.tm_year}:{t.tm_hour:02}:{t.tm_min:02}:{t.tm_sec:02} {zone}"
            )

    def _line(self, record: Record) -> str:
        environ, code, sent, seconds = record
        get = environ.get
        request = f"{get('REQUEST_METHOD')} {_quoted(get('RAW_URI', '-'))} {get('SERVER_PROTOCOL', 'HTTP/1.1')}"
        return (
            f'{get("REMOTE_ADDR") or "-"} - {_quoted(get("REMOTE_USER") or "-")} [{self._time}] "{request}" '
            f'{code} {sent or "-"} "{_quoted(get("HTTP_REFERER", "-"))}" "{_quoted(get("HTTP_USER_AGENT", "-"))}" '
            f"{seconds:.6f}\n"
        )

    def _line_with_id(self, record: Record) -> str:
        return f"{self._line(record)[:-1]} {_quoted(record[0].get('REQUEST_ID') or '-')}\n"


def _quoted(value: object) -> str:
    """Escape as Apache does: what a client sent cannot end the field, the line, or reach a terminal."""
    text = value if type(value) is str else str(value)
    known = _known.get(text)
    if known is None:
        known = _escaped(text)
        if len(text) <= _LONGEST_KNOWN:
            if len(_known) >= _MOST_KNOWN:
                _known.clear()
            _known[text] = known
    return known


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
