"""What the log says once the first generation serves: what it is, where, and how to stop and reload it.

Not before: what a start that fails leaves on the terminal is the reason alone.
"""

import os
import platform

from spawning import __version__
from spawning.controller.records import GenerationRecord
from spawning.logs.log import Log
from spawning.logs.setup import fields
from spawning.settings import FACTORY_SHORT_NAMES, Settings

log = Log("spawning.controller")


def say_ready(generation: GenerationRecord, addresses: list[str], status: str) -> None:
    """Log what the first generation serves, and how.

    :param addresses: the URLs; none when they are closed already.
    :param status: that of the status service; empty: there is none.
    """
    address, *others = addresses or ["closed"]
    settings = generation.settings
    workers, threads = len(generation.active), settings.threadpool_workers
    pid, mode = os.getpid(), settings.reload or "none"
    stop = "Ctrl-C" if os.isatty(2) else f"kill {pid}"
    page = {"status": status} if status else {}
    more: dict[str, object] = {} if threads else {"greenlets": settings.max_green}
    more |= {"also": ",".join(others)} if others else {}
    ready = fields(url=address, generation=generation.number, workers=workers, threads=threads, **more)
    log.info("serving %s", _what(settings))
    log.info("controls %s", fields(stop=stop, reload=f"kill -HUP {pid}", reload_mode=mode, **page))
    log.info("ready %s", ready)


def _what(settings: Settings) -> str:
    short = {path: name for name, path in FACTORY_SHORT_NAMES.items()}
    app, *middleware = settings.args
    said = {"version": __version__, "python": platform.python_version(), "app": app}
    if middleware:
        said["middleware"] = ",".join(middleware)
    if (factory := short.get(settings.factory, settings.factory)) != "wsgi":
        said["factory"] = factory
    if settings.config is not None:
        said["config"] = settings.config
    return fields(**said)
