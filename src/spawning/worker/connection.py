"""One client's connection: reading requests, running them, writing responses, closing.

Ownership. In every state but ``EXECUTING`` the connection belongs to the leader. While ``EXECUTING`` it belongs to the
thread that runs the request; the leader then only notes that an event came (``missed``) and flushes what is kept in
``output``, which has a lock of its own. The owner gives it back by leaving ``EXECUTING`` and looking at ``missed``
afterwards; the leader sets ``missed`` first and looks at the state afterwards. So one of the two sees the other, and if
both do, the leader reads twice, which is harmless.

An event means "look", whatever its mask says, but for the end of what the client sends: that is remembered (``ended``,
set by the leader before it looks), since it comes along with the last data, and no other event tells of it. An event
that was meant for a closed connection with the same descriptor is harmless: who looks finds what is there.
"""

import socket
from typing import TYPE_CHECKING, Final, cast

from spawning.errors import ProtocolError
from spawning.http.fields import Fields
from spawning.http.request import RequestLine, RequestReader
from spawning.http.response import CONTINUE, Clock, Pairs, error_response
from spawning.logs.access import NO_ENTRY, Entry, entry
from spawning.logs.log import Log
from spawning.worker.closing import MAX_READS, READ_SIZE, Closing
from spawning.worker.sensor import Sensor
from spawning.worker.states import BODY, CLOSED, EXECUTING, FLUSHING, HEAD, LEAVING, LINGERING, READING, REQUEST
from spawning.wsgi.bridge import ClientGone, Exchange
from spawning.wsgi.environ import Environ, connection_template, request_environ, set_line
from spawning.wsgi.input import BodyBuffer

if TYPE_CHECKING:
    from spawning.worker.loop import Loop

_DONTWAIT: Final = socket.MSG_DONTWAIT

_NO_LINE: Final = RequestLine("", "", "", "", "")  # none has come
_ANY_LINE: Final = RequestLine("", "", "", "", "")  # one has come, and is forgotten
_NO_TEMPLATE: Final[Environ] = {}
# Between requests: nothing that the last one left is kept alive, and whoever looks from outside finds an exchange.
_NO_EXCHANGE: Final = Exchange(cast("Connection", None), {}, _NO_LINE, 1, False, Clock())

log = Log("spawning.worker")


