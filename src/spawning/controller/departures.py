"""How the exit of a process is logged: what was asked for is a detail, what was not is a warning."""

from spawning.controller.fleet import Departure, how
from spawning.controller.records import GenerationState, WorkerState
from spawning.errors import EXIT_APP, EXIT_CLOSED
from spawning.logs.log import Log
from spawning.logs.setup import fields

log = Log("spawning.controller")


def log_departure(departure: Departure, pid: int | None, status: int | None) -> None:
    """Log it: as news when nobody has asked for it.

    :param pid: None when the worker has never told it.
    :param status: how it has ended, None when nobody knows.
    """
    generation, worker, state = departure
    # The refusal of the generation says it better; only while it serves nobody else does.
    is_told = status in (EXIT_APP, EXIT_CLOSED) and generation.state is not GenerationState.SERVING
    if worker is None:
        who = fields(generation=generation.number, pid=pid)
        if generation.ended or is_told:
            log.debug("fork server ended %s", who)
        else:
            log.warning("fork server died %s %s", who, how(status))
        return
    who = fields(worker=worker.source, pid=pid)
    if state is WorkerState.KILLED or (state is WorkerState.STARTING and is_told):
        log.debug("worker gone %s %s", who, how(status))
    elif state in (WorkerState.RETIRING, WorkerState.FROZEN) and status == 0:
        log.info("worker retired %s", who)
    else:
        log.warning("worker died %s %s", who, how(status))
