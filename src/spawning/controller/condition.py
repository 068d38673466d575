"""In which phase the service is, for a manager of services: pure, from what is wanted and the records."""

from spawning.controller.fleet import Fleet
from spawning.controller.plan import Service, Wanted
from spawning.controller.records import PAGE, WorkerState
from spawning.systemd import Condition, Phase


def condition(wanted: Wanted, fleet: Fleet) -> Condition:
    """Return how the service is. While something newer is asked for or under way, it reloads."""
    if wanted.service is not Service.RUN:
        return Condition(Phase.STOPPING, 0, "finishing what is under way")
    under_way = fleet.under_way
    if not fleet.has_served:
        return Condition(Phase.STARTING, 0, f"generation {fleet.newest} is loading")
    if under_way is not None or fleet.newest < wanted.generation:
        target = wanted.generation if fleet.newest < wanted.generation else fleet.latest
        return Condition(Phase.RELOADING, target, f"{_serving(fleet)}; generation {target} is loading")
    refusal = fleet.last_refusal
    serving = fleet.serving
    shows = serving is not None and serving.trigger == PAGE
    if refusal is not None and (shows or refusal.generation == fleet.latest):
        refused = f"; generation {refusal.generation} was refused: {refusal.reason}"
        return Condition(Phase.SERVING, 0, f"{_serving(fleet)}{refused}")
    return Condition(Phase.SERVING, 0, _serving(fleet))


def _serving(fleet: Fleet) -> str:
    """Return what serves, in words for people."""
    generation = fleet.serving
    if generation is None:
        return "cutting over"
    workers = sum(worker.state is WorkerState.SERVING for worker in generation.workers.values())
    return f"generation {generation.number} serves with {workers} worker{'' if workers == 1 else 's'}"
