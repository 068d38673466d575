"""The birth of a worker: forked twice, so that the controller adopts it, while what the application has registered for
a fork happens once.

The process in between exits at once, and the kernel gives the worker to the controller (a subreaper), which so sees its
exit. One fork would do if Linux could fork a sibling (``CLONE_PARENT``), but only ``os.fork`` and the C library around
it leave memory allocation, locks and threads of the interpreter in order, and neither can do that.

``os.register_at_fork`` hooks would run for both forks: a hook that starts a thread would start one in the process in
between. So the fork server puts a gate before each (:func:`gate_hooks`). ``before`` and ``after_in_parent`` run in the
fork server, ``after_in_child`` in the worker, each once; what the interpreter itself has to put in order, and hooks of
the standard library, which were registered before the gate, are done for each fork. Other forks pass the gate freely.
"""

import contextlib
import os
import sys
import warnings
from collections.abc import Callable
from enum import Enum
from typing import Any

from spawning.ipc.channel import Channel
from spawning.ipc.prctl import die_with_parent
from spawning.logs.log import Log
from spawning.logs.setup import fields
from spawning.primitives import get_ident
from spawning.worker.children import restore_handlers

log = Log("spawning.forkserver")

Hook = Callable[[], Any]


class Fork(Enum):
    """Which fork a thread is about to do."""

    ANY = "the application's, whose hooks all run"
    FIRST = "from the fork server to the process in between"
    SECOND = "from there to the worker"


_skipped: dict[str, Fork] = {"before": Fork.SECOND, "after_in_parent": Fork.SECOND, "after_in_child": Fork.FIRST}
_under_way = Fork.ANY
_by = 0  # the thread that forks; others may do so at the same time
_register = os.register_at_fork
_os_fork = os.fork  # by these names, whatever gevent makes of the module
_waitpid = os.waitpid


def gate_hooks() -> None:
    """Gate the hooks that are registered from now on. Once, before the application is imported."""
    os.register_at_fork = _register_gated


def _register_gated(**hooks: Hook | None) -> None:
    """Register hooks as ``os.register_at_fork`` does, to be run once for each worker."""
    _register(**{when: _gated(when, hook) if callable(hook) else hook for when, hook in hooks.items()})


def _gated(when: str, hook: Hook) -> Hook:
    skipped = _skipped.get(when)

    def gated() -> None:
        if _under_way is not skipped or get_ident() != _by:
            hook()

    return gated


def disown(channel: Channel) -> None:
    """Have processes that the application forks during its import, or in threads of it, not be taken for the fork
    server: they do not hold its channel, and signals that end programs end them.
    """

    def in_child() -> None:
        if _under_way is Fork.ANY or get_ident() != _by:
            channel.close()
            restore_handlers()

    _register(after_in_child=in_child)


def fork_twice(generation: int, controller: int) -> bool:
    """Fork; True in the new worker. The controller learns of a failure by the end of that worker's channel.

    :param generation: for the log.
    :param controller: the pid of who is to adopt it.
    """
    flush()
    with warnings.catch_warnings():  # of threads at a fork; Loaded has named them already, and once is enough
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            between = _fork(Fork.FIRST)
        except OSError as error:
            log.warning("cannot fork %s", fields(generation=generation, reason=error.strerror))
            return False
        if between == 0:
            return _forked_again(controller)
    with contextlib.suppress(ChildProcessError):  # the application may have had all its children reaped
        _waitpid(between, 0)
    return False


def _fork(which: Fork) -> int:
    global _under_way, _by  # noqa: PLW0603 - hooks get no argument that could tell them
    _by, _under_way = get_ident(), which
    try:
        return _os_fork()
    finally:
        _under_way = Fork.ANY


def _forked_again(controller: int) -> bool:
    """Fork once more, in the process in between, and leave nothing of that.

    The new worker dies with the controller, which has adopted it, until it looks at its channel: an import or a check
    that never ends would outlive it otherwise.
    """
    between = os.getpid()
    try:
        if _fork(Fork.SECOND):
            os._exit(0)
    except OSError:
        os._exit(1)
    while os.getppid() == between:  # its end would count as that of the parent
        os.sched_yield()
    die_with_parent()
    if os.getppid() != controller:  # it is dead, or about to be: then nobody may tell us any more
        os._exit(0)
    return True


def flush() -> None:
    """Write what is buffered, or it would be written once more by each process that is forked."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):  # boundary: it may be anything that the application has put there
            stream.flush()
