"""The byte stream of a connection over TLS: a socket that never waits, and the session that makes records of bytes.

A :class:`TLS` is a :class:`~spawning.worker.stream.Stream` with the same methods, of which those that receive and send
go through a session of the ``ssl`` module. The session works in memory, so each call here is one system call, as for
bytes that are not encrypted, and says the same:

* ``recv`` returns less than it was asked for only when the kernel holds nothing more. What a record has beyond that is
  kept here, since no event of the kernel would tell of it.
* ``send`` returns how many bytes have become records that the kernel has wholly. The rest of a record that the kernel
  does not take at once is kept here, and who sends again has to begin with the same bytes, as ``SSL_write(3)`` wants it
  too: whatever keeps what was not sent does.

For one thread at a time, as a session is: the leader, or the owner of a connection.
"""

import os
import socket
import ssl
from contextlib import suppress
from typing import Final

from spawning.logs.log import Log
from spawning.worker.stream import DONTWAIT, Stream, never_waiting

RECORD: Final = 16384  # bytes of content that a record has at most (RFC 8446 section 5.1)
BLOCK: Final = 4 * RECORD  # bytes that are made records of at a time; so much is kept here for a slow client
FILE_BLOCK: Final = 1 << 18  # bytes that are read of a file at a time
MOST: Final = 2 << 20  # bytes a call: one client's turn
RECEIVE: Final = 1 << 16  # bytes a system call

# By these names: to look for the method of a base class takes longer than to call it.
_recv: Final = socket.SocketType.recv
_send: Final = socket.SocketType.send
_close: Final = socket.SocketType.close

log: Final = Log("spawning.worker")


