"""One request's way through the application (PEP 3333): call it, take what it answers, close what it returned.

An :class:`Exchange` belongs to one thread while it runs, whichever that is. It knows a responder to answer through and
nothing of framing, threads, sockets or the event loop. What the application does wrong ends here: it is logged, with a
traceback if it was raised; 500 if nothing was sent, otherwise a cut connection, so that the client can tell.
"""

import contextlib
import errno
from collections.abc import Callable, Iterable, Iterator
from time import monotonic
from types import TracebackType
from typing import Any, Final

from spawning.errors import RequestTimeout
from spawning.http.response import Pairs, ResponseHead, encode_head
from spawning.logs.log import Log
from spawning.wsgi import forked
from spawning.wsgi.blocks import HAVE_ALL, BadResponse, iterator, joined, plain
from spawning.wsgi.environ import Environ
from spawning.wsgi.files import FileWrapper
from spawning.wsgi.names import names
from spawning.wsgi.responder import ClientGone, Responder

ExcInfo = tuple[type[BaseException], BaseException, TracebackType]
WSGIApplication = Callable[[Environ, Any], Iterable[bytes]]

ENDED: Final[Environ] = {}  # the environ of an exchange that has ended
_ENDS: Final = (
    errno.EPIPE, errno.ECONNRESET, errno.ECONNABORTED, errno.ESHUTDOWN, errno.ENOTCONN, errno.ETIMEDOUT, errno.EBADF,
)  # fmt: skip
_LOOK_EVERY: Final = 0.5  # seconds that an iterable gives empty blocks, before its client is looked for

log = Log("spawning.app")

