"""The two ways in which a worker executes requests (``-t``), with threads or with greenlets: chosen here alone.

What differs: the executor, what notices that a request holds up others, and how one that takes too long is interrupted.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple, Protocol

from spawning.worker.context import Context
from spawning.worker.dispatch import Dispatch
from spawning.worker.executor import Executor
from spawning.worker.threads import Threads
from spawning.worker.timeouts import Call
from spawning.worker.watchdog import Watchdog
from spawning.wsgi.exchange import Exchange, WSGIApplication


class Watching(Protocol):
    """Looks at what is executed, now and then. The thread that attends."""

    def tick(self, now: float) -> float:
        """Return how long to sleep until the next look; infinite is until the alarm.

        :param now: monotonic seconds.
        """

    def on_alarm(self, now: float) -> None:
        """Look because the alarm has gone off."""

    def look(self, now: float, tick: float, late: float) -> None:
        """Judge the tick that has just ended.

        :param now: monotonic seconds.
        :param tick: seconds that it was to last.
        :param late: seconds that it has lasted longer.
        """


class Mode(NamedTuple):
    """See the module.

    :param executor: of the worker.
    :param watchdog: makes what watches what is executed.
    :param call: makes the application as one exchange sees it (``timeouts``).
    """

    executor: Executor
    watchdog: Callable[[Dispatch], Watching]
    call: Callable[[Exchange, WSGIApplication], Call]


def mode(context: Context, worker: str) -> Mode:
    """Make what the settings ask for.

    :param worker: its name, for the log.
    """
    if context.settings.threadpool_workers:
        return Mode(Threads(context), Watchdog, Call)
    # These import gevent, which is there only for -t 0.
    from spawning.worker.greencall import GreenCall
    from spawning.worker.greenlets import Greenlets
    from spawning.worker.unyielding import Unyielding

    greenlets = Greenlets(context)
    return Mode(
        greenlets, lambda dispatch: Unyielding(dispatch, greenlets, context, worker), partial(GreenCall, greenlets)
    )
