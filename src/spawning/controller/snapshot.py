"""How the service is, as plain values: the answer to ``spawnctl status``, and what the status service shows.

Keys are an interface (``docs/status.md``); times are seconds, sizes are bytes.
"""

import dataclasses
import os
import platform
import socket
import struct
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from spawning import __version__
from spawning.address import Address, Kind
from spawning.controller.condition import condition
from spawning.controller.fleet import Fleet
from spawning.controller.plan import Service, Wanted
from spawning.controller.records import GenerationRecord, Source, WorkerRecord, WorkerState
from spawning.controller.totals import Totals
from spawning.ipc.messages import Details
from spawning.net.identity import Term
from spawning.net.listeners import bound
from spawning.settings import OPTIONS, as_dict

_SECRET = [name for name, option in OPTIONS.items() if option.secret]
_INTERNAL = ("args", "explicit")
_QUEUE = struct.Struct("24x2I")  # struct tcp_info up to the connections that wait, and how many may (tcp(7))


@dataclass(frozen=True, slots=True)
class Situation:
    """What the controller knows beside its records.

    :param addresses: the URLs that are served, the first of which names the server; empty before they are bound.
    :param started_at: (monotonic seconds) when the controller's program was started.
    :param listeners: the listening sockets of the service.
    :param certificates: until when those are valid that are served.
    """

    wanted: Wanted
    addresses: Sequence[str]
    started_at: float
    listeners: Sequence[socket.socket] = ()
    certificates: Sequence[Term] = ()


def snapshot(situation: Situation, fleet: Fleet, now: float) -> dict[str, Any]:
    """Describe what the records say of generations and workers.

    :param now: monotonic seconds.
    """
    wanted, addresses = situation.wanted, situation.addresses
    serving = fleet.serving
    return {
        "version": __version__,
        "python": platform.python_version(),
        "pid": os.getpid(),
        "address": addresses[0] if addresses else "",
        "addresses": list(addresses),
        "uptime": round(now - situation.started_at, 3),
        "service": wanted.service.value,
        "serving": serving.number if serving else None,
        "workers_wanted": wanted.workers(serving) if serving else None,
        "certificates": [_certificate(each) for each in situation.certificates],
        "generations": [_generation(each, now) for each in fleet],
        "last_refusal": dataclasses.asdict(fleet.last_refusal) if fleet.last_refusal else None,
    }


def full_snapshot(
    situation: Situation, fleet: Fleet, now: float, details: Mapping[Source, Details] | None = None
) -> dict[str, Any]:
    """Describe everything that the controller knows.

    :param now: monotonic seconds.
    :param details: what the threads of the workers are doing; None: they were not asked.
    """
    wanted = situation.wanted
    serving = fleet.serving or fleet.under_way
    how = condition(wanted, fleet)
    return {
        **snapshot(situation, fleet, now),
        "at": round(time.time(), 3),
        "phase": how.phase.value,
        "condition": how.status,
        "ready": is_ready(wanted, fleet),
        "totals": _totals(fleet.total),
        "reloads": [dataclasses.asdict(each) for each in reversed(fleet.totals.reloads)],
        "listeners": [_listener(each) for each in situation.listeners],
        "requests": None if details is None else _requests(fleet, details),
        "settings": shown_settings(serving) if serving is not None else {},
    }


def is_ready(wanted: Wanted, fleet: Fleet) -> bool:
    """Whether new clients are welcome: somebody serves, and will go on."""
    workers = (worker for generation in fleet for worker in generation.workers.values())
    serves = any(worker.state is WorkerState.SERVING for worker in workers)
    passes = fleet.has_served and fleet.in_cutover  # who connects now is served by the next generation
    return wanted.service is Service.RUN and (serves or passes)


def _totals(totals: Totals) -> dict[str, Any]:
    return {
        "requests": totals.requests,
        "inline": totals.inline,
        "errors": totals.errors,
        "refused": totals.refused,
        "sent": totals.sent,
        "statuses": totals.statuses,
        "latency": {"counts": totals.latency, "seconds": round(totals.seconds, 6)},
        "queue": {"counts": totals.waits, "seconds": round(totals.waited, 6)},
        "prompt": totals.prompt,
        "lost": totals.lost,
        "exits": totals.exits,
        "reloads": totals.results,
    }


def _certificate(term: Term) -> dict[str, Any]:
    """Describe a certificate: its file, for whom it is, and until when."""
    return {
        "file": term.file,
        "names": list(term.names),
        "ends": int(term.ends),
        "days": term.days_left(time.time()),
    }


def _listener(listener: socket.socket) -> dict[str, Any]:
    """Describe a listening socket: its address, how many connections wait there, and how many may."""
    address = bound(listener, Address(Kind.FD)).place
    if listener.family == socket.AF_UNIX:
        return {"address": address, "backlog": None, "most": None}
    try:
        *_, backlog, most = _QUEUE.unpack(listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _QUEUE.size))
    except (OSError, struct.error):
        backlog = most = None
    return {"address": address, "backlog": backlog, "most": most}


def _requests(fleet: Fleet, details: Mapping[Source, Details]) -> list[dict[str, Any]]:
    """List what threads execute, the oldest first."""
    found = [
        {"worker": str(source), **request}
        for source, answer in details.items()
        if fleet.worker(source) is not None
        for request in answer.requests
    ]
    return sorted(found, key=lambda each: -each["seconds"])


def shown_settings(generation: GenerationRecord) -> dict[str, Any]:
    """Return the settings of a generation, secrets hidden."""
    values = as_dict(generation.settings)
    shown = {name: value for name, value in values.items() if name not in _INTERNAL}
    shown |= {name: "(hidden)" for name in _SECRET if values.get(name)}
    return {"app": values["args"], **shown}


def _generation(generation: GenerationRecord, now: float) -> dict[str, Any]:
    return {
        "number": generation.number,
        "state": generation.state.value,
        "trigger": generation.trigger,
        "age": round(now - generation.started_at, 3),
        "fork_server": generation.pid,
        "workers": [_worker(each, now) for each in generation.workers.values()],
    }


_REPORTED = (
    "requests", "errors", "executing", "queued", "connections", "ferries", "inline", "refused", "threads", "tunnels",
)  # fmt: skip


def _worker(worker: WorkerRecord, now: float) -> dict[str, Any]:
    report = dataclasses.asdict(worker.report) if worker.report else {}
    return {
        "name": str(worker.source),
        "pid": worker.pid,
        "state": worker.state.value,
        "age": round(now - worker.forked_at, 3),
        **{key: report.get(key) for key in _REPORTED},
    }
