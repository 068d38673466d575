"""A traceback for the person who is writing the code: with the lines around each place, by ``rich`` (an extra).

Used in a fork server with ``--reload dev``, where the exception still is an object. Without ``rich`` the plain
traceback does, and one line says what is missing.
"""

import contextlib
import importlib
import io
import os
import shutil
import sys
import sysconfig

from spawning.errors import AppLoadError

HINT = "(for a traceback with the code around each line, the extra spawning[dev]: pip install rich)"

_MOST_COLUMNS = 120
_INSTALLED = sorted({sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")})
_INDENTED = 2  # columns, as everything in the log that is no line of its own
_OUR_DIRECTORY = os.path.dirname(os.path.abspath(__file__)) + os.sep
_IMPORT_MACHINERY = ("<frozen importlib", os.path.dirname(os.path.abspath(importlib.__file__)) + os.sep)


def readable(error: AppLoadError) -> str:
    """Return the application's traceback as text; empty if the application has raised nothing."""
    cause = error.__cause__
    if cause is None:
        return ""
    try:
        from rich.console import Console
        from rich.traceback import Traceback
    except ImportError:
        return f"{error.details.rstrip()}\n{HINT}"
    trace = Traceback.extract(type(cause), cause, cause.__traceback__)
    for stack in trace.stacks:
        stack.frames = [frame for frame in stack.frames if not frame.filename.startswith(_IMPORT_MACHINERY)]
        while stack.frames and stack.frames[0].filename.startswith(_OUR_DIRECTORY):
            del stack.frames[0]
    text = io.StringIO()
    width = min(shutil.get_terminal_size().columns, _MOST_COLUMNS) - _INDENTED
    shown = Traceback(trace, width=width, suppress=_INSTALLED)  # one line for each frame there
    Console(file=text, force_terminal=_on_a_terminal(), width=width).print(shown)
    return text.getvalue()


def _on_a_terminal() -> bool:
    with contextlib.suppress(ValueError, AttributeError):  # the application may have closed or replaced it
        return sys.stderr.isatty()
    return False
