"""A head that has not come to its end: what can be refused already.

The client may be waiting for an answer, so an error is told at the byte that shows it, and at the same byte however the
bytes are split: a forbidden character at once, a line that breaks the grammar or a rule (a second length, a malformed
host) when it is complete, a limit when it is passed. A missing ``Host``, which only the whole head shows, is found by
``fields`` at its end.
"""

from typing import Final

from spawning.errors import NotHTTP, ProtocolError
from spawning.http import grammar
from spawning.http.fields import FieldsSoFar
from spawning.http.limits import Limits
from spawning.http.line import check_line

_TLS: Final = 22  # ContentType of a handshake (RFC 8446 section 5.1), with which TLS begins


class UnfinishedHead:
    """Looks at each byte and each line of a head once.

    :param limits: of every request.

    :ivar searched: bytes that have been looked at.
    """

    __slots__ = ("_checked", "_count", "_fields", "_limits", "searched")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._checked = 0  # where the line begins that had not come to its end
        self._count = 0  # field lines before it
        self._fields: FieldsSoFar | None = None  # what they say; None: that line is the request line
        self.searched = 0

    def check(self, data: bytes | bytearray, end: int) -> None:
        """Refuse what cannot become a head that is taken.

        :param data: everything of the head, and perhaps more.
        :param end: where the head ends (it may be too long all the same), -1 if that has not come.
        :raises ProtocolError: by the first byte that shows an error.
        """
        start, self.searched = max(0, self.searched - 1), len(data)
        length = len(data) if end < 0 else end + 4
        if length and not (33 <= data[0] <= 126 or data == b"\r"):
            raise NotHTTP("TLS") if data[0] == _TLS else ProtocolError(400, "malformed request line")
        forbidden = grammar.FORBIDDEN.search(data, start, length)
        seen_at = forbidden.end() - 1 if forbidden else length
        limit_at, limit = self._passed(data, end, length)
        self._check_lines(data, start, min(seen_at, limit_at))
        if limit is not None and limit_at < seen_at:
            raise limit
        if forbidden:
            raise ProtocolError(400, _what_is_forbidden(forbidden[0]))

    def _passed(self, data: bytes | bytearray, end: int, length: int) -> tuple[int, ProtocolError | None]:
        """Return which limit is passed, and at which byte: one later than the last that could be a CR."""
        limits = self._limits
        line_end = data.find(b"\r\n", 0, limits.max_line + 2)
        if line_end < 0 and length - 1 > limits.max_line:
            return limits.max_line + 1, ProtocolError(414, "request line too long")
        if (length - 3 if end < 0 else end) > limits.max_head:
            return limits.max_head + 3, ProtocolError(431, "request head too large")
        return length, None

    def _check_lines(self, data: bytes | bytearray, start: int, stop: int) -> None:
        """Check the lines that have come to their end.

        :param start: no line end is before that.
        :param stop: nor is one looked at whose LF is behind that.
        """
        limits = self._limits
        end = data.find(b"\r\n", max(self._checked, start))
        while 0 <= end < stop:
            line = bytes(data[self._checked : end])
            if not line:
                return
            if self._fields is None:
                self._fields = FieldsSoFar(check_line(line, limits.connect))
            elif self._count == limits.max_fields:
                raise ProtocolError(431, "too many header fields")
            else:
                self._fields.check(line.decode("latin-1"))
                self._count += 1
            self._checked = end + 2
            end = data.find(b"\r\n", self._checked)


def _what_is_forbidden(found: bytes) -> str:
    if found == b"\n":
        return "bare line feed"
    return "bare carriage return" if found[:1] == b"\r" else "control character"
