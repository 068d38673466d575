"""Access lines to a syslog daemon, by datagrams: one for each line, from a thread that may wait for the daemon.

To the socket of this machine in the form that every daemon understands there (RFC 3164 section 4.1, without the name of
the machine, as syslog(3) writes); by UDP as RFC 5424 and 5426 say.
"""

import os
import socket
import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from time import monotonic
from typing import Final

from spawning.logs.turns import Turn
from spawning.logs.writer import Writer
from spawning.logs.zone import Zone
from spawning.settings.destination import Syslog
from spawning.standard import moved

LONGEST: Final = 8192  # bytes a datagram; what rsyslog takes without being told to take more
_INFORMATIONAL: Final = 6  # RFC 5424 section 6.2.1
_AGAIN: Final = 1.0  # seconds between attempts to reach one that is not there
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

_Socket = socket.socket  # bound when this module is imported, before the application may replace it
_find = socket.getaddrinfo


class SyslogWriter(Writer):
    """A writer whose lines go to a syslog daemon. One that is started anew is connected to anew; what it misses
    meanwhile is counted as lost (by UDP nobody learns of most of that).

    :param to: where it is.
    :param report: as for ``Writer``.
    :param zone: of the times.
    """

    def __init__(self, to: Syslog, report: Callable[[int], None], zone: Zone) -> None:
        super().__init__(-1, report, turns=False)
        self._to = to
        self._zone = zone
        self._socket: socket.socket | None = None
        self._next_try = 0.0  # monotonic seconds
        self._host = socket.gethostname()

    def _write(self, text: str, turn: Turn) -> bool:
        head = self._head().encode()
        lost = 0
        for line in text.encode("utf-8", "backslashreplace").split(b"\n"):
            if line and not self._send((head + line)[:LONGEST]):
                lost += 1
        self._lost += lost
        return not lost

    def _send(self, datagram: bytes) -> bool:
        for _ in range(2):  # the second time to the daemon that has taken the place of the first
            if self._socket is None and not self._connect():
                return False
            assert self._socket is not None
            try:
                self._socket.send(datagram)
            except OSError:
                self._drop()
            else:
                return True
        return False

    def _connect(self) -> bool:
        if monotonic() < self._next_try:
            return False
        try:
            self._socket = connected(self._to)
        except OSError:
            self._next_try = monotonic() + _AGAIN
            return False
        return True

    def _drop(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _close(self) -> None:
        self._drop()

    def _head(self) -> str:
        to, now = self._to, time.time()
        priority = to.facility * 8 + _INFORMATIONAL
        if to.path:
            t, _ = self._zone.local(int(now))
            when = f"{_MONTHS[t.tm_mon - 1]} {t.tm_mday:2} {t.tm_hour:02}:{t.tm_min:02}:{t.tm_sec:02}"
            return f"<{priority}>{when} {to.tag}[{os.getpid()}]: "
        at = datetime.fromtimestamp(now, timezone(timedelta(seconds=self._zone.offset(now))))
        return f"<{priority}>1 {at.isoformat(timespec='milliseconds')} {self._host} {to.tag} {os.getpid()} - - "


def connected(to: Syslog) -> socket.socket:
    """Return a socket to a daemon.

    :raises OSError: it is not there, or its name is unknown.
    """
    if to.path:
        return _to(socket.AF_UNIX, to.path)
    family, _, _, _, address = _find(to.host, to.port, type=socket.SOCK_DGRAM)[0]
    return _to(family, address)


def _to(family: int, address: object) -> socket.socket:
    sock = _Socket(fileno=moved(_Socket(family, socket.SOCK_DGRAM).detach()))
    try:
        sock.setblocking(True)  # whatever the application has made the default
        sock.connect(address)  # type: ignore[arg-type]
    except BaseException:
        sock.close()
        raise
    return sock
