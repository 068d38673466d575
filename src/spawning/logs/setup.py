"""Where Spawning's own log goes: standard ``logging``, logger ``spawning``, one line each on stderr.

    2026-11-23 19:30:49.123 [4711] INFO worker died worker=1.2 pid=123 signal=SIGKILL

Rules: a line is a short sentence and then ``key=value`` with stable keys; people grep them and tests assert them. Only
a traceback takes several lines. The application's logging is none of our business: nothing propagates to the root
logger.
"""

import json
import logging

ROOT = "spawning"
_FORMAT = "%(asctime)s.%(msecs)03d [%(process)d] %(levelname)s %(message)s"
_TIME = "%Y-%m-%d %H:%M:%S"


def configure(verbose: bool) -> None:
    """Send the log of this process to stderr; may be called again.

    It is, once the application is loaded: its own configuration (``logging.config`` with ``disable_existing_loggers``)
    may have switched these loggers off.

    :param verbose: log details too (level debug).
    """
    root = logging.getLogger(ROOT)
    root.setLevel(logging.DEBUG if verbose else logging.INFO)
    root.propagate = False
    for handler in root.handlers[:]:
        root.removeHandler(handler)
    writer = logging.StreamHandler()
    writer.setFormatter(logging.Formatter(_FORMAT, _TIME))
    root.addHandler(writer)
    for name, logger in list(logging.root.manager.loggerDict.items()):
        if isinstance(logger, logging.Logger) and (name == ROOT or name.startswith(f"{ROOT}.")):
            logger.disabled = False


def fields(**values: object) -> str:
    """Format ``key=value`` pairs for the end of a log line; text that is not one plain word is quoted as in JSON.

    >>> fields(worker="1.2", reason="it does not import")
    'worker=1.2 reason="it does not import"'
    """
    return " ".join(f"{key}={_value(value)}" for key, value in values.items())


def _value(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.3f}"
    text = str(value)
    plain = text.isprintable() and text and not any(mark in text for mark in ' "=')
    return text if plain else json.dumps(text, ensure_ascii=False)
