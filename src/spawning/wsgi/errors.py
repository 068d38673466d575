"""``wsgi.errors`` (PEP 3333, "Input and Error Streams"): a stream, whose lines go where the error log goes.

They are the application's own, so nothing is put in front of them: a program that logs to this stream has written time
and level already. They are no records of ``logging`` either, or what watches that (Sentry) would take each line of a
traceback for an error. But they go through the writer of the log, which keeps lines of several workers apart, and waits
for no reader: a flush does so for a moment at most.

One stream serves all requests of a worker, so requests pay nothing for it. Several threads write at once: what a thread
has begun waits for that thread to end the line or to flush, so that each line is whole and of one thread. A line that
is never ended is written when the worker ends, or when it has become too long to be kept.
"""

import io
from collections.abc import Callable, Iterable
from threading import get_ident
from typing import Final

from spawning.logs.log import settle, write

LONGEST: Final = 1 << 16  # characters that are kept of a line which has not ended


class ErrorStream(io.TextIOBase):
    """A text stream of lines. Any method from any thread: each touches the entry of its own thread only, with single
    dictionary operations.

    :param put: takes whole lines, and does not wait; by default the error log.
    :param settle: waits a moment for them to be written.
    :param ident: identifies the thread that calls it, or what is its like.
    """

    encoding = "utf-8"
    errors = "backslashreplace"
    refusal = "wsgi.errors takes str, not %s (PEP 3333)"

    def __init__(
        self,
        put: Callable[[str], None] = write,
        settle: Callable[[], None] = settle,
        ident: Callable[[], int] = get_ident,
    ) -> None:
        self._put = put
        self._settle = settle
        self._ident = ident
        self._begun: dict[int, str] = {}  # by thread

    def writable(self) -> bool:
        return True

    def write(self, text: str, /) -> int:
        """Write the lines that `text` ends, which stay together, and keep the rest."""
        if not isinstance(text, str):
            raise TypeError(self.refusal % type(text).__name__)
        ident = self._ident()
        # Of a subclass what it holds: markupsafe's escapes what it is joined with.
        begun = self._begun.pop(ident, "") + str.__str__(text)
        end = begun.rfind("\n") + 1
        if len(begun) - end > LONGEST:
            begun += "\n"
            end = len(begun)
        if end < len(begun):
            self._begun[ident] = begun[end:]
        if end:
            self._put(begun[:end])
        return len(text)

    def writelines(self, lines: Iterable[str], /) -> None:  # type: ignore[override]
        """Write one after the other; as for any file, line ends have to be in the texts."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Write what this thread has begun, as a line, and see to it that a kill does not lose it.

        ``logging`` flushes behind each record, so the last words of a view that crashes its worker are in the log.
        """
        if rest := self._begun.pop(self._ident(), ""):
            self._put(f"{rest}\n")
        self._settle()

    def close(self) -> None:
        """Write what any thread has begun. The stream is everybody's, so it stays open."""
        while self._begun:
            try:
                _, rest = self._begun.popitem()
            except KeyError:  # its thread was faster
                return
            self._put(f"{rest}\n")
