"""What counts below a directory that is watched whole (``-w .``): files that people write.

What the server and the application write does not, or each request could ask for a reload: databases, logs, compiled
code, what tools keep for themselves, what Django has its uploads in. Files that are watched by their own name count in
any case.
"""

import os
import re
import stat
from collections.abc import Collection, Iterator

_SQLITE = b"SQLite format 3\0"  # how a database of whatever name begins (sqlite.org/fileformat.html, section 1.3)
_ENVIRONMENT = "pyvenv.cfg"  # PEP 405: whatever is there was installed
_DIRECTORIES = frozenset({"__pycache__", "node_modules", "bower_components", "htmlcov"})
_FILES = re.compile(
    r"""
    \.py[cod]$
    | \.(sqlite3?|db3?|s3db)$ | -(journal|wal|shm|mj[0-9A-Fa-f]+)$  # sqlite.org/tempfiles.html
    | \.log(\.[\w.-]+)?$ | \.pid$ | \.sock$ | ^\.coverage | ^celerybeat-schedule
    # what editors write beside a file
    | ~$ | ^\.\# | ^\#.*\#$ | \.sw[a-z]$ | ^4913$ | ___jb_\w+___$ | \.kate-swp$ | ^\.goutputstream- | ^\.nfs
    | ^\.DS_Store$
    """,
    re.VERBOSE,
)


class Counted:
    """See the module. Any thread.

    :param unwatched: directories of which nothing counts, such as those of templates that are always read anew.
    :param own: files that the server itself writes.
    """

    def __init__(self, unwatched: Collection[str] = (), own: Collection[str] = ()) -> None:
        self._unwatched = frozenset(map(os.path.realpath, unwatched))
        self._own = frozenset(map(os.path.realpath, own))

    def directory(self, path: str) -> bool:
        """Whether something below a directory may count."""
        name = os.path.basename(path)
        if name in _DIRECTORIES or name.startswith("."):
            return False
        return os.path.realpath(path) not in self._unwatched and not os.path.exists(os.path.join(path, _ENVIRONMENT))

    def named(self, path: str) -> bool:
        """Whether a file may count, by its name."""
        return not _FILES.search(os.path.basename(path)) and os.path.realpath(path) not in self._own

    def file(self, path: str) -> bool:
        """Whether the change of a file counts. One that is gone does."""
        if not self.named(path):
            return False
        try:
            if not stat.S_ISREG(os.stat(path).st_mode):
                return False
            with open(path, "rb") as file:
                return file.read(len(_SQLITE)) != _SQLITE
        except FileNotFoundError:
            return True
        except OSError:  # nobody may read it, so nobody has used it
            return False

    def tree(self, root: str) -> Iterator[str]:
        """List a directory and those below it that may count, through links, each once."""
        seen: set[tuple[int, int]] = set()
        waiting = [root]
        while waiting:
            directory = waiting.pop()
            try:
                status = os.stat(directory)
                entries = list(os.scandir(directory))
            except OSError:  # it is gone, or not ours to read
                continue
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            yield directory
            waiting += [entry.path for entry in entries if entry.is_dir() and self.directory(entry.path)]
