"""Records of the error log as JSON (``--log-format json``): one object a line, whatever a record says.

A record is a sentence, then ``key=value``, then perhaps further lines. The pairs become members, so that what collects
the log need not take lines apart; the further lines are one text.
"""

import ast
import json
import re
from contextlib import suppress
from typing import Any, Final

_PAIR: Final = re.compile(
    r" (?P<key>[a-z_]+)=(?P<value>\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'|[^\s\"]\S*|)(?= |\Z)", re.DOTALL
)
_SECONDS: Final = ("seconds", "age")
_OWN: Final = ("timestamp", "severity", "message", "process.pid")

_encode: Final = json.JSONEncoder(ensure_ascii=True, separators=(",", ":")).encode


def record(stamp: str, pid: int, level: str, text: str, error: BaseException | None, trace: str) -> str:
    """Make the line of a record.

    :param stamp: time of day (RFC 3339).
    :param level: its name.
    :param text: the sentence, the pairs, further lines.
    :param error: whose traceback `trace` is.
    """
    first, _, rest = text.partition("\n")
    sentence, pairs = _split(first)
    members: dict[str, Any] = {"timestamp": stamp, "severity": level, "message": sentence, "process.pid": pid}
    for key, value in pairs:
        members[f"spawning.{key}" if key in _OWN else key] = value
    if rest := rest.rstrip("\n"):
        members["details"] = rest
    if error is not None:
        members["exception.type"] = type(error).__name__
        members["exception.stacktrace"] = trace.rstrip("\n")
    return _line(members)


def lines(stamp: str, pid: int, text: str, stream: str) -> str:
    """Make the lines of what is no record: an object for each of its lines.

    :param stream: where an application has written it.
    """
    return "".join(
        _line({"timestamp": stamp, "message": line, "process.pid": pid, "stream": stream})
        for line in text.rstrip("\n").split("\n")
    )


def _line(members: dict[str, Any]) -> str:
    # DEL is the one control character of ASCII that JSON lets pass.
    return f"{_encode(members)}\n".replace("\x7f", "\\u007f")


def _split(text: str) -> tuple[str, list[tuple[str, Any]]]:
    """Divide a line where the pairs begin that reach to its end. Each character is looked at about once: what it says
    may come from a client.
    """
    start = 0
    while begin := _PAIR.search(text, start):
        found, end = [begin], begin.end()
        while match := _PAIR.match(text, end):
            found.append(match)
            end = match.end()
        if end == len(text):
            return text[: begin.start()], [(match["key"], _plain(match["key"], match["value"])) for match in found]
        start = end
    return text, []


def _plain(key: str, value: str) -> Any:
    """Return what a value is: a number, or a text without the quotes that a line needs."""
    with suppress(ValueError, SyntaxError):
        if value.startswith('"'):
            return json.loads(value)
        if value.startswith("'"):
            return ast.literal_eval(value)
        if key in _SECONDS:
            return float(value)
        if re.fullmatch(r"-?(0|[1-9][0-9]{0,14})", value, re.ASCII):
            return int(value)
    return value
