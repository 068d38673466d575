"""A format of access lines, in gunicorn's atoms (``%(h)s``) or in Apache's (``%h``): read, not yet filled in.

The two call some things by the same letter that are not the same (``a``, ``p``, ``q``), so each has its own table here.
What an atom of ours is called, is what ``logs/formats.py`` knows.
"""

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

COMBINED: Final = "combined"
JSON: Final = "json"

GUNICORN: Final = {
    "h": "address", "l": "nothing", "u": "user", "t": "time", "r": "line", "m": "method", "U": "path", "q": "query",
    "H": "protocol", "s": "status", "B": "bytes", "b": "bytes or dash", "f": "referrer", "a": "agent",
    "T": "seconds", "M": "milliseconds", "D": "microseconds", "L": "decimal seconds", "p": "<process>",
}  # fmt: skip
APACHE: Final = {
    "a": "address", "h": "address", "l": "nothing", "u": "user", "t": "time", "r": "line", "m": "method", "U": "path",
    "q": "?query", "H": "protocol", "s": "status", "B": "bytes", "b": "bytes or dash", "T": "seconds",
    "D": "microseconds", "v": "server", "V": "server", "p": "port", "P": "process", "L": "id",
}  # fmt: skip
_UNITS: Final = {"s": "seconds", "ms": "milliseconds", "us": "microseconds"}
_NAMED: Final = {"i": "field", "e": "variable"}  # %{Host}i, %({host}i)s

_ATOM: Final = re.compile(
    r"%(?:(?P<percent>%)"
    r"|\((?:\{(?P<gname>[^{}]+)\}(?P<gkind>[a-z])|(?P<gunicorn>[A-Za-z]))\)s"
    r"|[<>]?(?:\{(?P<aname>[^{}]+)\})?(?P<apache>[A-Za-z])|(?P<wrong>.{0,8}))",
    re.DOTALL,
)


class Part(NamedTuple):
    """A piece of a format: literal text (`atom` is empty), or what an atom stands for.

    :ivar text: the literal, or the name of the field, the variable, or the form of the time (``strftime``).
    """

    atom: str
    text: str = ""


def parts(text: str) -> list[Part]:
    """Read a format.

    :raises ValueError: it has atoms that are not known here, or could make more than one line; says which.
    """
    if not text.replace("\t", "").isprintable():
        raise ValueError("a format of one line, in printable characters")
    return list(_parts(text))


def _parts(text: str) -> Iterator[Part]:
    end = 0
    for match in _ATOM.finditer(text):
        if match.start() > end:
            yield Part("", text[end : match.start()])
        end = match.end()
        part = _part(match)
        if part is None:
            raise ValueError(
                f"combined, json, or a format in atoms of gunicorn or Apache: look at {match[0]!r} (docs/logs.md lists"
                " those that are known)"
            )
        yield part
    if end < len(text):
        yield Part("", text[end:])


def _part(match: re.Match[str]) -> Part | None:
    if match["percent"]:
        return Part("", "%")
    if match["gname"]:
        return _named(match["gkind"], match["gname"])
    if match["gunicorn"]:
        return _known(GUNICORN, match["gunicorn"])
    kind, name = match["apache"], match["aname"]
    if kind == "t" and name:
        return Part("form of time", name)
    if kind == "T" and name:
        return _known(_UNITS, name)
    return _named(kind, name) if name else _known(APACHE, kind or "")


def _named(kind: str, name: str) -> Part | None:
    return Part(_NAMED[kind], name) if kind in _NAMED else None


def _known(table: dict[str, str], letter: str) -> Part | None:
    return Part(table[letter]) if letter in table else None
