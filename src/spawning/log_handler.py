"""A handler of ``logging`` for applications, whose records go to the error log of the server.

    [handlers.server]
    class = "spawning.log_handler.ErrorLogHandler"

They have its form there, as text or as JSON, and wait for no reader.
"""

import logging
import sys

from spawning.logs.log import put, settle
from spawning.logs.setup import fields


class ErrorLogHandler(logging.Handler):
    """See the module. Which records there are is for ``logging`` to say, not for ``--log-level``.

    A formatter says what stands behind time, process and level; without one it is the message, and ``logger=NAME``.
    Elsewhere than in a server, records go to stderr.
    """

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record; one of an error is out of this process when this returns, unless nobody reads."""
        # boundary: how an argument is shown is the application's code; `logging` says what a handler does then
        try:
            text, error = self._shown(record)
            if not put(record.levelno, text, error):
                sys.stderr.write(f"{record.levelname} {self.format(record)}\n")
            elif record.levelno >= logging.ERROR:
                settle()
        except Exception:
            self.handleError(record)

    def _shown(self, record: logging.LogRecord) -> tuple[str, BaseException | None]:
        if self.formatter is not None:
            return self.format(record), None
        first, line_end, rest = record.getMessage().partition("\n")
        text = f"{first} {fields(logger=record.name)}{line_end}{rest}"
        if record.stack_info:
            text = f"{text}\n{record.stack_info}"
        return text, record.exc_info[1] if record.exc_info else None
