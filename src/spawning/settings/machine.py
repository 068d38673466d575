"""What a default may depend on: the machine."""

import math
import os
from pathlib import Path


def usable_cpus(cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """Count the processors that this process may use: affinity, and the CPU quota of its control group (rounded up)."""
    count = len(os.sched_getaffinity(0))
    try:
        quota, period = (cgroup / "cpu.max").read_text().split()
        if quota != "max":
            count = min(count, math.ceil(int(quota) / int(period)))
    except (OSError, ValueError):
        pass  # no control group of version 2, or none of ours: affinity is all there is to know
    return max(1, count)
