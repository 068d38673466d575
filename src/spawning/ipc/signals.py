"""The signals that are meant for the controller, whatever other process gets them.

A terminal, ``timeout``, a shell or a person sends them to the whole process group. Fork servers and workers do nothing
then: the controller tells them what it means. A process can only ignore a signal once its program has installed a
handler, and until then most of these would end it. So each process starts with these signals blocked, and lets them in
behind its handlers.
"""

import signal
from typing import Final

FOR_THE_CONTROLLER: Final = (
    signal.SIGINT, signal.SIGTERM, signal.SIGQUIT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGTTIN,
    signal.SIGTTOU,
)  # fmt: skip


def keep_out() -> None:
    """Block them in this thread."""
    signal.pthread_sigmask(signal.SIG_BLOCK, FOR_THE_CONTROLLER)


def let_in() -> None:
    """Block nothing in this thread, so that what it starts does not either."""
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def ignore() -> None:
    """Do nothing about them in this process from now on. Only from the main thread."""
    for signum in FOR_THE_CONTROLLER:
        signal.signal(signum, leave_to_the_controller)


def leave_to_the_controller(*_: object) -> None:
    """Do nothing. A function, not SIG_IGN: programs that the application starts would inherit that."""
