"""One request's way through the application (PEP 3333): call it, take what it answers, close what it returned.

An :class:`Exchange` belongs to one thread while it runs, whichever that is. It knows a responder to answer through and
nothing of framing, threads, sockets or the event loop. What the application does wrong ends here: a traceback once in
the log, 500 if nothing was sent, otherwise a cut connection, so that the client can tell.
"""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Any, Final

from spawning.errors import RequestTimeout
from spawning.http.response import Pairs, ResponseHead, encode_head
from spawning.logs.log import Log
from spawning.wsgi import forked
from spawning.wsgi.environ import Environ
from spawning.wsgi.files import FileWrapper
from spawning.wsgi.names import names
from spawning.wsgi.responder import ClientGone, Responder

ExcInfo = tuple[type[BaseException], BaseException, TracebackType]
WSGIApplication = Callable[[Environ, Any], Iterable[bytes]]

_HAVE_ALL: Final = (type(iter(list[bytes]())), type(iter(tuple[bytes]())))  # iterators of what is there already
ENDED: Final[Environ] = {}  # the environ of an exchange that has ended

log = Log("spawning.app")


class Exchange:
    """A request and what the application answers to it.

    It is ``wsgi.early_hints`` of its own environ, so that no request has to make a callable, and who keeps it beyond
    its request holds one that has ended.

    :param responder: where the response goes; begun for this request.
    :param environ: of the request.

    :ivar head: of the response; None while the application has not called ``start_response``.
    :ivar started: (monotonic seconds) when the application was called; 0: it was not yet.
    :ivar ended: nothing may be written any more.
    """

    __slots__ = ("ended", "environ", "head", "responder", "started")

    head: ResponseHead | None

    def __init__(self, responder: Responder, environ: Environ) -> None:
        self.responder = responder
        self.environ = environ
        self.head = None
        self.started = 0.0
        self.ended = False
        environ["wsgi.early_hints"] = self

    def __call__(self, headers: Pairs) -> None:
        """Send fields ahead of the response (``wsgi.early_hints``, RFC 8297); nothing, when the request has ended.

        :raises ValueError, TypeError: as for the fields of a response; also when nothing is sent.
        """
        if not self.ended:
            self.responder.hint(headers)

    def start_response(self, status: str, headers: Pairs, exc_info: ExcInfo | None = None) -> Callable[[bytes], None]:
        """Take status and fields (PEP 3333, "The start_response() Callable")."""
        if exc_info is not None:
            try:
                if self.responder.head_sent:
                    raise exc_info[1].with_traceback(exc_info[2])
            finally:
                exc_info = None  # break the cycle of frame and traceback, as PEP 3333 asks
        elif self.head is not None:
            raise AssertionError("start_response called a second time without exc_info (PEP 3333)")
        self.head = encode_head(status, headers)
        return self.write

    def run(self, application: WSGIApplication) -> None:
        """Call the application and write its response; raises nothing that the application has raised."""
        try:
            result = application(self.environ, self.start_response)
            if forked.child:
                forked.leave()
            if type(result) is list:
                if len(result) == 1 and not self.responder.head_sent:
                    self._send_whole(result[0])
                else:
                    self._send_list(result)
            else:
                self._send_and_close(result)
                if forked.child:
                    forked.leave()
        except ClientGone:
            if forked.child:
                forked.leave()
            self.responder.cut = True
        except RequestTimeout:  # the log has its stack already
            self._answer(504, "Gateway Timeout", "the application takes too long")
        except BaseException as error:  # boundary: whatever the application raises, sys.exit() too, is this request's
            if forked.child:
                forked.leave(error)
            self._failed()
        finally:
            self.ended = True

    def write(self, data: bytes) -> None:
        """Send `data` at once (PEP 3333, "The write() Callable").

        :raises RuntimeError: the request has ended, and the connection may be another's by now.
        """
        if self.ended:
            raise RuntimeError("write() called after the response has ended (PEP 3333)")
        if data:
            self._send_block(data)
        elif not self.responder.head_sent:
            self._started()

    # -- what the application returned ------------------------------------------------------------------------------

    def _send_list(self, blocks: list[bytes]) -> None:
        body = blocks[0] if len(blocks) == 1 else b"".join(blocks)
        if self.responder.head_sent:
            if body:
                self._send_block(body)
            self._end()
        else:
            self._send_whole(body)

    def _send_and_close(self, result: Iterable[bytes]) -> None:
        try:
            if type(result) is not FileWrapper or not self._send_as_file(result):
                self._send_blocks(iter(result))
        finally:
            close = getattr(result, "close", None)
            if close is not None:
                self._close(close)

    def _send_blocks(self, blocks: Iterator[bytes]) -> None:
        if type(blocks) in _HAVE_ALL:  # as Django's responses do: nothing has to be waited for
            self._send_list(list(blocks))
            return
        for block in blocks:
            if block and not self._send_block(block):
                break  # nothing more is wanted, and the iterator may be endless
        self._end()

    def _send_as_file(self, wrapper: FileWrapper) -> bool:
        extent = wrapper.extent()
        if extent is None or self.responder.head_sent:
            return False
        self.responder.file(self._started(), *extent)
        self._note_length()
        return True

    def _send_whole(self, body: bytes) -> None:
        head = self.head
        if head is None:
            head = self._started()
        if type(body) is not bytes:
            raise _not_bytes(body)
        self.responder.whole(head, body)
        if head.content_length not in (-1, len(body)):
            self._note_length()

    def _send_block(self, block: bytes) -> bool:
        """Send a piece of content; False: nothing more may be sent."""
        head = self.head
        if head is None:
            head = self._started()
        if type(block) is not bytes:
            raise _not_bytes(block)
        return self.responder.block(head, block)

    def _end(self) -> None:
        self.responder.end(self._started())
        self._note_length()

    # -- what the application did wrong -------------------------------------------------------------------------------

    def _started(self) -> ResponseHead:
        if self.head is None:
            raise AssertionError("the application did not call start_response (PEP 3333)")
        return self.head

    def _note_length(self) -> None:
        """Log when the content was not as long as announced."""
        responder = self.responder
        if responder.too_long:
            log.error("response longer than its Content-Length %s", names(self.environ))
        elif responder.cut and self.head is not None:
            announced = self.head.content_length
            log.error(
                "response shorter than its Content-Length announced=%d sent=%d %s",
                announced, responder.sent, names(self.environ),
            )  # fmt: skip

    def _close(self, close: Callable[[], object]) -> None:
        try:
            close()
        except RequestTimeout:  # the log has its stack already, and the response is as complete as before
            return
        # boundary: the response is complete, or why it is not is known; sys.exit() in close() makes it no less so
        except BaseException as error:
            if forked.child:
                forked.leave(error)
            self._tell("close() of the response raised")

    def _failed(self) -> None:
        self._tell("application raised")
        self._answer(500, "Internal Server Error", "the application failed")

    def _tell(self, what: str) -> None:
        with contextlib.suppress(BaseException):  # boundary: logging is the application's to configure, and to break
            log.exception("%s %s", what, names(self.environ))

    def _answer(self, code: int, phrase: str, reason: str) -> None:
        head = self.responder.answer(code, phrase, reason)
        if head is not None:
            self.head = head


def _not_bytes(block: object) -> TypeError:
    return TypeError(f"the application returned {type(block).__name__}, not bytes (PEP 3333)")