class Connection(Closing):
    """See the module. The transport of its own exchanges.

    :param loop: the worker's loop.
    :param sock: the connected socket; each call says itself that it must not wait, which saves the system call that
        would say so for all.
    :param address: of the peer.
    :param port: of the peer.
    """

    __slots__ = (
        "awaited", "body_since", "ended", "entry", "exchange", "fields", "line", "missed", "port", "reader", "sensor",
        "template",
    )  # fmt: skip

    entry: Entry
    sensor: Sensor
    template: Environ

    def __init__(self, loop: "Loop", sock: socket.SocketType, address: str, port: str) -> None:
        self.loop = loop
        self.sock = sock
        self.fd = sock.fileno()
        self.address = address
        self.port = port
        self.state = READING
        self.registered = False
        self.missed = False
        self.ended = False  # the client will send nothing more, an event has said
        self.awaited = REQUEST
        self.body_since = 0.0
        self.deadline = loop.now + loop.settings.head_timeout
        self.output = None
        self.ended_sending = False
        self.fields: Fields | None = None
        self.line = _NO_LINE
        self.exchange = _NO_EXCHANGE
        self.reader = RequestReader(BodyBuffer, loop.limits)

    # -- events: leader only ------------------------------------------------------------------------------------------

    def on_event(self) -> None:
        """Do what the state asks for; the leader has seen an event."""
        state = self.state
        if state is READING:
            self.read()
        elif state is EXECUTING:
            self.missed = True
            if self.output is not None:
                self.flush_beside_owner()
            elif self.state is READING:  # the owner gave it back meanwhile, perhaps without seeing `missed`
                self.read()
        elif state is FLUSHING:
            self.flush()
        elif state is LINGERING:
            self.discard()

    resume = on_event

    def read(self) -> None:
        """Read and serve what has arrived."""
        reads = 0
        try:
            while True:
                if self.loop.contended:
                    data = self.loop.receiver.receive(self.fd)
                else:
                    data = self.sock.recv(READ_SIZE, _DONTWAIT)
                if not data:
                    self._end_of_input()
                    return
                more = self.ended or len(data) == READ_SIZE
                if self.reader.receive(data):
                    if not self._serve(more):
                        return
                elif not self._wait_for_more():
                    return
                if not more:
                    return
                reads += 1
                if reads >= MAX_READS:
                    self.loop.post(self.resume)
                    return
        except BlockingIOError:
            return
        except ProtocolError as error:
            self.refuse(error)
        except OSError as error:
            self.broken(error)

    def _serve(self, more: bool) -> bool:
        """Run the complete request, and those that arrived with it; True when the connection is being read again.

        :param more: the kernel may hold further bytes, of which no event will tell.
        """
        loop = self.loop
        reader = self.reader
        while True:
            self._begin()
            self.missed = more
            if loop.now < self.sensor.inline_until and not loop.threads.full:
                if not loop.execute_inline(self):
                    return False
            elif not loop.execute(self):
                return False
            if not reader.unread:
                return True
            if not reader.receive(b""):
                return self._wait_for_more()

    def _begin(self) -> None:
        """Make an exchange of the request that the reader has completed."""
        loop = self.loop
        reader = self.reader
        fields = reader.fields
        line = reader.line
        if fields is not self.fields or line is not self.line:
            self._prepare(fields, line)
        self.exchange = Exchange(
            self,
            request_environ(self.template, reader.body),
            line,
            fields.minor,
            # What a client has pipelined behind this is answered too, although the worker stops.
            fields.keep_alive and (loop.keep_alive or (loop.stopping and bool(reader.unread))),
            loop.clock,
        )
        self.state = EXECUTING

    def _prepare(self, fields: Fields, line: RequestLine) -> None:
        """Bring the template up to date with a request that is not like the last one."""
        if fields is not self.fields or line.host or self.line.host:
            template = connection_template(self.loop.base, fields, line, self.address, self.port)
            # Methods of the connection, so that no request has to make any of its own.
            template["wsgi.early_hints"] = self.hint
            template["spawning.client_disconnected"] = template["waitress.client_disconnected"] = self.has_gone
            self.template = template
        else:
            set_line(self.template, line)
        self.fields = fields
        self.line = line
        self.sensor = line.memo or self.loop.routes.sensor(line)
        if self.loop.access_log is not None:
            self.entry = entry(self.template)

    def hint(self, headers: Pairs) -> None:
        """``wsgi.early_hints``: see :meth:`Exchange.hint`. Who keeps it for longer than its request sends nothing."""
        if self.state is EXECUTING:
            self.exchange.hint(headers)

    def _wait_for_more(self) -> bool:
        """Set the deadline for the rest of a request; True: go on reading."""
        loop = self.loop
        if self.reader.reading_body:
            if self.reader.wants_continue:
                self.reader.wants_continue = False
                self.send(CONTINUE)
            self._await_body()
        elif self.awaited is REQUEST:
            self.awaited = HEAD
            self.deadline = loop.now + loop.settings.head_timeout
        return True

    def _await_body(self) -> None:
        """Set the deadline for more of a body: within a pause, and before its average becomes too low."""
        loop = self.loop
        settings = loop.settings
        if self.awaited is not BODY:
            self.awaited = BODY
            self.body_since = loop.now
        self.deadline = loop.now + settings.body_timeout
        rate = settings.min_body_rate
        if rate:
            body = self.reader.body
            assert type(body) is BodyBuffer
            self.deadline = min(self.deadline, self.body_since + settings.body_timeout + body.length / rate)

    def _end_of_input(self) -> None:
        # A client that half-closed before its request was complete gets no answer; one that did so behind a complete
        # request was answered before this is seen.
        self.close()

    def refuse(self, error: ProtocolError) -> None:
        """Answer a request that cannot be served, and close (RFC 9112 section 9.6: not at once)."""
        log.debug("request refused address=%s status=%d reason=%r", self.address, error.status, error.reason)
        self.loop.refused += 1
        try:
            self.send(error_response(error.status, error.reason, self.loop.clock, with_body=not self.reader.is_head))
        except ClientGone:
            self.close()
            return
        self.linger()

    # -- the end of a request: its owner ------------------------------------------------------------------------------

    def finish(self) -> bool:
        """Leave ``EXECUTING`` behind a response; True: the connection persists and is being read again."""
        exchange = self.exchange
        if exchange.cut:
            self.abort()
            return False
        if self.output is not None:
            self.register()
            self.state = FLUSHING
            self.loop.post(self.resume)
            return False
        if not exchange.keep_alive:
            self._close_behind_response()
            return False
        self.deadline = self.loop.idle_deadline
        self.awaited = REQUEST
        if self.loop.closing and self._leave():
            return False
        if not self.registered:
            self.register()
        self.exchange = _NO_EXCHANGE
        self.state = READING
        return True

    def _leave(self) -> bool:
        """In a retiring worker: freeze a connection between two requests; False if it has to be served here."""
        if self.loop.stopping or self.reader.reading_body:
            return False
        self.become(LEAVING)
        self.loop.post(self.depart)
        return True

    def freeze(self) -> None:
        """Stop reading, because the worker retires, unless a body is arriving; leader only."""
        if self.state is READING and not self.reader.reading_body:
            self.become(LEAVING)

    def depart(self) -> None:
        """Be sent to another worker; leader only."""
        if self.state is LEAVING:
            # The registration is the kernel's with the open socket, which goes on to live elsewhere.
            self.unregister()
            self.loop.hand_off(self)

    def take_up(self, unread: bytes, deadline: float) -> None:
        """Go on where another worker has left off; leader only.

        :param unread: what it has received of further requests.
        :param deadline: (monotonic seconds) as it was there.
        """
        self.register()
        self.deadline = deadline
        if unread:
            self.awaited = HEAD
            self.reader.unread += unread
            self.go_on()

    def finish_in_thread(self) -> bool:
        """As :meth:`finish`, in a thread that does not lead; what is left to do is given to the leader.

        But a client that has its response asks for the next page before this thread has the interpreter lock again. To
        wake the leader for that would cost more than the request, so this thread reads it.

        :returns: True when it has read a request, which is to be executed in its turn.
        """
        try:
            if (self.missed or self.reader.unread) and self._read_on():
                return True
        except ProtocolError as error:
            self.refuse(error)
            return False
        except OSError as error:
            self.broken(error)
            return False
        if self.finish() and (self.missed or not self.reader.idle):
            self.loop.post(self.go_on)
        return False

    def _read_on(self) -> bool:
        """Read the next request without leaving ``EXECUTING``, if this one has ended in the usual way."""
        exchange = self.exchange
        reader = self.reader
        if exchange.cut or not exchange.keep_alive or self.output is not None or self.loop.closing:
            return False
        if reader.unread and reader.receive(b""):
            self.missed = True
            self._begin()
            return True
        self.missed = False  # from here on the leader may set it
        try:
            data = self.sock.recv(READ_SIZE, _DONTWAIT)
        except BlockingIOError:
            return False
        if data and self.loop.closing and not reader.reading_body:
            # Retired since we asked, so this request may be younger than an answer of the new code.
            reader.unread += data
            return False
        if data and reader.receive(data):
            if len(data) == READ_SIZE or self.ended:
                self.missed = True
            self._begin()
            return True
        self.missed = True  # the end, or a part of a request: the leader's business
        return False

    def go_on(self) -> None:
        """Serve what arrived while a thread owned the connection."""
        if self.state is not READING:
            return
        try:
            if not self.reader.idle:
                if not self.reader.receive(b""):
                    self._wait_for_more()
                elif not self._serve(True):
                    return
        except ProtocolError as error:
            self.refuse(error)
            return
        except OSError as error:
            self.broken(error)
            return
        if self.state is READING:
            self.read()

    def _close_behind_response(self) -> None:
        if self.reader.unread or (self.missed and self._more_has_come()):
            self.linger()
            return
        if not self.ended_sending:
            self.end_sending()
        self.close()

    def _more_has_come(self) -> bool:
        """Find out whether what was missed is more than the end of what the client sends; it is thrown away."""
        try:
            return bool(self.sock.recv(READ_SIZE, _DONTWAIT))
        except OSError:
            return False

    # -- flushing: leader only ----------------------------------------------------------------------------------------

    def flush_beside_owner(self) -> None:
        """Send what is kept while the owner still produces; only it may find that the response is complete."""
        output = self.output
        if output is None or self.state is CLOSED:
            return
        try:
            output.flush(self.sock)
        except OSError:
            output.give_up()
        if self.state is FLUSHING:
            self.flush()

    def flush(self) -> None:
        """Send the rest of a complete response, then go on as after any other."""
        output = self.output
        assert output is not None
        try:
            done = output.flush(self.sock)
        except OSError as error:
            self.broken(error)
            return
        if not done:
            self.deadline = self.loop.now + self.loop.settings.response_timeout
            return
        self.output = None
        if not self.exchange.keep_alive:
            self._close_behind_response()
            return
        self.deadline = self.loop.idle_deadline
        self.awaited = REQUEST
        if self.loop.closing and self._leave():
            return
        self.state = READING
        self.go_on()

    # -- deadlines and the end ----------------------------------------------------------------------------------------

    def on_deadline(self) -> None:
        """Act on a deadline that has passed; leader only, once a second."""
        state = self.state
        if state is READING and not self.reader.idle:
            what = "body" if self.reader.reading_body else "head"
            self.refuse(ProtocolError(408, f"the request's {what} took too long"))
        elif state is not EXECUTING:
            self.abort() if state is FLUSHING else self.close()
        elif self.output is not None and not self.output.empty:
            if not self.output.progressed:
                self.output.give_up()
            self.output.progressed = False
            self.deadline = self.loop.now + self.loop.settings.response_timeout

    def forget(self) -> None:
        """Give up what is remembered for a next request, which has not come for a while; leader only.

        It is read and prepared anew then. What is kept of a browser's fields takes 4 KiB, and may take far more.
        """
        if self.fields is not None and self.state is READING and self.reader.idle:
            self.fields = None
            self.line = _ANY_LINE
            self.template = _NO_TEMPLATE
            self.entry = NO_ENTRY
            self.exchange = _NO_EXCHANGE
            self.reader.forget()

    def close_if_idle(self, fresh_too: bool) -> None:
        """Close, unless a request is arriving or under way; leader only, when the worker stops.

        :param fresh_too: also when no request has ever come.
        """
        if self.state is READING:
            self.read()
        idle = self.state is READING and self.reader.idle and (fresh_too or self.line is not _NO_LINE)
        if idle or self.state is LEAVING:
            self.close()

    def close(self) -> None:
        """Close the socket; the connection is forgotten."""
        self.become(CLOSED)
        if self.output is not None:
            self.output.give_up()
        body = self.reader.body
        if body is not None and self.reader.reading_body:
            assert type(body) is BodyBuffer
            body.close()
        # Both hold this connection: they would keep each other alive until a garbage collection.
        self.exchange = _NO_EXCHANGE
        self.template = _NO_TEMPLATE
        self.loop.forget(self)
        self.sock.close()
