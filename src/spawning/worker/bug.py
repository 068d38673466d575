"""Telling the log of a bug. The log may be what is broken: its configuration is the application's to change."""

import logging

log = logging.getLogger("spawning.worker")


def tell_of_bug(what: str) -> None:
    """Log the exception that is being handled; raise nothing, so that who handles it can go on.

    :param what: is done about it.
    """
    try:
        log.exception("this is a bug in Spawning; %s", what)
    except BaseException:  # boundary: there is nobody left to tell
        return
