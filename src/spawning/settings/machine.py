"""What a default may depend on: the machine."""

import math
import os
from pathlib import Path

from spawning import cgroup


def usable_cpus(root: Path = Path("/")) -> int:
    """Count the processors that this process may use: affinity, and the CPU quota of its control group (rounded up).

    :param root: where ``/proc`` and ``/sys`` are.
    """
    count = len(os.sched_getaffinity(0))
    quota = cgroup.cpus(root)
    return max(1, min(count, math.ceil(quota))) if quota < math.inf else max(1, count)
