"""What systemd gives a service and wants to hear from it: listening sockets, and notifications. No library is needed.

Rules: the variables of both protocols are taken out of the environment, so that neither the application nor a program
that it starts takes them for its own. Nothing here decides: the controller says in which phase the service is, and
:class:`Notifier` says what is news of that. A manager that does not listen costs a warning, never the service.

Sources: sd_listen_fds(3), sd_notify(3), sd_watchdog_enabled(3), systemd.service(5) ``Type=notify-reload``.
"""

import dataclasses
import enum
import math
import os
import socket
from collections.abc import Iterable, Mapping, MutableMapping
from dataclasses import dataclass

from spawning.errors import ConfigError
from spawning.logs.log import Log
from spawning.logs.setup import fields
from spawning.net.listeners import adopt
from spawning.net.wanted import INHERITED
from spawning.settings import Settings

_FIRST_FD = 3  # SD_LISTEN_FDS_START
_REMEDY = "the .socket unit has to use ListenStream= and Accept=no"
_RETRY = 1.0  # seconds; when the manager's socket takes nothing
_NOTIFICATION = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")

log = Log("spawning.systemd")

# Socket activation ---------------------------------------------------------------------------------------------------


def inherited_listeners(environ: MutableMapping[str, str], first: int = _FIRST_FD) -> dict[str, list[socket.socket]]:
    """Take over the listening sockets that systemd has opened (``LISTEN_FDS``), ready to be polled by workers.

    :param environ: the variables are removed from it.
    :param first: the first descriptor; the protocol says 3.
    :returns: sockets by ``FileDescriptorName=``, in order (``unknown``: they have none); empty when there are none, or
        when they are meant for another process (``LISTEN_PID``).
    :raises ConfigError: a descriptor is not a listening stream socket.
    """
    pid, count = environ.pop("LISTEN_PID", ""), environ.pop("LISTEN_FDS", "")
    names = environ.pop("LISTEN_FDNAMES", "").split(":")
    if not count:
        return {}
    if pid != str(os.getpid()):
        log.warning("inherited sockets are not for this process %s", fields(LISTEN_PID=pid, pid=os.getpid()))
        return {}
    if not count.isascii() or not count.isdigit():
        raise ConfigError(f"environment variable LISTEN_FDS: {count!r} is not a number of descriptors")
    named = [name or "unknown" for name in names] + ["unknown"] * int(count)
    found: dict[str, list[socket.socket]] = {}
    for index, name in enumerate(named[: int(count)]):
        what = f"inherited descriptor {first + index} ({name})"
        found.setdefault(name, []).append(adopt(first + index, what, _REMEDY))
    return found


def with_address_of(
    listeners: Iterable[socket.socket], settings: Settings, sources: Mapping[str, str]
) -> tuple[Settings, dict[str, str]]:
    """Put the address of inherited sockets into the settings, as if the command line had given it.

    So no factory changes it, and what shows or derives something from the address is right.

    :param sources: setting name to where its value came from, for messages.
    """
    address = next((each.getsockname() for each in listeners if each.family != socket.AF_UNIX), None)
    host, port = address[:2] if address else (settings.host, settings.port)
    explicit = (*settings.explicit, *(name for name in ("host", "port") if name not in settings.explicit))
    changed = dataclasses.replace(settings, host=host, port=port, explicit=explicit)
    return changed, {**sources, "host": INHERITED, "port": INHERITED}


# Notifications -------------------------------------------------------------------------------------------------------


class Phase(enum.Enum):
    STARTING = "starting"
    SERVING = "serving"
    RELOADING = "reloading"
    STOPPING = "stopping"


@dataclass(frozen=True, slots=True)
class Condition:
    """How the service is, as far as a manager wants to know.

    :param target: what is being loaded while the phase is ``RELOADING`` (a number of a generation); another target is
        another reload.
    :param status: one line for people.
    """

    phase: Phase
    target: int
    status: str


class Notifier:
    """Sends the manager what has changed since the last notification. For one thread.

    :param environ: the variables are removed from it; without ``NOTIFY_SOCKET`` nothing is ever sent.
    :param phase: what the manager knows already (after an upgrade in place: that the service runs).
    """

    def __init__(self, environ: MutableMapping[str, str], phase: Phase = Phase.STARTING) -> None:
        self.variables = {name: environ.pop(name) for name in _NOTIFICATION if name in environ}
        """What has been taken out of the environment, for the program that replaces this one."""
        self._address = _address(self.variables.get("NOTIFY_SOCKET", ""))
        self._every = _watchdog_seconds(self.variables) / 2
        self._told = Condition(phase, 0, "")
        self._watchdog_at = -math.inf
        self._warned = False

    def report(self, condition: Condition, now: float) -> float:
        """Send the manager what is new.

        :param now: seconds of the machine's monotonic clock.
        :returns: when to call again even if nothing happens until then (infinity: never).
        """
        if self._address is None:
            return math.inf
        if condition != self._told:
            if not self._send(_news(self._told, condition, now)):
                return now + _RETRY
            self._told = condition
        if now >= self._watchdog_at and self._every < math.inf:
            self._send(["WATCHDOG=1"])
            self._watchdog_at = now + self._every
        return self._watchdog_at if self._every < math.inf else math.inf

    def _send(self, lines: list[str]) -> bool:
        """Send one notification; a busy manager gets it later, one that is gone never will."""
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
                sock.setblocking(False)
                sock.sendto("\n".join(lines).encode(), self._address or "")
        except BlockingIOError:
            return False
        except OSError as error:
            if not self._warned:
                log.warning("the manager cannot be notified %s", fields(reason=error.strerror))
                self._warned = True
        return True


_PHASE_LINES = {Phase.STARTING: [], Phase.SERVING: ["READY=1"], Phase.STOPPING: ["STOPPING=1"]}


def _news(before: Condition, after: Condition, now: float) -> list[str]:
    """Return what has changed, in the manager's words."""
    lines: list[str] = []
    if (before.phase, before.target) != (after.phase, after.target):
        if after.phase is Phase.RELOADING:  # notify-reload compares the time with that of its SIGHUP
            lines += ["RELOADING=1", f"MONOTONIC_USEC={int(now * 1_000_000)}"]
        else:
            lines += _PHASE_LINES[after.phase]
    status = " ".join(after.status.split())
    return [*lines, f"STATUS={status}"]


def _address(value: str) -> str | None:
    """Turn ``NOTIFY_SOCKET`` into an address of family ``AF_UNIX``; None when it is unset or of another family."""
    if value.startswith("@"):
        return "\0" + value[1:]
    if value and not value.startswith("/"):
        log.warning("cannot notify the manager at this address %s", fields(NOTIFY_SOCKET=value))
    return value if value.startswith("/") else None


def _watchdog_seconds(variables: MutableMapping[str, str]) -> float:
    """Return how often the manager wants a sign of life, in seconds; infinity when it does not."""
    value, pid = variables.get("WATCHDOG_USEC", ""), variables.get("WATCHDOG_PID", "")
    wanted = value.isascii() and value.isdigit() and int(value) > 0 and pid in ("", str(os.getpid()))
    return int(value) / 1_000_000 if wanted else math.inf
