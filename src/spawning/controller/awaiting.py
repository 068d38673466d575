"""How far a reload or rollback has come, for those who wait for its end: pure, from what is wanted and the records."""

import math
from dataclasses import dataclass

from spawning.controller.fleet import Fleet
from spawning.controller.plan import Service, Wanted
from spawning.controller.records import ROLLBACK, TRIAL, GenerationRecord, GenerationState
from spawning.controller.recycle import trial_until


@dataclass(frozen=True, slots=True)
class Underway:
    """Not at its end yet; `text` says where it is, `until` (monotonic seconds) when to look even if nothing happens."""

    text: str
    until: float = math.inf


@dataclass(frozen=True, slots=True)
class Serves:
    """The generation serves, and will not be left by itself; `since` is monotonic seconds."""

    number: int
    since: float


@dataclass(frozen=True, slots=True)
class Failed:
    """It will not serve; `reason` is one line, `traceback` the application's or empty."""

    reason: str
    traceback: str = ""


@dataclass(frozen=True, slots=True)
class Replaced:
    """Generation `number`, with newer code, was asked for in its place."""

    number: int


Progress = Underway | Serves | Failed | Replaced

_DOING = {
    GenerationState.LOADING: "loading",
    GenerationState.FORKING: "starting workers",
    GenerationState.CUTOVER: "cutting over",
}


def look(number: int, wanted: Wanted, fleet: Fleet, now: float) -> Progress:
    """Return what has become of the generation that was asked for, by a reload or by a rollback.

    One that serves is at its end only when it is certain that ``--auto-rollback`` does not take it back: who deploys
    wants to know that.
    """
    generation, refusal = fleet.generations.get(number), fleet.last_refusal
    if wanted.service is not Service.RUN:
        return Failed("the server is stopping")
    if refusal is not None and refusal.generation == number:
        return Failed(f"generation {number} was refused: {refusal.reason}", refusal.traceback)
    if number != fleet.latest:
        return _not_begun(number, generation, wanted, fleet)
    if generation is None or generation.state is GenerationState.REFUSED:
        return Failed(f"generation {number} was given up")
    if generation.state in _DOING:
        return Underway(f"generation {number}: {_DOING[generation.state]}")
    return _serving(generation, fleet, now)


def _serving(generation: GenerationRecord, fleet: Fleet, now: float) -> Progress:
    until = trial_until(generation, fleet)
    if generation.state is GenerationState.SERVING and until > now:
        return Underway(f"generation {generation.number}: serves, and is watched for {TRIAL:g} s", until)
    return Serves(generation.number, generation.served_since)


def _not_begun(number: int, generation: GenerationRecord | None, wanted: Wanted, fleet: Fleet) -> Progress:
    """The generation begun last is another one: this one's turn is to come, or is over."""
    if wanted.recall == number:
        return _to_be_recalled(number, generation)
    if wanted.recall == 0 and fleet.newest < number == wanted.generation:
        return Underway(f"generation {number}: waiting to be started")
    if generation is not None and generation.state in _DOING:
        return Underway(f"generation {number}: {_DOING[generation.state]}")
    if generation is not None and generation.state is not GenerationState.REFUSED:
        return Serves(number, generation.served_since)  # and is superseded already, or about to be
    latest = fleet.generations.get(fleet.latest)
    if wanted.recall or (latest is not None and latest.trigger == ROLLBACK):
        return Failed(f"generation {number} was given up for a rollback")
    return Replaced(max(fleet.latest, wanted.generation))


def _to_be_recalled(number: int, generation: GenerationRecord | None) -> Progress:
    if generation is None or generation.state is GenerationState.RETIRING:
        return Failed(f"generation {number} is not kept any more")
    return Underway(f"generation {number}: waiting for the end of another cutover")
