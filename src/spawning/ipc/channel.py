"""A channel: one end of a ``SOCK_SEQPACKET`` socketpair that carries messages and file descriptors.

Rules: a datagram is a message; the end of file is the peer's death; sending to a dead peer is not an error (its death
is reported by the reading side, and in one place only); nothing here blocks unless it is told to. A message that is too
large for a datagram (the files of a large application, a long traceback) travels in a memory file whose descriptor
stands last beside a one-byte datagram.
"""

import contextlib
import os
import socket
import stat
from array import array
from collections.abc import Sequence

from spawning.ipc.messages import Message, decode, encode
from spawning.standard import FIRST_OF_OURS, moved

MAX_DATAGRAM = 100_000  # about half of the default send buffer (net.core.wmem_default, 212 992 bytes)
MAX_FDS = 253  # SCM_MAX_FD of Linux
_IN_MEMORY_FILE = b"@"  # no message: each of those begins with a brace
_ANCILLARY_SIZE = socket.CMSG_SPACE(MAX_FDS * array("i").itemsize)


class Channel:
    """One end. Owned by one thread for receiving; any thread may send (a datagram is written whole or not at all)."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock

    @classmethod
    def pair(cls) -> tuple["Channel", "Channel"]:
        """Make both ends; neither survives an exec unless it is passed on on purpose (PEP 446)."""
        near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        return cls(near), cls(far)

    def fileno(self) -> int:
        return self.sock.fileno()

    def send(self, message: Message, fds: Sequence[int] = ()) -> bool:
        """Send a message, with open descriptors beside it (they stay open here).

        :returns: False when the peer is gone.
        :raises BlockingIOError: the channel does not block and the peer does not read.
        """
        data = encode(message)
        if len(data) <= MAX_DATAGRAM:
            return self._send(data, fds)
        memory_file = os.memfd_create("spawning-message", os.MFD_CLOEXEC)
        try:
            with open(memory_file, "wb", closefd=False) as writer:
                writer.write(data)
            return self._send(_IN_MEMORY_FILE, [*fds, memory_file])
        finally:
            os.close(memory_file)

    def _send(self, data: bytes, fds: Sequence[int]) -> bool:
        try:
            if fds:
                socket.send_fds(self.sock, [data], list(fds), socket.MSG_NOSIGNAL)
            else:
                self.sock.send(data, socket.MSG_NOSIGNAL)
        except (BrokenPipeError, ConnectionResetError):
            return False
        return True

    def receive(self) -> tuple[Message | None, list[int]]:
        """Receive the next message and its descriptors (close-on-exec); ``(None, [])`` at the end of file.

        :raises BlockingIOError: nothing is there and the channel does not block.
        :raises ValueError: the datagram is no message.
        """
        try:
            # not socket.recv_fds: it ignores its flags, and the descriptors would survive an exec (Python 3.11)
            data, ancillary, flags, _ = self.sock.recvmsg(MAX_DATAGRAM + 1, _ANCILLARY_SIZE, socket.MSG_CMSG_CLOEXEC)
        except ConnectionResetError:  # the peer died with unread messages
            return None, []
        fds = _descriptors(ancillary)
        if not data:
            return None, []
        try:
            if data == _IN_MEMORY_FILE:
                data = _contents(fds, truncated=bool(flags & socket.MSG_CTRUNC))
            return decode(data), fds
        except ValueError:
            _close(fds)
            raise

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.sock.close()


def _close(fds: Sequence[int]) -> None:
    for fd in fds:
        os.close(fd)


def _contents(fds: list[int], *, truncated: bool) -> bytes:
    """Read the memory file whose descriptor stands last, and take that from the list.

    :param truncated: not all descriptors could be received.
    :raises ValueError: there is none, or it is none: code that is not ours has got hold of the other end.
    """
    if truncated:
        raise ValueError("a message was lost: no descriptor was left to receive it")
    if not fds:
        raise ValueError("a message was announced that is not there: no descriptor came with it")
    if not stat.S_ISREG(os.fstat(fds[-1]).st_mode):  # reading anything else might never end
        raise ValueError("a message was announced that is not in a memory file")
    with open(fds.pop(), "rb") as reader:
        try:
            reader.seek(0)  # the offset is shared with the writer
            return reader.read()
        except OSError as error:
            raise ValueError(f"a message in a memory file cannot be read: {error.strerror}") from error


def _descriptors(ancillary: list[tuple[int, int, bytes]]) -> list[int]:
    fds = array("i")
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            fds.frombytes(data[: len(data) - len(data) % fds.itemsize])
    return [moved(fd) if fd < FIRST_OF_OURS else fd for fd in fds]
