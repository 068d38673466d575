"""One connection of HTTP/1: reading requests, having them executed, writing responses, going on or closing.

It is its own :class:`~spawning.worker.roles.Pollable`, its own :class:`~spawning.worker.roles.Job` and its own
:class:`~spawning.wsgi.responder.Responder`, since it has one request at a time.

Ownership. In every state but ``EXECUTING`` the connection belongs to the leader. While ``EXECUTING`` it belongs to the
thread that runs the request; the leader then only notes that an event came (``missed``) and flushes what is kept in
``output``, which has a lock of its own. The owner gives it back by leaving ``EXECUTING`` and looking at ``missed``
afterwards; the leader sets ``missed`` first and looks at the state afterwards. So one of the two sees the other, and if
both do, the leader reads twice, which is harmless.

An event means "look", whatever its mask says, but for the end of what the client sends: that is remembered (``ended``,
set by the leader before it looks), since it comes along with the last data, and no other event tells of it.
"""

from time import monotonic
from typing import Final, cast

from spawning.errors import ProtocolError
from spawning.http.fields import Fields
from spawning.http.line import RequestLine
from spawning.http.request import RequestReader
from spawning.http.response import CONTINUE
from spawning.logs.access import NO_ENTRY, Entry
from spawning.worker.closing import MAX_READS
from spawning.worker.context import READ_SIZE, Context
from spawning.worker.disconnected import Disconnected
from spawning.worker.lifecycle import (
    BODY,
    CLOSED,
    EXECUTING,
    FLUSHING,
    HEAD,
    LEAVING,
    LINGERING,
    READING,
    REQUEST,
    TUNNEL,
)
from spawning.worker.listener import Listener
from spawning.worker.output import ALL, TURN_OVER
from spawning.worker.sensor import Sensor
from spawning.worker.stream import DONTWAIT, Stream
from spawning.worker.tally import Counts
from spawning.worker.tunnelling import Tunnelling
from spawning.wsgi.environ import Environ, connection_template, request_environ, set_line
from spawning.wsgi.exchange import Exchange
from spawning.wsgi.input import BodyBuffer

# How much one client may have done before the others get their turn. The time counts from the poll, for all together:
# when it is over, each gets one request more, or one read, so that a turn of many clients does not take many times as
# long.
TURN_SECONDS: Final = 0.005
TURN_REQUESTS: Final = 32  # pipelined requests

_NO_LINE: Final = RequestLine("", "", "", "", "")  # none has come
_ANY_LINE: Final = RequestLine("", "", "", "", "")  # one has come, and is forgotten
_ANY_FIELDS: Final = Fields(1, [])  # likewise
NO_TEMPLATE: Final[Environ] = {}
# Between requests: nothing of the last one is kept alive, and a look from another thread finds an exchange.
NO_EXCHANGE: Final = Exchange(cast("Http1", None), {})


