"""Reading a request line: method, target and version (RFC 9112 section 3).

All clients together ask for the same few targets, so recent lines are kept with what was read from them, within bounds.
A line is kept up to its second space: the version behind it is a part of the block that a client repeats (``fields``).
"""

from typing import Any, Final
from urllib.parse import unquote_to_bytes

from spawning.errors import ProtocolError
from spawning.http import grammar
from spawning.memo import ENTRY, STRING, Memo

MAX_REMEMBERED_LINE: Final = 256  # bytes of a request line that is remembered
SIZE_OF_LINE: Final = ENTRY + 128 + 6 * STRING  # bytes that a request line takes, beside five times what was sent


class RequestLine:
    """Method and target of a request.

    ``path`` is percent-decoded, one character an octet (latin-1), as PEP 3333 wants it; ``query`` is not decoded;
    ``target`` is what the client sent, likewise one character an octet; ``host`` is the authority of an absolute-form
    target, otherwise empty; ``plain`` tells that the response has the content that its status and fields announce (so
    neither HEAD nor CONNECT); ``memo`` is whatever the layer above derived from this line, and is dropped with it.
    """

    __slots__ = ("host", "memo", "method", "path", "plain", "query", "target")

    def __init__(self, method: str, target: str, path: str, query: str, host: str) -> None:
        self.method = method
        self.target = target
        self.path = path
        self.query = query
        self.host = host
        self.plain = method not in ("HEAD", "CONNECT")
        self.memo: Any = None


_lines: Final[Memo[bytes, RequestLine]] = Memo(1024, 1 << 20, 4096)
known_line: Final = _lines.get  # the line of these bytes, if it is remembered


def end_of_target(head: bytes) -> int:
    """Return where the second space is.

    :raises ProtocolError: it is not in the request line.
    """
    end = head.find(b" ", head.find(b" ") + 1)
    if not 0 < end < head.find(b"\r\n"):
        raise ProtocolError(400, "malformed request line")
    return end


def read_line(data: bytes, connect: bool) -> RequestLine:
    """Read a method and a target, and remember them.

    :param data: the request line up to its second space.
    :param connect: CONNECT is left to the application; otherwise it is refused.
    :raises ProtocolError: it breaks the grammar.
    """
    match = grammar.METHOD_AND_TARGET.fullmatch(data.decode("latin-1"))
    if match is None:
        raise ProtocolError(400, "malformed request line")
    method, target = match.groups()
    host = ""
    path = target
    if method == "CONNECT":
        return _read_connect(target, connect)
    if not target.startswith("/"):
        path, host = _other_form(method, target)
    path, _, query = path.partition("?")
    if "#" in target:
        raise ProtocolError(400, "fragment in the request target")
    line = RequestLine(method, target, unquote_to_bytes(path.encode("latin-1")).decode("latin-1"), query, host)
    if len(data) <= MAX_REMEMBERED_LINE:
        _lines.put(data, line, SIZE_OF_LINE + 5 * len(data))
    return line


def read_version(text: str) -> int:
    """Read what stands behind a target, from the space on: the minor version, 0 or 1.

    :raises ProtocolError: it breaks the grammar, or is another major version.
    """
    match = grammar.VERSION.fullmatch(text)
    if match is None:
        raise ProtocolError(400, "malformed HTTP version")
    if match[1] != "1":
        raise ProtocolError(505, "HTTP version not supported")
    return min(int(match[2]), 1)  # a higher one is answered as the highest that is known (RFC 9110 section 2.5)


def check_line(data: bytes, connect: bool) -> int:
    """Read a whole request line without keeping it, the version first: another one may have targets of other forms.

    :param data: the line without its end.
    :param connect: as in :func:`read_line`.
    :returns: the minor version, as :func:`read_version` does.
    :raises ProtocolError: it breaks the grammar.
    """
    end = end_of_target(data + b"\r\n")
    if not grammar.METHOD_AND_TARGET.fullmatch(data[:end].decode("latin-1")):
        raise ProtocolError(400, "malformed request line")
    minor = read_version(data[end:].decode("latin-1"))
    if data[:end] not in _lines:
        read_line(data[:end], connect)
    return minor


def _read_connect(target: str, allowed: bool) -> RequestLine:
    """Read a target in authority-form (RFC 9112 section 3.2.3). Never remembered: only some readers take it."""
    if not allowed:
        raise ProtocolError(501, "CONNECT is not implemented")
    if not grammar.AUTHORITY.fullmatch(target):
        raise ProtocolError(400, "malformed request target")
    return RequestLine("CONNECT", target, "", "", target)


def _other_form(method: str, target: str) -> tuple[str, str]:
    """Read a target that is not in origin-form (RFC 9112 section 3.2); gives path with query, and host."""
    if target == "*" and method == "OPTIONS":
        return "", ""  # no path, since one begins with a slash (RFC 3875 section 4.1.5); the target says which it was
    match = grammar.ABSOLUTE.fullmatch(target)
    if match is None or not grammar.HOST.fullmatch(match[1]):
        raise ProtocolError(400, "malformed request target")
    path = match[2]
    return (path if path.startswith("/") else "/" + path), match[1]
