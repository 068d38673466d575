"""The controller as a program: from its settings to its exit status."""

import os
from collections.abc import Callable
from functools import partial

from spawning.account import Account, find
from spawning.controller.boundary import CannotGoOnError
from spawning.controller.controller import Controller
from spawning.controller.legacy import Legacy, find_legacy
from spawning.controller.reader import Reader
from spawning.controller.signals import Wakeup
from spawning.ipc.prctl import become_subreaper
from spawning.ipc.title import setproctitle
from spawning.logs.log import Log
from spawning.logs.setup import configure, fields
from spawning.settings import Settings
from spawning.settings.sources import Configuration, Sources
from spawning.systemd import with_address_of

EXIT_BROKEN = 70  # EX_SOFTWARE of sysexits.h: a bug here, after something has served

log = Log("spawning.controller")


def run(
    configuration: Configuration,
    sources: Sources,
    account: Account | None = None,
    on_ready: Callable[[], None] | None = None,
) -> int:
    """Serve until a signal ends it; return the exit status.

    :param configuration: what has been read from `sources`, which a reload reads again.
    :param account: the user that the service is to go on as (:func:`find_account`).
    :param on_ready: is called once the first generation serves.
    :raises ConfigError: at the first start, something has to be changed; nothing is left running.
    :raises AppLoadError: at the first start, the application cannot be loaded; nothing is left running.
    """
    _prepare(configuration.settings)
    become_subreaper()
    legacy = find_legacy(os.environ)
    return _serve(Reader(sources, configuration, partial(_settled, legacy)), legacy, account, on_ready)


def go_on(sources: Sources, reason: str) -> int:
    """Serve as :func:`run` does, in the place of an earlier program, with its settings until others can be read.

    :param reason: why `sources` cannot be read.
    """
    configure(None)
    become_subreaper()
    legacy = find_legacy(os.environ)
    assert legacy.bound is not None, "the program before has bound its sockets"
    _prepare(legacy.bound)
    log.error("the configuration cannot be read %s", fields(reason=reason))
    return _serve(Reader(sources, Configuration(legacy.bound, {}), partial(_settled, legacy), again=True), legacy)


def _prepare(settings: Settings) -> None:
    configure(settings)
    if settings.umask is not None:
        os.umask(int(settings.umask, 8))


def _settled(legacy: Legacy, configuration: Configuration) -> Configuration:
    """Put the address of inherited sockets into a configuration that names no listener itself."""
    if not legacy.inherited or configuration.settings.bind:
        return configuration
    every = [sock for socks in legacy.inherited.values() for sock in socks]
    return Configuration(*with_address_of(every, configuration.settings, configuration.sources))


def find_account(configuration: Configuration) -> Account | None:
    """Return the account that the service is to go on as; None: it stays who it is.

    :raises ConfigError: there is none of that name, or this process may not become it.
    """
    settings, sources = configuration.settings, configuration.sources
    if settings.chuid is None:
        return None
    return find(settings.chuid, settings.group, sources["chuid"], sources.get("group", ""))


def _serve(
    reader: Reader, legacy: Legacy, account: Account | None = None, on_ready: Callable[[], None] | None = None
) -> int:
    setproctitle(f"spawning: controller ({reader.current.settings.args[0]})")
    with Wakeup() as wakeup:
        controller = Controller(reader, wakeup, legacy, account, on_ready)
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
