"""The directory in which the processes of the application leave files for the status service: the controller names it,
and removes it at its end.
"""

import os
import stat

from spawning.errors import ConfigError


def make_directory(directory: str, origin: str) -> None:
    """Make the directory, unless a process of this service has made it.

    :param origin: what wants it, for the error.
    :raises ConfigError: it cannot be made, or is somebody else's.
    """
    try:
        os.mkdir(directory, 0o700)
    except FileExistsError:
        found = os.lstat(directory)
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
            raise ConfigError(f"{origin}: {directory} is not ours") from None
    except OSError as error:
        raise ConfigError(f"{origin}: cannot make {directory}: {error.strerror}") from None
