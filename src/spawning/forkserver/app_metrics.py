"""``--app-metrics``: the application's own metrics, in ``prometheus_client``'s multiprocess mode.

That library keeps a process's metrics in memory files if ``PROMETHEUS_MULTIPROC_DIR`` names a directory when it is
imported. So the variable is set before anything of the application is. The status service reads the files, and looks
after those of processes that have gone (``status/app_metrics.py``).
"""

import os
from importlib.util import find_spec

from spawning.errors import ConfigError
from spawning.forkserver.shared import make_directory

VARIABLE = "PROMETHEUS_MULTIPROC_DIR"


def prepare(directory: str) -> None:
    """Have metrics of this process, and of those that it forks, kept in a directory, which is made if it is not there.

    :param directory: named by the controller; one of its service's earlier generations may have made it.
    :raises ConfigError: prometheus-client is missing, or the directory cannot be used.
    """
    if find_spec("prometheus_client") is None:
        raise ConfigError(
            "option --app-metrics needs prometheus-client, the extra spawning[metrics]: pip install prometheus-client"
        )
    make_directory(directory, "option --app-metrics")
    os.environ[VARIABLE] = directory
