"""Trials (see ``sensor``) of routes whose calls are handed over: run one call inline while no other is under way.

On a busy worker threads are never idle by chance. So requests are kept back for a moment, until the threads run dry.
"""

from typing import Final

from spawning.worker.context import Context
from spawning.worker.executor import Executor
from spawning.worker.roles import Dispatcher, Job

_HOLD: Final = 0.02  # seconds that requests may be kept back …
_HOLD_EVERY: Final = 0.25  # … and at least between two times that they are


class Trials:
    """Leader only.

    :param dispatcher: executes the trial.
    :param context: of the worker.
    :param executor: the threads that are to run dry.

    :ivar next: (monotonic seconds) when requests may be kept back again.
    """

    def __init__(self, dispatcher: Dispatcher, context: Context, executor: Executor) -> None:
        self.next = 0.0
        self._dispatcher = dispatcher
        self._context = context
        self._executor = executor
        self._job: Job | None = None
        self._until = 0.0

    def hold(self, job: Job) -> None:
        """Keep requests back until the threads run dry; then this one is the trial."""
        job.register()
        now = self._context.now
        self._job = job
        self._until = now + _HOLD
        self.next = now + _HOLD_EVERY
        self._executor.holding = True

    def go_on(self) -> None:
        """End the wait for the threads to run dry, if they have or if it takes too long. Raises LeadLost."""
        now = self._context.now
        job = self._job
        assert job is not None
        if self._executor.executing:
            if now < self._until:
                return
            job.sensor.trial_failed(now)
        self._executor.holding = False
        self._job = None
        self._dispatcher.resume(job)