_told_of_dropped = False  # the log of this process has it


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
        if self.ended:
            return
        try:
            self.responder.hint(headers)
        except ClientGone:
            self.responder.cut = True
            raise

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
        self.head = head = encode_head(status, headers)
        if head.dropped and not _told_of_dropped:
            self._tell_of_dropped(head)
        return self.write

    def run(self, application: WSGIApplication) -> None:  # noqa: PLR0912 - a call costs more than a branch
        """Call the application and write its response; raises nothing that the application has raised."""
        try:
            result = application(self.environ, self.start_response)
            if forked.child:
                forked.leave()
            if type(result) is list:
                if len(result) == 1 and not self.responder.head_sent:
                    body = result[0]
                    head = self.head
                    if head is not None and type(body) is bytes:
                        self.responder.whole(head, body)  # what _send_whole() does with nearly every response
                    else:
                        self._send_whole(body)
                else:
                    self._send_joined(result)
            else:
                self._send_and_close(result)
                if forked.child:
                    forked.leave()
        except ClientGone:
            if forked.child:
                forked.leave()
            self.responder.cut = True
            self._note_tunnel()
        except RequestTimeout:  # the log has its stack already
            self._answer(504, "Gateway Timeout", "the application takes too long")
        except BaseException as error:  # boundary: whatever the application raises, sys.exit() too, is this request's
            if forked.child:
                forked.leave(error)
            self._failed(error)
        finally:
            self.ended = True

    def write(self, data: bytes) -> None:
        """Send `data` at once (PEP 3333, "The write() Callable").

        :raises RuntimeError: the request has ended, and the connection may be another's by now.
        :raises BadResponse: `data` is not bytes.
        :raises ClientGone: nobody is left to write to.
        """
        if self.ended:
            raise RuntimeError("write() called after the response has ended (PEP 3333)")
        if type(data) is not bytes:
            data = plain(data)
        if not data:
            if not self.responder.head_sent:
                self._started()
            return
        try:
            self._send_block(data)
        except ClientGone:
            self.responder.cut = True  # also for who goes on as if nothing had happened
            raise

    # -- what the application returned ------------------------------------------------------------------------------

    def _send_joined(self, blocks: list[bytes]) -> None:
        body = joined(blocks)
        if self.responder.head_sent:
            if body:
                self._send_block(body)
            self._end()
        else:
            self._send_whole(body)

    def _send_and_close(self, result: Iterable[bytes]) -> None:
        try:
            if type(result) is not FileWrapper or not self._send_as_file(result):
                self._send_blocks(iterator(result))
        finally:
            close = getattr(result, "close", None)
            if close is not None:
                self._close(close)

    def _send_blocks(self, blocks: Iterator[bytes]) -> None:
        if type(blocks) in HAVE_ALL:
            self._send_joined(list(blocks))
            return
        look_at = 0.0
        for block in blocks:
            if type(block) is not bytes:
                block = plain(block)  # noqa: PLW2901
            if not block:
                look_at = self._look_for_client(look_at)
            elif self._send_block(block):
                look_at = 0.0
            else:
                break  # nothing more is wanted, and the iterator may be endless
        self._end()

    def _look_for_client(self, look_at: float) -> float:
        """Find out now and then, behind empty blocks, whether anybody waits for more: no write to the client will tell.

        :param look_at: (monotonic seconds) what was returned behind the empty block before; 0: there was none.
        :raises ClientGone: nobody does.
        """
        now = monotonic()
        if now < look_at:
            return look_at
        if look_at and self.responder.has_gone():
            raise ClientGone("the client has closed the connection")
        return now + _LOOK_EVERY

    def _send_as_file(self, wrapper: FileWrapper) -> bool:
        extent = wrapper.extent()
        if extent is None or self.responder.head_sent:
            return False
        self.responder.file(self._started(), *extent)
        return True

    def _send_whole(self, body: bytes) -> None:
        head = self.head
        if head is None:
            head = self._started()
        if type(body) is not bytes:
            body = plain(body)
        self.responder.whole(head, body)

    def _send_block(self, block: bytes) -> bool:
        """Send a piece of content; False: nothing more may be sent."""
        if self.responder.cut:
            raise ClientGone("the client had gone before")
        head = self.head
        if head is None:
            head = self._started()
        return self.responder.block(head, block)

    def _end(self) -> None:
        responder = self.responder
        if not responder.head_sent:
            self._send_whole(b"")
            return
        if responder.cut:
            raise ClientGone("the client had gone before")
        responder.end(self._started())
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

    def refuse(self, code: int, phrase: str, reason: str) -> None:
        """Answer in the application's place while that goes on; all that it says from now on is dropped."""
        self._answer(code, phrase, reason)
        self.responder.cut = True

    def _note_tunnel(self) -> bool:
        """If the application has taken the connection: note what it has answered there, whatever it has said here."""
        head = self.responder.tunnel_head()
        if head is None:
            return False
        self.head = head
        return True

    def _failed(self, error: BaseException) -> None:
        if self._note_tunnel():
            if _is_end_of_tunnel(error):
                log.debug("tunnel ended error=%s %s", type(error).__name__, names(self.environ))
            else:
                self._tell("application raised")
            return
        if self.responder.cut:  # this is what the application has made of ClientGone
            log.info("client gone, the application raised error=%s %s", type(error).__name__, names(self.environ))
        elif isinstance(error, BadResponse):
            log.error("%s %s", error, names(self.environ))
        else:
            self._tell("application raised")
        self._answer(500, "Internal Server Error", "the application failed")

    def _tell_of_dropped(self, head: ResponseHead) -> None:
        global _told_of_dropped  # noqa: PLW0603
        _told_of_dropped = True
        log.warning(
            "hop-by-hop fields of the application are dropped, and further ones without a word fields=%s %s",
            head.dropped, names(self.environ),
        )  # fmt: skip

    def _tell(self, what: str) -> None:
        with contextlib.suppress(BaseException):  # boundary: logging is the application's to configure, and to break
            log.exception("%s %s", what, names(self.environ))

    def _answer(self, code: int, phrase: str, reason: str) -> None:
        head = self.responder.answer(code, phrase, reason)
        if head is not None:
            self.head = head


def _is_end_of_tunnel(error: BaseException) -> bool:
    """Whether an exception is how a tunnel ends: its client has gone, or its socket is closed.

    Libraries for other servers say by StopIteration, or a ConnectionError without more, that nothing is to be answered.
    """
    return (
        isinstance(error, StopIteration)
        or type(error) is ConnectionError
        or (isinstance(error, OSError) and error.errno in _ENDS)
    )
