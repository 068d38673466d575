"""Ending tunnels (``tunnelling``), which have no end of their own: when the time is over that a worker was given, and
at once where nobody wants to wait (``streams``).

The application is told why (``Tunnel.leave``), and may have something sent to its client: a WebSocket's close frame.
It receives nothing more: it sees the end of what the client sends, wherever it waits for that. What it does then is not
waited for long.

Main thread. As in ``streams``, the socket is shut down with the interpreter lock held.
"""

from spawning.logs.log import Log
from spawning.worker import syscalls
from spawning.worker.details import executions
from spawning.worker.dispatch import Dispatch
from spawning.worker.http1 import Http1
from spawning.worker.stream import DONTWAIT
from spawning.wsgi.exchange import Exchange
from spawning.wsgi.tunnel import Tunnel

log = Log("spawning.worker")


class Tunnels:
    """The tunnels of a worker that leaves.

    :ivar ended: (exchanges) those that were ended and are still under way.
    """

    def __init__(self, dispatch: Dispatch) -> None:
        self._dispatch = dispatch
        self.ended: set[Exchange] = set()

    def end(self, now: float, code: int) -> None:
        """End those that there are, also such as have begun since the last time.

        :param now: monotonic seconds.
        :param code: why: ``RESTART`` or ``GOING_AWAY`` of ``wsgi.tunnel``.
        """
        under_way = set()
        for each in executions(self._dispatch, now):
            job = each.job
            if each.is_tunnel and isinstance(job, Http1) and (tunnel := job.tunnel) is not None:
                under_way.add(each.exchange)
                if not tunnel.leaving:
                    _end(tunnel, code, job.fd)
        self.ended = under_way


def _end(tunnel: Tunnel, code: int, fd: int) -> None:
    try:
        if last_words := tunnel.leave(code):
            syscalls.send(fd, last_words, DONTWAIT)
    except OSError:  # the client has gone, or takes nothing
        pass
    except Exception:  # boundary: what one application makes of its end must not cost the others theirs
        log.exception("the end of a tunnel could not be told")
    syscalls.shut_down(fd, syscalls.RECEIVING)
