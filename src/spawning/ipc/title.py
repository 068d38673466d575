"""What a process is called in ``ps`` and ``top``, by ``setproctitle`` if it is there.

Without it only the short name can be set, which the kernel keeps (15 bytes, ``ps -o comm``, ``pgrep spawning``).
"""

from spawning.ipc.prctl import set_name

try:
    from setproctitle import setproctitle
except ImportError:
    setproctitle = set_name

__all__ = ["setproctitle"]
