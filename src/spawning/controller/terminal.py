"""The terminal that the server was started from: when it is closed, the server ends, as any program in it does.

The kernel and the shell then send SIGHUP, which otherwise asks for a reload. What tells the two apart is whether the
terminal is still there. ``nohup`` has SIGHUP ignored, and a daemon has no terminal: both go on. So does a server that
its shell has disowned, whose terminal goes away without a signal; a later SIGHUP is a reload then.
"""

import math
import os
import signal

from spawning.controller.descent import is_alive

LOOK_EVERY = 1.0  # seconds
TELLING = 5.0  # seconds, at least, that the signal may come behind the end of the terminal


class Terminal:
    """See the module. For the controller's loop alone, made before it has handlers of signals.

    :param counts: False: closing it means nothing, whatever the process looks like (after an upgrade in place).

    :ivar counts: there is one, and its end is that of the server.
    """

    def __init__(self, *, counts: bool = True) -> None:
        ignored = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
        self.counts = counts and not ignored and _is_there()
        self._look_at = 0.0
        self._gone_at = math.inf

    def look(self, now: float) -> None:
        """Notice, from time to time, that it goes away without a signal.

        :param now: monotonic seconds.
        """
        if not self.counts or now < self._look_at:
            return
        self._look_at = now + LOOK_EVERY
        if _is_there():
            return
        self._gone_at = min(self._gone_at, now)
        if now - self._gone_at >= TELLING:
            self.counts = False

    @property
    def is_closed(self) -> bool:
        """Whether the end of the terminal is what SIGHUP tells of."""
        return self.counts and not (_is_there() and is_alive(os.getsid(0)))


def _is_there() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return True
