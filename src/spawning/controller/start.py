"""The controller as a program: from its settings to its exit status."""

import os
from typing import Any

from setproctitle import setproctitle

from spawning.controller.boundary import CannotGoOnError
from spawning.controller.controller import Controller
from spawning.controller.legacy import take_over
from spawning.controller.reader import Reader
from spawning.controller.signals import Wakeup
from spawning.ipc.prctl import become_subreaper
from spawning.logs.log import Log
from spawning.logs.setup import configure
from spawning.settings.sources import Configuration, Sources
from spawning.systemd import with_address_of

EXIT_BROKEN = 70  # EX_SOFTWARE of sysexits.h: a bug here, after something has served

log = Log("spawning.controller")


def run(configuration: Configuration, sources: Sources) -> int:
    """Serve until a signal ends it; return the exit status.

    :param configuration: what has been read from `sources`, which a reload reads again.
    :raises ConfigError: at the first start, something has to be changed; nothing is left running.
    :raises AppLoadError: at the first start, the application cannot be loaded; nothing is left running.
    """
    settings, origins = configuration.settings, configuration.sources
    configure(settings.verbose)
    setproctitle(f"spawning: controller ({settings.args[0]})")
    become_subreaper()
    legacy = take_over(os.environ)
    pinned: dict[str, Any] = {}
    if legacy.activated:
        settings, origins = with_address_of(legacy.listeners, settings, origins)
        pinned = {"host": settings.host, "port": settings.port}
    reader = Reader(sources, Configuration(settings, origins), pinned)
    with Wakeup() as wakeup:
        controller = Controller(reader, wakeup, legacy)
        try:
            controller.loop()
        except CannotGoOnError:
            log.error("the controller cannot go on, its workers finish what they have begun and exit")  # noqa: TRY400
            controller.leave()
            return EXIT_BROKEN
        except BaseException:
            controller.leave()
            raise
        controller.close()
        if controller.executor.outcome is not None:
            raise controller.executor.outcome
    log.info("stopped")
    return 0
