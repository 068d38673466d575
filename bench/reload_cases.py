"""The cases of ``bench/reload.py``: what is done to a server while clients ask it without pause.

A case does what a person or a script would do, as quickly as the server allows; nothing here judges.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

from bench.reload_clients import REQUEST, Connection, Trouble
from bench.reload_site import Site, StartError

_IDLE = 1000  # connections
_OPENING_SECONDS = 10.0  # for all of them; some servers keep few at a time
_IDLE_SECONDS = 5.0  # for one of them to get its first answer


def _nothing(site: Site) -> None:
    """Leave the server alone."""


def _instant(site: Site) -> None:
    for _ in range(10):
        site.edit()
        site.reload()


def _slow_import(site: Site) -> None:
    for _ in range(5):
        site.edit(3.0)
        site.reload()


def _broken(site: Site) -> None:
    site.break_it()
    site.ask_for_reload()
    time.sleep(3.0)
    site.terminate_workers()
    time.sleep(3.0)
    site.kill_workers()
    time.sleep(3.0)
    site.edit()
    site.reload()


def _recycling(site: Site) -> None:
    site.break_it()


def _storms(site: Site) -> None:
    for _ in range(10):
        site.edit()
        site.ask_for_reload()
        time.sleep(0.1)
    site.answers()
    site.edit(1.0)
    site.ask_for_reload()
    time.sleep(0.5)
    site.edit()
    site.reload()
    burners = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(os.cpu_count() or 1)]
    try:
        site.edit()
        site.reload()
    finally:
        for burner in burners:
            burner.kill()
            burner.wait()


def _killed(site: Site) -> None:
    kills = [site.kill_workers, *([site.kill_fork_servers] if site.server.fork_server else [])]
    for kill in kills:
        for delay in (0.05, 0.5, 1.0, 1.3):  # of an import of 0.8 s: before, during, at its end, behind the cutover
            site.edit(0.8)
            site.ask_for_reload()
            time.sleep(delay)
            kill()
            if not site.answers():
                site.reload()


def _main_killed(site: Site) -> None:
    for delay in (0.05, 0.4, 1.2):
        site.edit(0.8)
        site.ask_for_reload()
        time.sleep(delay)
        site.kill_main()
        site.edit()
        try:
            site.start(activated=site.server.activated)
        except StartError:
            return  # what is left of it keeps the address; the clients go on and see


def _upgrade(site: Site) -> None:
    for _ in range(3):
        site.edit()
        site.upgrade()


def _flipped_link(site: Site) -> None:
    for _ in range(5):
        site.release()
        site.reload()


def _idle(site: Site) -> None:
    until = time.monotonic() + _OPENING_SECONDS
    while len(site.idle) < _IDLE and time.monotonic() < until:
        try:
            connection = Connection(site.where, _IDLE_SECONDS)
            site.idle.append(connection)
            connection.send(REQUEST)
            connection.read()
        except Trouble:
            break  # so many it cannot hold; that shows when each of them is used again
    _instant(site)


@dataclass(frozen=True, slots=True)
class Case:
    """One row of the results; ``activated``: the server gets its socket from a service manager, if it can."""

    title: str
    run: Callable[[Site], None]
    activated: bool = False


CASES = {
    "0": Case("nothing happens", _nothing),
    "1": Case("ten reloads, the import takes no time", _instant),
    "2": Case("five reloads, the import takes 3 s", _slow_import),
    "3": Case("broken file, reload, then every worker ended with TERM, and killed with -9", _broken),
    "4": Case("broken file, no reload, workers are recycled", _recycling),
    "5": Case("ten signals in a second; a reload during a reload; a loaded machine", _storms),
    "6": Case("workers, fork server killed with -9 at each step of a reload", _killed),
    "6c": Case("controller killed with -9 during a reload, and started again", _main_killed, activated=True),
    "7": Case("upgrade in place, three times", _upgrade),
    "8": Case("release link flipped, five times", _flipped_link),
    "9": Case("1,000 idle connections, ten reloads, each used once", _idle),
}
