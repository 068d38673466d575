"""Ending event streams, when nobody wants to wait for them: while developing, and at Ctrl-C.

A response of ``text/event-stream`` or ``multipart/x-mixed-replace`` has no end of its own, and its client comes back
when it is cut: that is what these types are for. So such a response is ended from outside, and what is left of it, a
thread that waits for the next event, is not waited for.

Main thread. The response belongs to the thread that executes it, which learns from its next block that the client has
gone. The socket is shut down with the interpreter lock held (``syscalls``): the owner closes a socket only when it has
the lock, and takes the number away first, so no other socket can have it.
"""

import re
from typing import Final

from spawning.worker import syscalls
from spawning.worker.details import executions
from spawning.worker.dispatch import Dispatch
from spawning.worker.http1 import Http1
from spawning.wsgi.exchange import Exchange

LAST_WORDS: Final = 0.5  # seconds for the application to end what it does for a stream, before it is given up

_ENDLESS: Final = re.compile(rb"\r\ncontent-type:[ \t]*(text/event-stream|multipart/x-mixed-replace)", re.IGNORECASE)


class Streams:
    """The event streams of a worker that leaves.

    :ivar ended: (exchanges) those that were ended and are still being executed.
    """

    def __init__(self, dispatch: Dispatch) -> None:
        self._dispatch = dispatch
        self.ended: set[Exchange] = set()

    def end(self, now: float) -> None:
        """End those that there are, also such as have begun since the last time.

        :param now: monotonic seconds.
        """
        under_way = set()
        for each in executions(self._dispatch, now):
            job = each.job
            if isinstance(job, Http1) and is_endless(each.exchange):
                under_way.add(each.exchange)
                if each.exchange not in self.ended:
                    syscalls.shut_down(job.fd)
        self.ended = under_way


def is_endless(exchange: Exchange) -> bool:
    """Whether the response has begun, and is of a type that has no end. Any thread."""
    head = exchange.head
    return head is not None and exchange.responder.head_sent and _ENDLESS.search(head.start) is not None
