"""Reading header fields: the block of a head behind the request target, and what it says about framing.

Two blocks of a client, or of all clients behind a proxy, seldom differ in more than two or three lines. So the recent
lines are kept with what was read from them, and the recent blocks too. Both are bounded.
"""

from typing import Any, Final

from spawning.errors import ProtocolError
from spawning.http import grammar
from spawning.http.line import read_version
from spawning.memo import ENTRY, STRING, Memo

_MAX_REMEMBERED_BLOCK: Final = 4096  # bytes of a header block that is remembered

# Fields that a request may have once only; a second one would let two parsers disagree (RFC 9110 section 5.3) on where
# the request ends, where it goes, who asks or what is wanted. Others of one value (User-Agent, Origin) only inform.
# They are joined like a list, so an application that compares the value finds neither of the two.
_SINGLE: Final = frozenset(
    {
        "authorization", "content-length", "content-location", "content-range", "content-type", "host",
        "if-modified-since", "if-range", "if-unmodified-since", "max-forwards", "proxy-authorization", "range",
        "transfer-encoding",
    }
)  # fmt: skip

_SIZE_OF_FIELDS: Final = ENTRY + 4096  # bytes of ``Fields`` and of the environ that is made of it …
_SIZE_OF_FIELD: Final = ENTRY + 256 + 5 * STRING  # … and of each field in them

_MINORS: Final = {" HTTP/1.0": 0, " HTTP/1.1": 1}


class Field:
    """One header field (RFC 9110 section 5).

    :ivar name: as sent.
    :ivar value: without surrounding whitespace.
    :ivar lower: the name in lower case.
    :ivar counts: there may be one only, or it says something about framing, the connection or what is expected.
    :ivar options: which of ``close`` and ``keep-alive`` it says if it is ``Connection``.
    :ivar is_host: it is ``Host`` and has the form of one.
    :ivar memo: whatever the layer above derived from it; it is dropped with it.
    """

    __slots__ = ("counts", "is_host", "lower", "memo", "name", "options", "value")

    def __init__(self, name: str, value: str) -> None:
        self.name = name
        self.value = value
        self.lower = lower = name.lower()
        self.options: tuple[str, ...] = ()
        self.is_host = False
        self.counts = lower in _SINGLE or lower in ("expect", "upgrade")
        self.memo: Any = None
        if lower == "connection":
            self.options = _options(value)
            self.counts = bool(self.options)
        elif self.counts:
            self.is_host = lower == "host" and grammar.HOST.fullmatch(value) is not None


class Fields:
    """Everything of a head behind the request target: version, header fields, and what they say about framing.

    :ivar minor: 0 or 1, of HTTP/1.0 or HTTP/1.1.
    :ivar all: the header fields, in order.
    :ivar content_length: bytes of the body that follows; 0 when there is none or it is chunked.
    :ivar keep_alive: the client wants the connection to persist (RFC 9112 section 9.3).
    :ivar upgrades: the client would like to go on with another protocol (RFC 9110 section 7.8).
    :ivar memo: whatever the layer above derived from these fields; it is dropped with them.
    """

    __slots__ = ("all", "chunked", "content_length", "expects_continue", "keep_alive", "memo", "minor", "upgrades")

    def __init__(self, minor: int, fields: list[Field]) -> None:
        self.minor = minor
        self.all = fields
        self.content_length = 0
        self.chunked = False
        self.keep_alive = minor == 1
        self.expects_continue = False
        self.upgrades = False
        self.memo: Any = None

    def closing(self) -> "Fields":
        """Return the same fields, but the connection ends with this request."""
        fields = Fields(self.minor, self.all)
        fields.content_length, fields.chunked = self.content_length, self.chunked
        fields.expects_continue, fields.upgrades = self.expects_continue, self.upgrades
        fields.keep_alive = False
        return fields


# What is seen for the first time is None here: most of it never comes again, and would be in the way of what does.
_blocks: Final[Memo[bytes, Fields | None]] = Memo(128, 4 << 20, 1 << 20)
_lines: Final[Memo[str, Field | None]] = Memo(1024, 1 << 20, 2048)
_known_block: Final = _blocks.get
_known_line: Final = _lines.get


def _options(value: str) -> tuple[str, ...]:
    said = [option.strip(" \t").lower() for option in value.split(",")]
    return tuple([option for option in ("close", "keep-alive") if option in said])


def read_fields(block: bytes, most: int) -> Fields:
    """Read a header block.

    :param block: what is behind the request target, from the space before the version to the empty line.
    :param most: fields that there may be.
    :raises ProtocolError: it breaks the grammar or a rule.
    """
    fields = _known_block(block)
    if fields is None:
        fields = _read(block, most)
        if len(block) <= _MAX_REMEMBERED_BLOCK:
            if block in _blocks:
                _blocks.put(block, fields, size_of(block, fields))
            else:
                _blocks.put(block, None, ENTRY + STRING + len(block))
    return fields


def size_of(block: bytes, fields: Fields) -> int:
    """Return how many bytes a header block takes at most, with what is read from it and what an environ is made of.

    Each name is kept as sent, in lower case and as a key of an environ, each value once more if a field is repeated.
    """
    return _SIZE_OF_FIELDS + len(fields.all) * _SIZE_OF_FIELD + 5 * len(block)


