"""Why a generation was refused: kept for the status, shown to the person who made the change.

A record and its words; no decision, no system call. The record stays until the next refusal, so that somebody who comes
later can still see what happened; whether it still matters shows in the number of the serving generation.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Refusal:
    """A generation that did not come to serve.

    :param generation: its number.
    :param trigger: what had asked for it (``SIGHUP``, ``change`` …).
    :param at: when it was refused (seconds since the epoch).
    :param reason: one line.
    :param traceback: the application's, or empty.
    """

    generation: int
    trigger: str
    at: float
    reason: str
    traceback: str = ""