class TLS(Stream):
    """See the module.

    :param stream: a connected socket, of which this takes the descriptor.
    :param context: certificates and rules.
    :param received: what has been received of the handshake.

    :ivar session: what is known about the other side.
    """

    __slots__ = ("_ahead", "_decrypted", "_ended", "_from", "_left", "_to", "session")

    bare = False

    def __init__(self, stream: Stream, context: ssl.SSLContext, received: bytes) -> None:
        super().__init__(stream.family, never_waiting(stream.type), stream.proto, stream.detach())
        self._from = ssl.MemoryBIO()
        self._to = ssl.MemoryBIO()
        self.session = context.wrap_bio(self._from, self._to, server_side=True)
        self._decrypted = b""  # has come, and nobody has asked for it yet
        self._left: bytes | memoryview = b""  # records that the kernel has not taken
        self._ahead = 0  # bytes of content in them, of which the sender does not know that they are taken
        self._ended = False  # the other side sends nothing more
        self._from.write(received)

    def shake_hands(self) -> None:
        """Go on with the handshake.

        :raises BlockingIOError: it needs more from the other side.
        :raises OSError: it has failed, which the other side has been told, or the connection is broken.
        """
        while True:
            if self._left:
                self._flush()
            try:
                self.session.do_handshake()
            except ssl.SSLWantReadError:
                self._pass_on()
                self._receive(RECEIVE)
                if self._ended and not self._from.pending:
                    raise ConnectionAbortedError("closed by the client") from None
            except ssl.SSLError:
                self._pass_on()  # an alert, which says why
                raise
            else:
                self._pass_on()
                return

    # -- receiving ----------------------------------------------------------------------------------------------------

    def recv(self, size: int, flags: int = DONTWAIT) -> bytes:
        """Receive what has come, decrypted; empty at the end of what the other side sends.

        :param flags: not looked at: nothing here waits.
        :raises BlockingIOError: there is nothing, or not a whole record.
        :raises OSError: the connection is broken, or what came is no TLS.
        """
        data = self._decrypted
        try:
            while len(data) < size and not self._ended:
                less = self._receive(size)
                data += self._decrypt()
                if less:
                    break
        except BlockingIOError:
            if self._from.pending:  # came along with the handshake
                data += self._decrypt()
        except OSError:
            if not data:
                raise
        if self._left or self._to.pending:  # what the protocol itself has to say, such as a new key
            self._pass_on()
        if not data:
            self._decrypted = b""
            if self._ended:
                return data
            raise BlockingIOError
        self._decrypted = data[size:]
        return data[:size]

    def _receive(self, size: int) -> bool:
        """Receive from the kernel; whether it has nothing more.

        :raises BlockingIOError: it had nothing at all.
        """
        received = _recv(self, size, DONTWAIT)
        if received:
            self._from.write(received)
        else:  # the session need not know: it would send nothing more to a client that ends so without an alert
            self._ended = True
        return len(received) < size

    def _decrypt(self) -> bytes:
        """Return the content of all records that have come whole."""
        data = b""
        try:
            while True:
                content = self.session.read(RECORD)
                if not content:  # the other side has said that it ends (close_notify)
                    self._ended = True
                    return data
                data += content
                if not self._from.pending:
                    return data
        except ssl.SSLWantReadError:
            return data
        except ssl.SSLZeroReturnError:
            self._ended = True
            return data
        except ssl.SSLError as error:
            self._pass_on()
            log.debug("TLS failed reason=%s", reason(error))
            if data:
                self._ended = True
                return data
            raise ConnectionAbortedError(reason(error)) from None

    # -- sending ------------------------------------------------------------------------------------------------------

    def send(self, data: bytes | memoryview, flags: int = DONTWAIT) -> int:  # type: ignore[override]
        """Send what the kernel takes.

        :returns: bytes that it has taken; see the module.
        :raises BlockingIOError: it takes nothing.
        :raises OSError: the connection is broken.
        """
        if self._left:
            self._flush(flags)
        size = len(data)
        if self._ahead:
            return self._taken_meanwhile(size)
        if size <= RECORD:
            self.session.write(data)
            return size if self._pass_on(flags) else self._keep_back(size, 0)
        view = memoryview(data)
        taken = 0
        until = min(size, MOST)
        while taken < until:
            end = min(taken + BLOCK, until)
            at = taken
            while at < end:  # each call makes one record
                at += self.session.write(view[at:end])
            if not self._pass_on(flags):
                return self._keep_back(end - taken, taken)
            taken = end
        return taken

    def _taken_meanwhile(self, most: int) -> int:
        """Return how much of what was kept here is with the kernel now, at most so many bytes at a time."""
        taken = min(self._ahead, most)
        self._ahead -= taken
        return taken

    def _keep_back(self, ahead: int, taken: int) -> int:
        """Note that so many bytes are in records which the kernel has not taken wholly."""
        self._ahead = ahead
        if not taken:
            raise BlockingIOError
        return taken

    def _pass_on(self, flags: int = DONTWAIT) -> bool:
        """Send the records that have been made; return whether the kernel has taken all."""
        records: bytes | memoryview = self._to.read()
        if self._left:
            records = bytes(self._left) + records
        if not records:
            return True
        try:
            sent = _send(self, records, flags)
        except BlockingIOError:
            sent = 0
        if sent == len(records):
            self._left = b""
            return True
        self._left = memoryview(records)[sent:]
        return False

    def _flush(self, flags: int = DONTWAIT) -> None:
        """Send what the kernel has not taken.

        :raises BlockingIOError: it does not take all of it now either.
        """
        sent = _send(self, self._left, flags)
        self._left = self._left[sent:]
        if self._left:
            raise BlockingIOError

    def send_two(self, head: bytes, body: bytes) -> int:
        return self.send(head + body)

    def send_file(self, descriptor: int, offset: int, count: int) -> int:
        """Send a part of a file, a block at a time; returns how many bytes were taken, 0 at its end."""
        if self._left:
            self._flush()
        if self._ahead:
            return self._taken_meanwhile(count)
        block = os.pread(descriptor, min(count, FILE_BLOCK), offset)
        return self.send(block) if block else 0

    # -- the end ------------------------------------------------------------------------------------------------------

    def end_sending(self) -> None:
        self._say_the_end()
        super().end_sending()

    def reset(self) -> None:
        self._to = _MUTE
        super().reset()

    def close(self) -> None:
        """Close the socket, behind an alert that says so if nothing else has (RFC 8446 section 6.1)."""
        self._say_the_end()
        _close(self)

    def _say_the_end(self) -> None:
        if self._to is _MUTE:
            return
        with suppress(OSError):  # it wants the answer of the other side, which it does not get
            self.session.unwrap()
        with suppress(OSError):
            self._pass_on()
        self._to = _MUTE
        self._left = b""


_MUTE: Final = ssl.MemoryBIO()  # in the place of one that nobody reads any more


def reason(error: OSError) -> str:
    """Return, in a few words, why a session has failed."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"certificate verify failed: {error.verify_message}"
    if isinstance(error, ssl.SSLError) and error.reason:
        return error.reason.lower().replace("_", " ")
    return error.strerror or str(error)
