"""What people learn of a generation that was refused, in the log, the terminal and on the page: that, why, and what it
means; and what of an import they may not expect.
"""

import os

from spawning.controller.fleet import Fleet
from spawning.controller.records import REPAIR, ROLLBACK, UNASKED, GenerationRecord
from spawning.controller.refusal import Page, Refusal, page_settings
from spawning.ipc.messages import Loaded, LoadFailed
from spawning.logs.log import Log
from spawning.logs.setup import fields

_THREADS = (
    "threads that the application has started during its import run in the fork server, and in no worker (--no-preload)"
)
_CONNECTIONS = (
    "connections that the application has opened during its import are shared by all workers, which get each other's"
    " answers (--no-preload)"
)

log = Log("spawning.controller")


class Telling:
    """See the module. For the controller's loop alone.

    :param directory: where generations start: files below it are called by their paths from there.

    ``changed`` are the files whose change asked for the newest generation.
    """

    def __init__(self, fleet: Fleet, directory: str) -> None:
        self.changed: tuple[str, ...] = ()
        self._fleet = fleet
        self._directory = directory
        self._shown = ""  # the traceback that was logged last
        self._warned: dict[str, str] = {}

    def refused(self, generation: GenerationRecord, refusal: Refusal, failure: LoadFailed) -> None:
        """Log and show that a generation was refused: the one before serves on, or a change of files is waited for."""
        serving = self._fleet.serving
        self._show_page(generation, refusal, failure)
        sentence = f"{undertaking(generation)} refused" if self._fleet.has_served else "start refused"
        self.show(failure, f"{sentence}; {self._consequence()}", again=generation.trigger != REPAIR)
        waiting = "" if self._fleet.has_served else ", waiting for a change"
        stays = {"serving": serving.number} if serving is not None and self._fleet.page is None else {}
        log.error("%s%s %s", sentence, waiting, fields(generation=generation.number, reason=refusal.reason, **stays))
        if failure.kind == "changed" and serving is not None and self._fleet.kept is None:
            who = fields(generation=serving.number)
            log.warning("what serves is in the memory of its workers alone, until a reload takes other code %s", who)

    def show(self, failure: LoadFailed, heading: str, *, again: bool) -> None:
        """Log an application's traceback and, if a change of files has led there, their names.

        :param heading: what it means.
        :param again: also log one that was the last to be logged.
        """
        details = failure.details
        if details and (again or details != self._shown):
            text = (failure.readable or details).rstrip("\n")
            changed = "".join(f"changed: {file}\n" for file in self._names())
            show = log.coloured if failure.readable else log.error
            show("%s\n%s%s", heading, changed, text)
            self._shown = details

    def left_behind(self, generation: int, message: Loaded) -> None:
        """Warn of what an application has left behind its import, unless that was so when it was last loaded."""
        self._warn_once(_THREADS, generation, "threads", message.threads)
        self._warn_once(_CONNECTIONS, generation, "connections", message.connections)

    def _warn_once(self, sentence: str, generation: int, name: str, values: list[str]) -> None:
        found = ", ".join(values)
        if found and found != self._warned.get(name):
            log.warning("%s %s", sentence, fields(generation=generation, **{name: found}))
        self._warned[name] = found

    def _show_page(self, generation: GenerationRecord, refusal: Refusal, failure: LoadFailed) -> None:
        """Note that a developer is to see on the site itself why the code was refused."""
        site = self._fleet.serving or generation
        asked_for = generation.trigger not in UNASKED and generation.trigger != ROLLBACK
        if site.settings.reload == "dev" and asked_for and failure.kind != "changed" and site.listeners:
            self._fleet.page = Page(refusal, self._names(), page_settings(site.settings), site.listeners)

    def _consequence(self) -> str:
        """Return what a refusal means for those who use the site."""
        serving = self._fleet.serving
        if self._fleet.page is not None:
            return "the site shows this until it is mended"
        return f"generation {serving.number} serves on" if serving is not None else "waiting for a change"

    def _names(self) -> list[str]:
        return [os.path.relpath(file, self._directory) for file in self.changed]


def undertaking(generation: GenerationRecord) -> str:
    """Return what the log calls the undertaking that has led to a generation."""
    return "rollback" if generation.trigger == ROLLBACK else "reload"
