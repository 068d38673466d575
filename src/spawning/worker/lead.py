"""The lead: which thread of a worker runs its loop, and how that right passes to another one.

One thread at a time is the **leader**. The concurrency argument is this page.

There is one *token* for the lead. While the leader polls and reads it has the token in its hands, so to speak: nobody
can take it. Before it calls the application inline it puts the token into the ``box``, a list; afterwards it pops it
again. Taking the lead from a leader that is held up means popping the token too. A list's ``append`` and ``pop`` are
atomic, so exactly one of the two succeeds: either the leader goes on leading, or it finds the box empty, finishes its
response as an ordinary request thread would, and touches nothing of the loop any more. Each term has a box of its own,
so a token cannot be mistaken for that of a later leader.

Who takes the token has the successor in hand already, a thread that has been started and waits, so that the worker is
never without a leader. Popping the token, a new box, and counting the old leader among the threads that execute are one
critical section (``_change``): the old leader, which finds its token gone, waits for the end of that section before it
asks for its next request. Locks are taken in this order: ``_change``, then that of the executor.

Greenlets lead in the same way, one after the other in one thread. The hub takes the token: when it gets the thread from
a leader that is inside the application, the leader waits.
"""

from _thread import allocate_lock

from spawning.worker.executor import Executor, Runner
from spawning.worker.roles import Job


class Lead:
    """See the module.

    :param executor: where the next leader comes from.

    :ivar box: holds the token while the leader is inside the application: the job that it executes.
    :ivar leader: the thread that leads; None before the first one does.
    """

    def __init__(self, executor: Executor) -> None:
        self.box: list[Job] = []
        self.leader: Runner | None = None
        self._executor = executor
        self._change = allocate_lock()

    def settle(self) -> None:
        """Wait until who has taken the token has done all that belongs to it. The old leader, behind its call."""
        with self._change:
            pass

    def take(self) -> Job | None:
        """If the leader is inside a call, let another thread lead. The watchdog, or the leader from inside the call.

        :returns: the job that call serves; None if there is none, or no thread to lead.
        """
        successor = self._executor.reserve()
        if successor is None:
            return None
        try:
            job = self._pop(successor)
        except IndexError:
            self._executor.release(successor)
            return None
        successor.wake()
        return job

    def _pop(self, successor: Runner) -> Job:
        """Take the token for a successor; IndexError: it is not in the box."""
        with self._change:
            job = self.box.pop()
            self.box = []
            old, self.leader = self.leader, successor
            assert old is not None
            self._executor.note_held_up(old, job)
        return job

    def give_up(self) -> bool:
        """If this thread leads, let another one lead: what it executes is going to wait.

        :returns: False when this thread still leads, since no other thread can be started.
        """
        leader = self.leader
        return leader is None or not leader.is_current() or self.take() is not None or self.leader is not leader
