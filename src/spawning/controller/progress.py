"""A line on the terminal that changes: what a load waits for. Nowhere else than on a terminal that can do that.

The cursor is left at the beginning of the line, so that whatever is printed next takes its place.
"""

import contextlib
import logging
import os

from spawning.logs.log import escaped, target

_USUAL_COLUMNS = 80
_ERASE = "\x1b[K"  # ECMA-48, EL: from the cursor to the end of the line


class Progress:
    """See the module. For the controller's loop alone."""

    def __init__(self) -> None:
        self._is_terminal = os.isatty(2) and os.environ.get("TERM") != "dumb"
        self._stands = False

    @property
    def is_wanted(self) -> bool:
        """Whether there is such a line; else the log says it."""
        return self._is_terminal and not target.json and target.level <= logging.INFO and target.writer is not None

    def show(self, text: str) -> None:
        """Show it in the place of the one before."""
        self._put(escaped(text)[: _columns() - 1])
        self._stands = True

    def clear(self) -> None:
        """Show nothing more."""
        if self._stands:
            self._stands = False
            self._put("")

    def _put(self, text: str) -> None:
        if target.writer is not None:
            target.writer.put(f"{_ERASE}{text}\r")


def _columns() -> int:
    with contextlib.suppress(OSError):
        return os.get_terminal_size(2).columns or _USUAL_COLUMNS
    return _USUAL_COLUMNS
