"""Trials (see ``sensor``) of routes whose calls are handed over: run one call inline while no other is under way.

On a busy worker threads are never idle by chance. So requests are kept back for a moment, until the threads run dry.
"""

from typing import TYPE_CHECKING, Final

from spawning.worker.connection import Connection

if TYPE_CHECKING:
    from spawning.worker.loop import Loop

_HOLD: Final = 0.02  # seconds that requests may be kept back …
_HOLD_EVERY: Final = 0.25  # … and at least between two times that they are


class Trials:
    """Leader only.

    :ivar next: (monotonic seconds) when requests may be kept back again.
    """

    def __init__(self, loop: "Loop") -> None:
        self.next = 0.0
        self._loop = loop
        self._connection: Connection | None = None
        self._until = 0.0

    def hold(self, connection: Connection) -> None:
        """Keep requests back until the threads run dry; then the one of this connection is the trial."""
        loop = self._loop
        loop.threads.holding = True
        self._connection = connection
        self._until = loop.now + _HOLD
        self.next = loop.now + _HOLD_EVERY
        connection.register()

    def go_on(self, box: list[Connection]) -> bool:
        """End the wait for the threads to run dry, if they have or if it takes too long. False: the lead is lost."""
        loop = self._loop
        connection = self._connection
        assert connection is not None
        if loop.threads.executing:
            if loop.now < self._until:
                return True
            connection.sensor.trial_failed(loop.now)
        loop.threads.holding = False
        self._connection = None
        if loop.execute(connection):
            connection.go_on()
        return loop.box is box
