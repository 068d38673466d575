"""The scheduling policy of a worker's threads (``sched(7)``): which of them yields to what is already running.

Workers of a service share its processors, with each other and with whatever brings them their requests. When a request
arrives for one of them, the kernel would let its leader interrupt a sibling in the middle of another request, or the
proxy that is about to send the next ones. Under ``SCHED_BATCH`` it waits for its turn, and finds more to do at a time
then (``docs/design/0013``). Threads that execute requests which wait are as usual: those have waited already.
"""

import contextlib
import os


class Policy:
    """What leaders and request threads say of themselves. Any thread, of itself.

    It stays as it is where somebody has chosen another policy for the service, where the kernel allows no choice, and
    with musl, which offers none.

    :param siblings: there are other workers.
    """

    def __init__(self, *, siblings: bool) -> None:
        self._yields = siblings and _chosen() == os.SCHED_OTHER

    def lead(self) -> None:
        """Yield, from now on."""
        if self._yields:
            _choose(os.SCHED_BATCH)

    def follow(self) -> None:
        """Be scheduled as usual: the lead is lost, or a leader has started this thread, which inherits its policy."""
        if self._yields:
            _choose(os.SCHED_OTHER)


def _chosen() -> int | None:
    try:
        return os.sched_getscheduler(0)
    except OSError:
        return None


def _choose(policy: int) -> None:
    with contextlib.suppress(OSError):
        os.sched_setscheduler(0, policy, os.sched_param(0))
