"""Import what is imported late, by the server and by what it imports, before the application's path counts.

A file of the application that is named like one of these (``random.py``, ``json.py``) would be taken for it otherwise,
at the first large upload or the first traceback. What is imported here, all workers share. A test notes what is
imported later than this (``tests/integration/test_late_imports.py``): it belongs here.
"""

import contextlib
import importlib
from typing import Final

from spawning.worker.bug import guard_recursion_limit

# What the modules that ``main`` imports look for in the middle of a call: codecs, what formats tracebacks, temporary
# files.
_LATE: Final = (
    "_suggestions", "ast", "atexit", "bisect", "codeop", "concurrent.futures", "difflib", "encodings.ascii",
    "encodings.idna", "encodings.latin_1", "encodings.punycode", "encodings.unicode_escape", "encodings.utf_8",
    "fnmatch", "glob", "gzip", "hashlib", "heapq", "http", "inspect", "linecache", "locale", "lzma", "bz2",
    "mimetypes", "pkgutil", "queue", "random", "resource", "selectors", "shutil", "stat", "string", "stringprep",
    "struct", "subprocess", "tempfile", "textwrap", "threading", "tokenize", "traceback", "tracemalloc",
    "unicodedata", "urllib.parse", "zlib",
)  # fmt: skip
_FOR_READABLE: Final = ("rich.console", "rich.traceback", "rich.syntax", "pygments.lexers.python")

_FOR_LOGGING: Final = ("logging.config", "logging.handlers")


def for_application(*, readable: bool, logging: bool = False) -> None:
    """Import all of it.

    :param logging: ``logging`` will be configured (``--log-config``).
    :param readable: tracebacks will be shown with the code around each line (``--reload dev``).
    """
    guard_recursion_limit()
    for name in (*_LATE, *(_FOR_READABLE if readable else ()), *(_FOR_LOGGING if logging else ())):
        with contextlib.suppress(ImportError):  # an extra, or a module that this Python was built without
            importlib.import_module(name)
