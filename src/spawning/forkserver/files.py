"""Which files a generation depends on, for those who watch them: loaded ones, and those of a failure."""

import os
import sys
import traceback
from collections.abc import Iterator, Sequence


def loaded_files() -> list[str]:
    """List the files behind ``sys.modules``."""
    files = (getattr(module, "__file__", None) for module in list(sys.modules.values()))
    return sorted({file for file in files if isinstance(file, str) and os.path.isabs(file)})


def files_of(error: BaseException, directory: str) -> Iterator[str]:
    """List the files in the tracebacks of an error and its causes; a module that failed is not in ``sys.modules``."""
    chain: list[BaseException] = [error]
    for each in chain:
        if isinstance(each, SyntaxError) and each.filename:
            yield os.path.abspath(each.filename)
        if isinstance(each, ModuleNotFoundError) and each.name:
            yield from files_named([each.name], directory)
        frames = traceback.extract_tb(each.__traceback__)
        yield from (frame.filename for frame in frames if os.path.isabs(frame.filename))
        chain += [cause for cause in (each.__cause__, each.__context__) if cause is not None and cause not in chain]


def files_named(names: Sequence[str], directory: str) -> Iterator[str]:
    """List the files in which the modules of these names would be, seen from a directory."""
    for name in names:
        parts = name.partition(":")[0].split(".")
        for count in range(1, len(parts) + 1):
            path = os.path.join(directory, *parts[:count])
            yield f"{path}.py"
            yield os.path.join(path, "__init__.py")
