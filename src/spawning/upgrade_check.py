"""Check whether the Spawning that is installed now could succeed the program of the controller that runs.

The controller starts this, as ``spawn`` with its own command line and a variable (``ipc/succession.py``), before it
replaces itself: everything is imported that a controller and its processes need, the command line is understood, and
the state that the controller would leave is read. What fails here would have failed after the exec, when there is no
way back. Nothing is touched, and the application is not imported.
"""

import importlib

from spawning.controller import state
from spawning.ipc.succession import answer

_NEEDED = ("spawning.controller.start", "spawning.forkserver.main", "spawning.worker.main")


def check(data: bytes) -> int:
    """Try, and print the answer; give the exit status.

    :param data: the state.
    :raises ValueError: it cannot be used.
    """
    for name in _NEEDED:
        importlib.import_module(name)
    state.loads(data)
    print(answer(), flush=True)
    return 0
