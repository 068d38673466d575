"""Telling the log of a bug."""

from contextlib import suppress

from spawning.logs.log import Log

log = Log("spawning.worker")


def tell_of_bug(what: str) -> None:
    """Log the exception that is being handled; raise nothing, so that who handles it can go on.

    :param what: is done about it.
    """
    with suppress(BaseException):  # boundary: an interruption may strike here, or memory be short
        log.exception("this is a bug in Spawning; %s", what)
