"""Interrupting a request that takes too long (``--request-timeout``), where each has a greenlet.

The window is as with threads (``timeouts``): the attendant takes the token out. But it wakes what waits: the exception
is raised where the greenlet has left the thread to others, as gevent's own timeouts are, which leaves nothing half
done. A greenlet that does not yield is interrupted by a signal, whose handler the interpreter runs in whichever
greenlet is running; it raises in the one that is meant, also where that waits in C.
"""

from time import monotonic
from typing import cast
from weakref import ref

from gevent import getcurrent

from spawning.errors import RequestTimeout
from spawning.worker.greenlets import Greenlets, RequestGreenlet
from spawning.worker.timeouts import Call
from spawning.wsgi.exchange import Exchange, WSGIApplication


class GreenCall(Call):
    """See the module. The greenlet that runs the exchange, but for what says otherwise.

    :param greenlets: of the worker.
    """

    __slots__ = ("_greenlet", "_greenlets", "_received")

    def __init__(self, greenlets: Greenlets, exchange: Exchange, application: WSGIApplication) -> None:
        super().__init__(exchange, application)
        self._greenlets = greenlets
        greenlet = cast(RequestGreenlet, getcurrent())
        self._greenlet = ref(greenlet)  # the environ of a request holds this, and may be kept by the application
        self._received = False
        self.ident = id(greenlet)

    def _receive(self) -> None:
        self._received = True

    def _is_current(self) -> bool:
        return getcurrent() is self._greenlet()

    def interrupt(self) -> bool:
        """Raise in the greenlet. The attendant."""
        self.interrupted_at = monotonic()
        runs = self._greenlets.running() is self._greenlet()
        if runs:
            self._greenlets.strike(self._strike)
        self._greenlets.throw(self._throw)
        return runs

    def _strike(self) -> None:
        """Raise here, if here is where it is meant. Any greenlet."""
        if not self._received and getcurrent() is self._greenlet():
            self._received = True
            raise RequestTimeout

    def _throw(self) -> None:
        """Raise where the greenlet waits, if it still does. The hub."""
        if not self._received:
            self._received = True
            greenlet = self._greenlet()
            if greenlet is not None:
                greenlet.throw(RequestTimeout)

    def stack(self) -> str:
        """Return where it is, as a traceback shows it. Any thread."""
        greenlet = self._greenlet()
        return greenlet.stack() if greenlet is not None else ""
