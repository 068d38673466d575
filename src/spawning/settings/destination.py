"""Where access lines go: a stream, a file, or syslog. What ``--access-log-file`` may be."""

import os
import re
from dataclasses import dataclass
from typing import Final

SYSLOG: Final = "syslog:"
LOCAL: Final = "/dev/log"
PORT: Final = 514  # RFC 5426 section 3.3

STREAMS: Final = {"-": "stdout", "/dev/stdout": "stdout", "/dev/stderr": "stderr"}
"""Names of the streams that ``spawn`` was started with: those themselves, since the files of the names in ``/dev``
cannot be opened where they are sockets, and would be written at another place where they are files."""

FACILITIES: Final = {
    name: number
    for number, name in enumerate(
        "kern user mail daemon auth syslog lpr news uucp cron authpriv ftp ntp audit alert clock".split()  # noqa: SIM905
        + [f"local{number}" for number in range(8)]
    )
}
"""RFC 5424 section 6.2.1, as syslog.conf(5) calls them."""

_TAG: Final = re.compile(r"[A-Za-z0-9._-]{1,32}")  # RFC 3164 section 4.1.3, and what everybody has as names


@dataclass(frozen=True, slots=True)
class Syslog:
    """A syslog daemon: of this machine by the `path` of its socket, or else at `host` and `port`, by UDP."""

    path: str = ""
    host: str = ""
    port: int = PORT
    facility: int = FACILITIES["local0"]
    tag: str = "spawning"


def is_file(name: str) -> bool:
    """Whether a destination is a file, which has to be opened and may be rotated."""
    return name not in STREAMS and name != os.devnull and not name.startswith(SYSLOG)


def syslog(name: str) -> Syslog | None:
    """Read ``syslog:[ADDRESS][,facility=NAME][,tag=NAME]``; None if a destination is another one.

    :raises ValueError: it cannot be understood; says what would be right.
    """
    if not name.startswith(SYSLOG):
        return None
    address, *properties = name.removeprefix(SYSLOG).split(",")
    given = dict(each.partition("=")[::2] for each in properties)
    facility, tag = given.pop("facility", "local0"), given.pop("tag", "spawning")
    if given or facility not in FACILITIES or not _TAG.fullmatch(tag):
        raise ValueError(
            "a syslog with ,facility=NAME (local0 …) or ,tag=NAME (a word), such as syslog:,facility=local3"
        )
    if not address or address.startswith("/"):
        return Syslog(path=address or LOCAL, facility=FACILITIES[facility], tag=tag)
    match = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+)\]|([\w.-]+))(?::([0-9]{1,5}))?", address)
    if match is None or not 0 < int(match[3] or PORT) < 65536:
        raise ValueError("the address of a syslog: syslog: alone, syslog:/path/of/socket or syslog:HOST[:PORT]")
    return Syslog("", match[1] or match[2], int(match[3] or PORT), FACILITIES[facility], tag)
