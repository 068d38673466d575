"""Why a generation was refused: kept for the status, shown to the person who made the change.

A record and its words; no decision, no system call. The record stays until the next refusal, so that somebody who comes
later can still see what happened; whether it still matters shows in the number of the serving generation.
"""

from dataclasses import dataclass, field, replace

from spawning.settings import Settings

PAGE_FACTORY = "spawning.refusal_page.config_factory"
PAGE_KEY = "refusal"
PAGE_THREADS = 64  # each open page waits in one for the code to be mended


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


@dataclass(frozen=True, slots=True)
class Page:
    """A refusal that a generation of its own shows in the place of every page of the site (``refusal_page.py``).

    :param refusal: what it shows.
    :param changed: the files whose change had led there, as they are called in the log.
    :param settings: of that generation.
    :param listeners: the addresses of the site, where it is shown.
    """

    refusal: Refusal
    changed: list[str]
    settings: Settings
    listeners: list[str] = field(default_factory=list)


def page_settings(settings: Settings) -> Settings:
    """Return the settings with which a page is served in the place of an application that has these: on the same
    address, watching the same files, and with none of the checks, limits and memories of an application.
    """
    return replace(
        settings, factory=PAGE_FACTORY, script_name=None, no_preload=False, num_processes=1,
        threadpool_workers=PAGE_THREADS, ready_path=None, health_paths=(), request_timeout=0.0, queue_timeout=0.0,
        max_requests=0, max_age=0.0, max_worker_memory=0, max_memory=0, keep_previous=0.0, auto_rollback=False,
        log_config=None,
    )  # fmt: skip


def shown(page: Page) -> dict[str, object]:
    """Return what the factory of a page is told beside the settings."""
    refusal = page.refusal
    return {
        PAGE_KEY: {
            "generation": refusal.generation,
            "reason": refusal.reason,
            "traceback": refusal.traceback,
            "changed": page.changed,
        }
    }