class Http1(Tunnelling):
    """See the module.

    :param context: of the worker.
    :param listener: where the connection came from.
    :param stream: the connected socket.
    :param address: of the peer.
    :param port: of the peer.
    """

    __slots__ = (
        "body_since", "ended", "entry", "fields", "missed", "sensor", "swift", "template", "yielded",
    )  # fmt: skip

    body_since: float
    entry: Entry
    sensor: Sensor
    swift: Counts
    template: Environ

    def __init__(self, context: Context, listener: Listener, stream: Stream, address: str, port: str) -> None:
        self.context = context
        self.listener = listener
        self.stream = stream
        self.fd = stream.fileno()
        self.address = address
        self.port = port
        self.clock = context.clock
        self.state = READING
        self.registered = False
        self.missed = False
        self.ended = False  # the client will send nothing more, an event has said
        self.yielded = False  # further requests have been received, and go_on() will serve them
        self.awaited = REQUEST
        self.unheard_since = 0.0
        self.deadline = context.now + context.settings.head_timeout
        self.output = None
        self.unframed = False  # Responder.begin() would say so for each request; but behind one that is, there is none
        self.ended_sending = False
        self.tunnel = None
        self.fields: Fields | None = None
        self.line = _NO_LINE
        self.exchange = NO_EXCHANGE
        self.reader = RequestReader(BodyBuffer, context.limits)

    @property
    def idle(self) -> bool:
        return self.state is READING and self.reader.idle

    @property
    def executing(self) -> bool:
        return self.state is EXECUTING or self.state is TUNNEL

    # -- events: leader only ------------------------------------------------------------------------------------------

    def on_event(self) -> None:
        """Do what the state asks for; while ``READING``: read and serve what has arrived."""
        if self.state is not READING:
            self._on_other_event()
            return
        context = self.context
        reads = 0
        try:
            while True:
                data = (
                    context.receiver.receive(self.fd)
                    if context.contended and self.stream.bare
                    else self.stream.recv(READ_SIZE, DONTWAIT)
                )
                if not data:
                    self._end_of_input()
                    return
                if context.fence[0] > context.term and self.stands_back(data):
                    return
                more = self.ended or len(data) == READ_SIZE  # the kernel may hold some, of which no event will tell
                if not self.reader.receive(data):
                    self._wait_for_more()
                elif not self._serve(more):
                    return
                if not more:
                    return
                reads += 1
                if reads >= MAX_READS or monotonic() >= context.polled + TURN_SECONDS:
                    context.post(self.on_event)
                    return
        except BlockingIOError:
            pass
        except ProtocolError as error:
            self.refuse(error)
        except OSError as error:
            self.broken(error)

    def _on_other_event(self) -> None:
        state = self.state
        if state is EXECUTING:
            self.missed = True
            if self.output is not None:
                self.flush_beside_owner()
            elif self.state is READING:  # the owner gave it back meanwhile, perhaps without seeing `missed`
                self.on_event()
        elif state is FLUSHING:
            self.flush()
        elif state is LINGERING:
            self.discard()

    def _serve(self, more: bool) -> bool:
        """Run the complete request, and those that arrived with it; True when the connection is being read again.

        :param more: the kernel may hold further bytes, of which no event will tell.
        """
        context = self.context
        reader = self.reader
        dispatcher = context.dispatcher
        served = 0
        while True:
            self._begin()
            self.missed = more
            if context.now < self.sensor.inline_until and not context.full:
                if not dispatcher.execute_inline(self):
                    return False
            elif not dispatcher.execute(self):
                return False
            if not reader.unread:
                return True
            served += 1
            if served >= TURN_REQUESTS or monotonic() >= context.polled + TURN_SECONDS:
                self.yielded = True
                context.post(self.go_on)
                return False
            if not reader.receive(b""):
                self._wait_for_more()
                return True

    def _begin(self) -> None:
        """Make an exchange of the request that the reader has completed."""
        context = self.context
        reader = self.reader
        fields = reader.fields
        line = reader.line
        if fields is not self.fields or line is not self.line:
            self._prepare(fields, line)
        # As Responder.begin() does; here, since this is for every request.
        self.minor = fields.minor
        # What a client has pipelined behind this is answered too, although the worker stops.
        self.keep_alive = fields.keep_alive and (context.keep_alive or (context.stopping and bool(reader.unread)))
        self.head_sent = self.chunked = self.cut = self.too_long = False
        self.sent = 0
        self.exchange = Exchange(self, request_environ(self.template, reader.body))
        self.state = EXECUTING

    def _prepare(self, fields: Fields, line: RequestLine) -> None:
        """Bring the template up to date with a request that is not like the last one."""
        if fields is not self.fields or line.host or self.line.host:
            template = connection_template(self.listener.base, fields, line, self.address, self.port)
            # Of the connection, so that no request has to make one of its own.
            gone = Disconnected(self)
            template["spawning.client_disconnected"] = template["waitress.client_disconnected"] = gone
            self.template = template
        else:
            set_line(self.template, line)
        tally = self.context.tally
        if tally is not None and line.method != self.line.method:
            self.swift = tally.swift(line.method)
        self.fields = fields
        self.line = line
        self.tunnel = None
        if fields.upgrades or (not line.plain and line.method == "CONNECT"):
            self.offer_tunnel(self.template)
            self.fields = _ANY_FIELDS  # the next request has a template, and an offer, of its own
        self.sensor = line.memo or self.context.dispatcher.sensor(line)
        access_log = self.context.access_log
        if access_log is not None:
            self.entry = access_log.entry(self.template)

    def _wait_for_more(self) -> None:
        """Set the deadline for the rest of a request."""
        context = self.context
        if self.reader.reading_body:
            if self.reader.wants_continue:
                self.reader.wants_continue = False
                self.send(CONTINUE)
            self._await_body()
        elif self.awaited is REQUEST:
            self.awaited = HEAD
            self.deadline = context.now + context.settings.head_timeout

    def _await_body(self) -> None:
        """Set the deadline for more of a body: within a pause, and before its average becomes too low."""
        now = self.context.now
        settings = self.context.settings
        if self.awaited is not BODY:
            self.awaited = BODY
            self.body_since = now
        self.deadline = now + settings.body_timeout
        rate = settings.min_body_rate
        if rate:
            body = self.reader.body
            assert type(body) is BodyBuffer
            self.deadline = min(self.deadline, self.body_since + settings.body_timeout + body.length / rate)

    def _end_of_input(self) -> None:
        if self.yielded:  # it will be seen again, behind what was received before it
            return
        # A client that half-closed before its request was complete gets no answer; one that did so behind a complete
        # request was answered before this is seen.
        self.close()

    # -- the end of a request: its owner ------------------------------------------------------------------------------

    def finish(self) -> bool:
        """Leave ``EXECUTING`` behind a response; True: the connection persists and is being read again."""
        if self.cut:
            if self.state is TUNNEL:
                self.end_tunnel()
                return False
            if self.unframed or self.state is CLOSED or (self.output is not None and self.output.given_up):
                self.abandon()
                return False
            self.keep_alive = False  # the framing tells what is missing, so the client gets all there is, and the end
        context = self.context
        if self.output is not None:
            self.register()
            self.state = FLUSHING
            context.post(self.on_event)
            return False
        if not self.keep_alive:
            self._close_behind_response()
            return False
        self.deadline = context.idle_deadline
        self.awaited = REQUEST
        if context.closing and self.leave():
            return False
        if not self.registered:
            self.register()
        self.exchange = NO_EXCHANGE
        self.state = READING
        return True

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
        if self.reader.unread:
            self.yielded = True  # before the leader may read: it must not take an end for the end of all there is
        if self.finish():
            context = self.context
            if context.closing:  # the worker was retired since finish() looked, and may have passed this one by
                context.post(self.leave_late)
            elif self.missed or not self.reader.idle:
                context.post(self.go_on)
        return False

    def _read_on(self) -> bool:
        """Read the next request without leaving ``EXECUTING``, if this one has ended in the usual way.

        Not behind one that computes, which has lasted so long that it was taken over: its client would have a thread
        for all that it asks for, beside the leader, who needs the interpreter lock for all the others.
        """
        context = self.context
        reader = self.reader
        computes = self.sensor.inline and not context.full
        if self.cut or not self.keep_alive or self.output is not None or context.closing or computes:
            return False
        if reader.unread and reader.receive(b""):
            self.missed = True
            self._begin()
            return True
        self.missed = False  # from here on the leader may set it
        try:
            data = self.stream.recv(READ_SIZE, DONTWAIT)
        except BlockingIOError:
            return False
        if data and (context.closing or context.fence[0] > context.term) and not reader.reading_body:
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
        """Serve what arrived while a thread owned the connection, or others had their turn."""
        self.yielded = False
        if self.state is not READING:
            return
        context = self.context
        if context.fence[0] > context.term and not self.reader.idle and self.stands_back(b""):
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
            self.on_event()

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
            return bool(self.stream.recv(READ_SIZE, DONTWAIT))
        except OSError:
            return False

    # -- flushing: leader only ----------------------------------------------------------------------------------------

    def flush_beside_owner(self) -> None:
        """Send what is kept while the owner still produces; only it may find that the response is complete."""
        output = self.output
        if output is None or self.state is CLOSED:
            return
        try:
            if output.flush(self.stream) is TURN_OVER:
                self.context.post(self.flush_beside_owner)
        except OSError:
            output.give_up()
        if self.state is FLUSHING:
            self.flush()

    def flush(self) -> None:
        """Send the rest of a complete response, then go on as after any other."""
        context = self.context
        output = self.output
        assert output is not None
        try:
            flushed = output.flush(self.stream)
        except OSError as error:
            self.broken(error)
            return
        if flushed is not ALL:
            output.taken(self.stream)  # from here on counted anew
            self.may_take_more(output.total_taken)
            if flushed is TURN_OVER:
                context.post(self.on_event)
            return
        self.output = None
        if not self.keep_alive:
            self._close_behind_response()
            return
        self.deadline = context.idle_deadline
        self.awaited = REQUEST
        if context.closing and self.leave():
            return
        self.exchange = NO_EXCHANGE
        self.state = READING
        self.go_on()

    # -- the end ------------------------------------------------------------------------------------------------------

    def forget(self) -> None:
        """Forget what is remembered for a next request, which has not come for a while; leader only.

        It is read and prepared anew then. What is kept of a browser's fields takes 4 KiB, and may take far more.
        While a request is executed, which is what else may take a while, its client is looked at.
        """
        if (self.state is EXECUTING or self.state is TUNNEL) and self.output is None:
            self.look_at_link()
            return
        if self.fields is not None and self.state is READING and self.reader.idle:
            self.fields = None
            self.line = _ANY_LINE
            self.template = NO_TEMPLATE
            self.entry = NO_ENTRY
            self.exchange = NO_EXCHANGE
            self.reader.forget()

    def close_if_idle(self, fresh_too: bool) -> None:
        """Close, unless a request is arriving or under way; leader only.

        :param fresh_too: also when no request has ever come.
        """
        deadline = self.deadline
        if self.state is READING:
            self.on_event()
        # Not one that has just been served: its client has not been told, and may ask again at once.
        idle = self.state is READING and self.reader.idle and self.deadline == deadline
        if (idle and (fresh_too or self.line is not _NO_LINE)) or self.state is LEAVING:
            self.close()

    def close(self) -> None:
        """Close the socket; the connection is forgotten."""
        self.become(CLOSED)
        self.let_go()

    def let_go(self) -> None:
        if self.output is not None:
            self.output.give_up()
        body = self.reader.body
        if body is not None and self.reader.reading_body:
            assert type(body) is BodyBuffer
            body.close()
        # Both hold this connection: they would keep each other alive until a garbage collection.
        self.exchange = NO_EXCHANGE
        self.template = NO_TEMPLATE
        if self.tunnel is not None:
            self.leave_tunnel(self.tunnel)
        self.context.poller.forget(self.fd)
        self.fd = -1
        self.stream.close()
