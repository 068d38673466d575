"""The controller as a program: from its settings to its exit status."""

import os

from setproctitle import setproctitle

from spawning.controller.boundary import CannotGoOnError
from spawning.controller.controller import Controller
from spawning.controller.legacy import take_over
from spawning.controller.signals import Wakeup
from spawning.ipc.prctl import become_subreaper
from spawning.logs.log import Log
from spawning.logs.setup import configure
from spawning.settings import Settings
from spawning.systemd import with_address_of

EXIT_BROKEN = 70  # EX_SOFTWARE of sysexits.h: a bug here, after something has served

log = Log("spawning.controller")


def run(settings: Settings, sources: dict[str, str]) -> int:
    """Serve until a signal ends it; return the exit status.

    :param sources: setting name to where its value came from, for messages.
    :raises ConfigError: at the first start, something has to be changed; nothing is left running.
    :raises AppLoadError: at the first start, the application cannot be loaded; nothing is left running.
    """
    configure(settings.verbose)
    if settings.umask is not None:
        os.umask(int(settings.umask, 8))
    setproctitle(f"spawning: controller ({settings.args[0]})")
    become_subreaper()
    legacy = take_over(os.environ)
    if legacy.inherited and not settings.bind:
        every = [sock for socks in legacy.inherited.values() for sock in socks]
        settings, sources = with_address_of(every, settings, sources)
    with Wakeup() as wakeup:
        controller = Controller(settings, sources, wakeup, legacy)
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
