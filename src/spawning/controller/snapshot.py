"""How the service is, as plain values: the answer to ``spawnctl status``. Keys are an interface; times are seconds."""

import dataclasses
import os
import platform
from collections.abc import Sequence
from typing import Any

from spawning import __version__
from spawning.controller.fleet import Fleet
from spawning.controller.plan import Wanted
from spawning.controller.records import GenerationRecord, WorkerRecord


def snapshot(wanted: Wanted, fleet: Fleet, addresses: Sequence[str], started_at: float, now: float) -> dict[str, Any]:
    """Describe everything that the records say.

    :param addresses: the URLs that are served; the first one names the server.
    :param started_at: when the controller started, on the same monotonic clock as `now`.
    """
    serving = fleet.serving
    return {
        "version": __version__,
        "python": platform.python_version(),
        "pid": os.getpid(),
        "address": addresses[0] if addresses else "",
        "addresses": list(addresses),
        "uptime": round(now - started_at, 3),
        "service": wanted.service.value,
        "serving": serving.number if serving else None,
        "workers_wanted": wanted.workers(serving) if serving else None,
        "generations": [_generation(each, now) for each in fleet],
        "last_refusal": dataclasses.asdict(fleet.last_refusal) if fleet.last_refusal else None,
    }


def _generation(generation: GenerationRecord, now: float) -> dict[str, Any]:
    return {
        "number": generation.number,
        "state": generation.state.value,
        "trigger": generation.trigger,
        "age": round(now - generation.started_at, 3),
        "fork_server": generation.pid,
        "workers": [_worker(each, now) for each in generation.workers.values()],
    }


def _worker(worker: WorkerRecord, now: float) -> dict[str, Any]:
    report = dataclasses.asdict(worker.report) if worker.report else {}
    return {
        "name": str(worker.source),
        "pid": worker.pid,
        "state": worker.state.value,
        "age": round(now - worker.forked_at, 3),
        **{key: report.get(key) for key in ("requests", "errors", "executing", "queued", "connections")},
    }
