"""``wsgi.errors`` (PEP 3333, "Input and Error Streams"): what the application writes goes to the error log, by lines.

One stream serves all requests of a worker, so requests pay nothing for it. Several threads write at once: what a thread
has begun waits for that thread to end the line or to flush, so that each line is whole and of one thread. A line that
is never ended is written when the worker ends.
"""

import io
from collections.abc import Iterable
from threading import get_ident

from spawning.logs.log import Log

log = Log("spawning.app")


class ErrorStream(io.TextIOBase):
    """A text stream whose lines become lines of the log. Any method from any thread: each touches the entry of its own
    thread only, with single dictionary operations.
    """

    def __init__(self) -> None:
        self._begun: dict[int, str] = {}  # by thread

    def writable(self) -> bool:
        return True

    def write(self, text: str, /) -> int:
        """Log every line that `text` ends, and keep the rest."""
        if not isinstance(text, str):
            raise TypeError(f"wsgi.errors takes str, not {type(text).__name__} (PEP 3333)")
        ident = get_ident()
        lines = (self._begun.pop(ident, "") + text).split("\n")
        rest = lines.pop()
        if rest:
            self._begun[ident] = rest
        for line in lines:
            log.error("%s", line.removesuffix("\r"))
        return len(text)

    def writelines(self, lines: Iterable[str], /) -> None:  # type: ignore[override]
        """Write one after the other; as for any file, line ends have to be in the texts."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Log what this thread has begun, as a line."""
        if rest := self._begun.pop(get_ident(), ""):
            log.error("%s", rest)

    def close(self) -> None:
        """Log what any thread has begun. The stream is everybody's, so it stays open."""
        while self._begun:
            try:
                _, rest = self._begun.popitem()
            except KeyError:  # its thread was faster
                return
            log.error("%s", rest)
