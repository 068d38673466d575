"""Coroutines (``-t 0``): gevent patches the standard library, before anything of the application is imported.

Only the fork server has this done; a worker has a hub of its own. What the server itself needs of the standard library
it has bound by then (``primitives``), which is why all modules of it that a worker needs are imported first.
"""

import importlib

from spawning.errors import ConfigError

_FOR_WORKERS = ("greencall", "greenlets", "unyielding")


def patch() -> None:
    """Have gevent patch the standard library.

    :raises ConfigError: gevent is missing.
    """
    try:
        from gevent import monkey
    except ImportError:
        raise ConfigError("option --threads 0 needs gevent, the extra spawning[green]: pip install gevent") from None
    for name in _FOR_WORKERS:
        importlib.import_module(f"spawning.worker.{name}")
    monkey.patch_all()


def begin_in_worker() -> None:
    """Have a hub that is this process's own; what the application has started goes on in it."""
    from gevent import reinit

    reinit()
