"""The writing half of a connection: a responder (``wsgi.responder``) over a stream, which waits for no client.

Used by the thread that owns the connection (``http1``). What the stream does not take at once is kept in an
:class:`~spawning.worker.output.Output`, which the leader flushes.
"""

from abc import abstractmethod
from time import monotonic

from spawning.http.response import LAST_CHUNK
from spawning.worker import syscalls
from spawning.worker.context import Context
from spawning.worker.disconnected import Disconnects
from spawning.worker.output import TURN, FileSegment, Output
from spawning.worker.stream import DONTWAIT, MORE, Stream
from spawning.wsgi.responder import ClientGone, Responder


class Sending(Responder):
    """See the module.

    :ivar context: of the worker.
    :ivar stream: the socket.
    :ivar fd: its descriptor; -1 when it is closed, so that nobody writes to another client that has the number by then.
    :ivar output: what is kept; None while the client takes all at once.
    :ivar kept_since: (monotonic seconds) when ``output`` was made.
    :ivar deadline: (monotonic seconds) when the client has taken nothing for too long.
    :ivar ended_sending: nothing more will be sent, and the client can see it.
    """

    __slots__ = ("context", "deadline", "ended_sending", "fd", "kept_since", "output", "stream")

    context: Context
    stream: Stream
    fd: int
    deadline: float
    kept_since: float
    output: Output | None
    ended_sending: bool

    @abstractmethod
    def register(self) -> None:
        """Have events reported, once and for all."""

    @abstractmethod
    def flush_beside_owner(self) -> None:
        """Send what is kept while the owner still produces; leader only."""

    def send(self, data: bytes, flags: int = DONTWAIT) -> None:
        """Send, keep what the stream does not take.

        :raises ClientGone: the connection is broken.
        """
        if self.output is not None:
            if data is not LAST_CHUNK:  # the end of a response has nobody behind it who could produce too much
                self._make_room()
            self._keep(data, 0)
            return
        try:
            if self.context.contended and self.stream.bare:
                sent = syscalls.send(self.fd, data, flags)
            else:
                sent = self.stream.send(data, flags)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            raise ClientGone(str(error)) from None
        if sent < len(data):
            self._keep(data, sent)

    def has_gone(self) -> bool:
        return self.stream.has_gone()

    @property
    def disconnects(self) -> Disconnects:
        return self.context.disconnects

    def send_last(self, data: bytes) -> None:
        """As :meth:`send`, when nothing more will be sent: the kernel keeps the data until it has the end of the
        connection (FIN) as well, and sends one packet, for which a client is woken once.

        :raises ClientGone: the connection is broken.
        """
        self.send(data, MORE)
        if self.output is None:
            self.ended_sending = True  # as end_sending() does, without a call
            self.stream.end_sending()

    def end_sending(self) -> None:
        """Let the client see the end behind what has been sent."""
        self.ended_sending = True
        self.stream.end_sending()

    def send_two(self, head: bytes, body: bytes) -> None:
        """Send two buffers with one call.

        :raises ClientGone: the connection is broken.
        """
        if self.output is not None:
            self._make_room()
            self._keep(head, 0)
            self._keep(body, 0)
            return
        try:
            sent = self.stream.send_two(head, body)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            raise ClientGone(str(error)) from None
        if sent < len(head):
            self._keep(head, sent)
            self._keep(body, 0)
        elif sent < len(head) + len(body):
            self._keep(body, sent - len(head))

    def send_file(self, head: bytes, descriptor: int, offset: int, count: int) -> None:
        """Send a head, and have the kernel send a part of a file with it; what is more than one client's turn is kept.

        A head that went ahead would be a packet of its own; and where the kernel paces what it sends (BBR), the file
        would follow at less than half the speed.

        :raises ClientGone: the connection is broken.
        """
        self.send(head, MORE)
        self.stream.never_wait()
        segment = FileSegment(descriptor, offset, count)
        if self.output is None:
            try:
                while segment.size > max(0, count - TURN):
                    segment.send(self.stream, TURN)
            except BlockingIOError:
                pass
            except OSError as error:
                raise ClientGone(str(error)) from None
        if segment.size:
            output = self._output()  # first, since it may fail, and the descriptor would be nobody's
            segment.outlive_file()
            if output.put(segment):
                self.context.post(self.flush_beside_owner)

    def _keep(self, data: bytes, start: int) -> None:
        # The leader may have sent all that was kept: then no event will tell it that there is more.
        if self._output().put_bytes(data, start):
            self.context.post(self.flush_beside_owner)

    def _output(self) -> Output:
        """Return where things are kept. From its first moment on events are reported, and the leader looks once: the
        stream may have become writable before there was an output to be seen.
        """
        output = self.output
        if output is None:
            output = Output(self.context.budget)
            self.stream.never_wait()  # sendfile, for what is kept in a file, else waits for the client
            output.taken(self.stream)
            self.register()
            self.kept_since = now = monotonic()
            self.deadline = now + self.context.settings.response_timeout
            self.output = output
        return output

    def _make_room(self) -> None:
        """Wait while too much is kept. Only who has more to send comes here: what is complete costs memory, no thread.

        :raises ClientGone: the connection is broken.
        """
        output = self.output
        if output is not None and output.above_high_water:
            self.context.dispatcher.wait_for_client(output)
