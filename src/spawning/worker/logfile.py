"""The access log of a worker, as the settings say: where its lines go, and in which form."""

import os

from spawning.logs.access import AccessLog
from spawning.logs.formats import make
from spawning.logs.log import Log
from spawning.logs.setup import has_colours, stream
from spawning.logs.streams import open_file
from spawning.settings import Settings
from spawning.settings.destination import STREAMS, is_file, syslog

log = Log("spawning.worker")


def open_log(settings: Settings, opens_log: bool) -> AccessLog | None:
    """Make the access log; None: there is to be none.

    :param opens_log: open a file here; otherwise it has to wait for one that the controller hands on.
    """
    name = settings.access_log_file
    if name == os.devnull:
        return None
    descriptor = stream(STREAMS[name]) if name in STREAMS else -1
    access_log = make(
        settings.access_log_format,
        descriptor,
        with_ids=settings.request_id_header is not None,
        coloured=has_colours(descriptor),
        to=syslog(name),
    )
    if opens_log and is_file(name):
        open_anew(access_log, name)
    return access_log


def open_anew(access_log: AccessLog, path: str) -> None:
    """Have the lines go to the file that has this name now; if that cannot be, log why."""
    try:
        access_log.use(open_file(path))
    except OSError as error:
        log.error("access log cannot be opened file=%s error=%s", path, error.strerror)  # noqa: TRY400 - it says all
