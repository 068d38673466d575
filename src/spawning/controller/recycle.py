"""Which worker is due to be replaced, and when all of them are: pure, a part of the plan.

Rules: one worker at a time. It goes on serving until its replacement, forked from the same memory, serves beside it,
and the next one's turn comes when it has exited. A reload replaces all workers anyway, so none becomes due meanwhile;
what has begun by then is finished. None of this counts as a crash. Whether a reload by ``--max-memory`` helps is not
known beforehand, so there is a pause between two. With ``--max-memory auto`` nothing is reloaded, since two generations
would not fit below the limit of a control group: its largest worker is replaced, one for each measurement at most.
"""

import math
import random
from collections.abc import Callable, Iterator
from typing import NamedTuple

from spawning.controller.fleet import Fleet
from spawning.controller.records import ROLLBACK, TRIAL, GenerationRecord, Source, WorkerRecord, WorkerState
from spawning.settings.values import AUTO

MAX_MEMORY = "max-memory"  # the trigger of a reload because of --max-memory
RELOAD_PAUSE = 60.0  # seconds between the start of any reload and one by --max-memory
SILENCE = 5.0  # seconds beyond --request-timeout without a report, after which a worker is suspected …
NEARLY = 0.9  # of the control group's limit, where --max-memory auto makes room
SUSPICION = 3.0  # … and after that many more killed
MB = 1_000_000  # bytes

Due = Callable[[float], bool]
"""Whether a moment (monotonic seconds) has come; if not, the plan is asked again then."""


class Candidate(NamedTuple):
    """A worker to be replaced, and why (for the log)."""

    source: Source
    reason: str


def candidate(generation: GenerationRecord, fleet: Fleet, due: Due) -> Candidate | None:
    """Return the worker of the serving generation that is to be replaced next: unwell ones first, then the oldest."""
    workers = generation.workers
    if any(worker.is_leaving for worker in workers.values()):
        return None
    found = [
        Candidate(worker.source, reason)
        for worker in generation.active
        if worker.state is WorkerState.SERVING and (reason := _reason(worker, generation, due))
    ]
    found.sort(key=lambda each: not workers[each.source.worker].unwell)
    return found[0] if found else _largest(generation, fleet)


def _largest(generation: GenerationRecord, fleet: Fleet) -> Candidate | None:
    """Return the worker that makes most room, where there is little left below the control group's limit."""
    limit = fleet.memory_limit
    if generation.settings.max_memory != AUTO or not limit or fleet.memory <= NEARLY * limit:
        return None
    serving = [worker for worker in generation.active if worker.state is WorkerState.SERVING]
    if not serving:
        return None
    largest = max(serving, key=lambda worker: worker.memory)
    used = f"{largest.memory // MB} MB, {fleet.memory // MB} MB of {limit // MB} MB in all"
    return Candidate(largest.source, f"{used} (--max-memory {AUTO})")


def most_requests(worker: WorkerRecord, generation: GenerationRecord) -> int:
    """Return the number of requests after which a worker is replaced: the same whenever it is asked for."""
    settings = generation.settings
    chance = random.Random(worker.pid)  # so that servers behind one balancer differ as well
    return settings.max_requests + chance.randint(0, settings.max_requests_jitter)


def silent(generation: GenerationRecord, due: Due) -> Iterator[WorkerRecord]:
    """Return the workers in which nothing runs any more: a request holds the interpreter lock and does not let go.

    Only with --request-timeout. They are to be suspected first, and killed if they still do not report then: when the
    machine or the controller was stopped for a while, all workers look like that at first.
    """
    allowed = generation.settings.request_timeout
    for worker in generation.active:
        if allowed and worker.state is WorkerState.SERVING and due(worker.reported_at + allowed + SILENCE):
            yield worker


def measures(generation: GenerationRecord) -> bool:
    """Whether anybody wants to know about memory."""
    return bool(generation.settings.max_memory or generation.settings.max_worker_memory)


def needs_reload(serving: GenerationRecord, fleet: Fleet, due: Due) -> bool:
    """Whether all processes together need too much memory, and nothing is being done about it."""
    most = serving.settings.max_memory
    if not isinstance(most, int) or not most:
        return False
    return fleet.memory > most * MB and fleet.under_way is None and due(fleet.reload_at + RELOAD_PAUSE)


def is_unfit(generation: GenerationRecord) -> bool:
    """Whether each of the workers that served first after the cutover has crashed, soon after it."""
    return bool(generation.first) and generation.first <= generation.crashed


def may_be_left(serving: GenerationRecord, kept: GenerationRecord) -> bool:
    """Whether the kept generation may come to serve again although nobody has asked for that (``--auto-rollback``).

    What was rolled back to is not left again, or both would take turns; one that has failed itself is no refuge.
    """
    return serving.settings.auto_rollback and serving.trigger != ROLLBACK and not is_unfit(kept)


def has_failed(serving: GenerationRecord, kept: GenerationRecord) -> bool:
    """Whether it is to serve again now."""
    return is_unfit(serving) and may_be_left(serving, kept)


def trial_until(serving: GenerationRecord, fleet: Fleet) -> float:
    """Return when it is certain that a generation will not be left by itself; it is already: minus infinity."""
    kept = fleet.kept
    if kept is None or not kept.may_be_kept or not may_be_left(serving, kept):
        return -math.inf
    return serving.served_since + TRIAL


def _reason(worker: WorkerRecord, generation: GenerationRecord, due: Due) -> str:
    """Return why a worker is to be replaced; empty: it is not."""
    settings, report = generation.settings, worker.report
    if worker.unwell:
        return worker.unwell
    if settings.max_requests and report is not None and report.requests >= most_requests(worker, generation):
        return f"{report.requests} requests (--max-requests {settings.max_requests})"
    if settings.max_worker_memory and worker.memory > settings.max_worker_memory * MB:
        return f"{worker.memory // MB} MB (--max-worker-memory {settings.max_worker_memory})"
    if settings.max_age and due(worker.forked_at + settings.max_age):
        return f"age (--max-age {settings.max_age:g})"
    return ""
