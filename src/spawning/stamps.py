"""Whether files are still what they were when they were loaded: by size, time of change and inode.

A fork server that takes the place of one that has died may load only what the dead one had loaded, and these are read
from the disk once more. Their contents are not compared: reading thousands of files costs more than asking for their
stamps, and every tool that changes one writes it anew or sets its time. A file that has changed while it was loaded has
no stamp that anything equals, for nobody knows which of both was read.
"""

import os
from collections.abc import Mapping, Sequence

from spawning.errors import AppLoadError

_UNKNOWN = "?"
_MOST_NAMED = 5  # files in a message


class ChangedError(AppLoadError):
    """Files are not what they were."""


def stamps(files: Sequence[str], since: int) -> list[str]:
    """Return the stamp of each file.

    :param since: when loading them began (nanoseconds since the epoch).
    """
    return [_stamp(file, since) for file in files]


def check_same(loaded: Mapping[str, str]) -> None:
    """See that files are what they were.

    :param loaded: file to stamp; none when it is not known what was loaded.
    :raises ChangedError: they are not; names the first few.
    """
    if not loaded:
        raise ChangedError("it is not known which files the code that serves has come from")
    changed = [file for file, stamp in loaded.items() if stamp == _UNKNOWN or _stamp(file) != stamp]
    if changed:
        more = f" and {len(changed) - _MOST_NAMED} more" if len(changed) > _MOST_NAMED else ""
        raise ChangedError(f"files have changed since they were loaded: {', '.join(changed[:_MOST_NAMED])}{more}")


def _stamp(file: str, since: float = float("inf")) -> str:
    try:
        status = os.stat(file)
    except NotADirectoryError:  # a module in an archive
        return _stamp(os.path.dirname(file), since)
    except OSError:
        return ""
    return _UNKNOWN if status.st_mtime_ns >= since else f"{status.st_size}:{status.st_mtime_ns}:{status.st_ino}"