def _read(block: bytes, most: int) -> Fields:
    version, *lines = block.decode("latin-1").split("\r\n")
    minor = _MINORS.get(version)
    if minor is None:
        minor = read_version(version)
    del lines[-2:]  # what is behind the last line, and the empty one
    if len(lines) > most:
        raise ProtocolError(431, "too many header fields")
    fields = Fields(minor, [_known_line(line) or _read_field(line) for line in lines])
    _interpret(fields)
    return fields


def _read_field(line: str) -> Field:
    match = grammar.FIELD.fullmatch(line)
    if match is None:
        raise ProtocolError(400, _what_is_wrong(line))
    name, value = match.groups()
    field = Field(name, value.rstrip(" \t"))
    _lines.put(line, field if line in _lines else None, _SIZE_OF_FIELD + 5 * len(line))
    return field


def _what_is_wrong(line: str) -> str:
    """Show it in a log."""
    name, colon, _ = line.partition(":")
    if line[:1] in (" ", "\t"):
        return "folded header field"
    if not colon:
        return "header line without a colon"
    if name != name.rstrip(" \t"):
        return "space before the colon of a header field"
    return "forbidden character in a header field"


def _repeated(field: Field) -> ProtocolError:
    return ProtocolError(400, f"repeated {field.lower} field")


def _interpret(fields: Fields) -> None:
    """Find out what the fields say about framing and connection, and refuse what is ambiguous."""
    single: dict[str, Field] = {}
    options: tuple[str, ...] = ()
    expectations = ""
    for field in fields.all:
        if field.counts:
            if field.options:
                options += field.options
            elif field.lower == "expect":
                expectations += f"{field.value},"
            elif field.lower in single and field.lower != "upgrade":
                raise _repeated(field)
            else:
                single[field.lower] = field
    fields.upgrades = "upgrade" in single and fields.minor == 1  # of HTTP/1.0 it is ignored (RFC 9110 section 7.8)
    host = single.get("host")
    if host is None:
        if fields.minor == 1:
            raise ProtocolError(400, "no host field")
    elif not host.is_host:
        raise ProtocolError(400, "malformed host field")
    _read_framing(fields, single.get("transfer-encoding"), single.get("content-length"))
    if expectations:
        _check_expectations(expectations[:-1])
        fields.expects_continue = True
    if "close" in options:
        fields.keep_alive = False
    elif "keep-alive" in options:
        fields.keep_alive = True


def _check_expectations(value: str) -> None:
    """Refuse everything but ``100-continue``, which may be said more than once (RFC 9110 section 10.1.1)."""
    if {each.strip(" \t").lower() for each in value.split(",")} != {"100-continue"}:
        raise ProtocolError(417, "unknown expectation")


def _read_framing(fields: Fields, coding: Field | None, length: Field | None) -> None:
    """RFC 9112 section 6.3, without its leniency: what two parsers could read in two ways is refused."""
    if coding is not None:
        if fields.minor == 0:
            raise ProtocolError(400, "transfer-encoding in HTTP/1.0")
        if length is not None:
            raise ProtocolError(400, "both transfer-encoding and content-length")
        _check_codings(coding.value)
        fields.chunked = True
    elif length is not None:
        if not grammar.CONTENT_LENGTH.fullmatch(length.value):
            raise ProtocolError(400, "malformed content-length")
        fields.content_length = int(length.value)


def _check_codings(value: str) -> None:
    """Refuse everything but ``chunked``. The body's end is found by a last coding that is chunked, or not at all (RFC
    9112 section 6.3); an empty element of the list, a parameter and a second chunked are read by some as no chunked.
    """
    if value.lower() == "chunked":
        return
    *before, last = value.lower().split(",")
    names = [match and match[1] for match in (grammar.TRANSFER_CODING.fullmatch(each.strip(" \t")) for each in before)]
    if last.strip(" \t") != "chunked" or "chunked" in names or None in names:
        raise ProtocolError(400, "malformed transfer-encoding, or one whose last coding is not chunked")
    raise ProtocolError(501, "unknown transfer coding")


class FieldsSoFar:
    """The fields of a head that has not come to its end: each line is refused that shows an error.

    Only a missing ``Host`` is not seen so. A coding that is not chunked is: no line behind it could mend that, since
    the field may be there once only. Names are kept, and a valid length or coding, which are short.

    :param minor: of the version, as in :class:`Fields`.
    """

    __slots__ = ("_coding", "_fields", "_length", "_seen")

    def __init__(self, minor: int) -> None:
        self._fields = Fields(minor, [])
        self._seen: set[str] = set()
        self._coding: Field | None = None
        self._length: Field | None = None

    def check(self, line: str) -> None:
        """Read the next field line.

        :param line: without its end.
        :raises ProtocolError: it breaks the grammar, or a rule together with those before it.
        """
        match = grammar.FIELD.fullmatch(line)
        if match is None:
            raise ProtocolError(400, _what_is_wrong(line))
        field = Field(match[1], match[2].rstrip(" \t"))  # not remembered: the head may be refused
        name = field.lower
        if name == "expect":
            _check_expectations(field.value)
        if name not in _SINGLE:
            return
        if name in self._seen:
            raise _repeated(field)
        self._seen.add(name)
        if name == "host" and not field.is_host:
            raise ProtocolError(400, "malformed host field")
        if name == "transfer-encoding":
            self._coding = field
        elif name == "content-length":
            self._length = field
        _read_framing(self._fields, self._coding, self._length)
