"""Metrics for StatsD, as users of gunicorn have them: datagrams, once a second, with what has been since the last ones.

Names are gunicorn's with ``spawning`` in the place of ``gunicorn``. A request's duration is a timer there, one datagram
a request; here all requests of a bucket are one sample, with the rate at which it stands for them (``|@0.01``), so that
the receiver counts as many as there were. Nothing waits: what cannot be sent is lost, as ever with StatsD.
"""

import socket
from collections.abc import Iterator, Sequence
from time import monotonic
from typing import Any

from spawning.logs.log import Log
from spawning.logs.setup import fields
from spawning.status.hub import Hub
from spawning.worker.tally import BOUNDS

EVERY = 0.9  # seconds, at least, between two times: snapshots come once a second, and at each change

_MOST = 1400  # bytes a datagram: it fits into a packet of any network
_RESOLVE_EVERY = 60.0  # seconds
_WARN_EVERY = 600.0  # seconds

log = Log("spawning.status")

Values = dict[str, Any]


class Statsd:
    """Sends to one address; :meth:`run` in a thread of its own, since to look up a name may take long.

    :param address: ``HOST:PORT``, or ``unix:PATH`` of a datagram socket.
    :param prefix: of the names, or None.
    :param tags: behind each metric, as DogStatsD takes them.
    """

    def __init__(self, address: str, prefix: str | None, tags: Sequence[str] = ()) -> None:
        self._address = address
        self._prefix = f"{prefix.rstrip('.')}.spawning." if prefix else "spawning."
        self._end = f"|#{','.join(tags)}" if tags else ""
        self._before: Values | None = None
        self._socket: socket.socket | None = None
        self._resolve_at = 0.0  # monotonic seconds
        self._warn_at = 0.0  # monotonic seconds
        self._next = 0.0  # monotonic seconds

    def run(self, hub: Hub) -> None:
        """Send each snapshot, until the service ends."""
        serial = 0
        while not hub.closing:
            view = hub.newer(serial, EVERY)
            if view is not None and monotonic() >= self._next:
                serial, self._next = view.serial, monotonic() + EVERY
                self.send(view.values)
            elif view is not None:
                serial = view.serial

    def send(self, values: Values) -> None:
        """Send what a snapshot says that the one before did not."""
        totals = values["totals"]
        lines = [f"{self._prefix}{line}{self._end}" for line in _lines(values, self._before or totals)]
        self._before = totals
        packet = ""
        for line in lines:
            if len(packet) + len(line) >= _MOST:
                self._send(packet)
                packet = ""
            packet += f"\n{line}" if packet else line
        self._send(packet)

    def _send(self, packet: str) -> None:
        try:
            self._connected().send(packet.encode())
        except OSError as error:
            if monotonic() >= self._warn_at:  # by UDP, every other datagram to nobody seems to arrive
                log.warning("StatsD cannot be reached %s", fields(address=self._address, reason=error.strerror))
                self._warn_at = monotonic() + _WARN_EVERY

    def _connected(self) -> socket.socket:
        """Return the socket; a name is looked up now and then, since what it means may change."""
        now = monotonic()
        if self._socket is None or now >= self._resolve_at:
            self._resolve_at = now + _RESOLVE_EVERY
            if self._socket is not None:
                self._socket.close()
                self._socket = None
            self._socket = _connect(self._address)
        return self._socket


def _connect(address: str) -> socket.socket:
    if address.startswith("unix:"):
        return _connected(socket.AF_UNIX, address.removeprefix("unix:"))
    host, _, port = address.rpartition(":")
    family, _, _, _, where = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_DGRAM)[0]
    return _connected(family, where)


def _connected(family: int, where: Any) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        sock.connect(where)
    except OSError:
        sock.close()
        raise
    return sock


def _lines(values: Values, before: Values) -> Iterator[str]:
    totals = values["totals"]
    yield f"requests:{totals['requests'] - before['requests']}|c"
    yield f"request.refused:{totals['refused'] - before['refused']}|c"
    for status, count in sorted(_statuses(totals).items()):
        if more := count - _statuses(before).get(status, 0):
            yield f"request.status.{status}:{more}|c"
    yield from _durations(totals["latency"]["counts"], before["latency"]["counts"])
    workers = [worker for generation in values["generations"] for worker in generation["workers"]]
    yield f"workers:{sum(worker['state'] == 'serving' for worker in workers)}|g"
    gauges = {"requests.executing": "executing", "requests.queued": "queued", "connections": "connections"}
    for name, key in gauges.items():
        yield f"{name}:{sum(worker[key] or 0 for worker in workers)}|g"
    if backlogs := [each["backlog"] for each in values["listeners"] if each["backlog"] is not None]:
        yield f"backlog:{sum(backlogs)}|g"
    yield f"reloads.refused:{totals['reloads'].get('refused', 0) - before['reloads'].get('refused', 0)}|c"


def _durations(counts: Sequence[int], before: Sequence[int]) -> Iterator[str]:
    """Yield one sample a bucket: its middle (milliseconds), and how many requests it stands for."""
    for index, count in enumerate(counts):
        more = count - (before[index] if index < len(before) else 0)
        if more > 0:
            low = BOUNDS[index - 1] if index else 0.0
            high = BOUNDS[min(index, len(BOUNDS) - 1)]
            rate = f"|@{1 / more:.6g}" if more > 1 else ""
            yield f"request.duration:{(low + high) / 2 * 1000:.6g}|ms{rate}"


def _statuses(totals: Values) -> dict[str, int]:
    found: dict[str, int] = {}
    for counts in totals["statuses"].values():
        for status, count in counts.items():
            found[status] = found.get(status, 0) + count
    return found
