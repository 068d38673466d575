"""Three kinds of clients that notice everything, for ``bench/reload.py``.

One opens a connection for each request, one keeps its connection and never retries, one keeps it and sends several
requests at once. The application answers with its version, so each response tells which code it came from. Bounded:
each client pauses a millisecond between its requests, and all of them end when told to.
"""

import collections
import contextlib
import itertools
import os
import socket
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

TLS = "tls:"  # in front of a port where it is spoken
TIMEOUT = 10.0  # seconds for one response; longer counts as failed
PIPELINED = 4  # requests at once
_PAUSE = 0.001  # seconds

REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
LAST_REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"

_UNVERIFIED = ssl.create_default_context()
_UNVERIFIED.check_hostname = False
_UNVERIFIED.verify_mode = ssl.CERT_NONE


class Trouble(Exception):
    """A request was not answered as it should be; the message is one of the columns of the table.

    :param port: the client's, 0 when there is no connection.
    :param opened: when the connection was opened (monotonic seconds).
    """

    def __init__(self, kind: str, port: int = 0, opened: float = 0.0) -> None:
        super().__init__(kind)
        self.port = port
        self.opened = opened


@dataclass(frozen=True, slots=True, order=True)
class Answer:
    """When a request was sent and its response complete (monotonic seconds), and the version that answered."""

    started: float
    ended: float
    version: int


@dataclass(slots=True)
class Tally:
    """What one client has seen. Troubles are failed, refused, reset, closed (with a request unanswered) and
    "said close" (announced with a response, so that nothing is lost).
    """

    answers: list[Answer] = field(default_factory=list)
    troubles: list[Trouble] = field(default_factory=list)


class Connection:
    """A socket and what has been read ahead. ``closing`` is true after a response that announced the end.

    :param where: a port, ``tls:`` and a port, or the path of a Unix socket.
    """

    def __init__(self, where: int | str, timeout: float = TIMEOUT) -> None:
        self._port = 0
        self._opened = time.monotonic()
        try:
            self.sock = connected(where, timeout)
        except (ConnectionRefusedError, FileNotFoundError):
            raise Trouble("refused") from None
        except OSError:
            raise Trouble("failed") from None
        self._port = identity(self.sock)
        self.closing = False
        self._buffer = b""
        if isinstance(where, str) and where.startswith(TLS):
            self._shake_hands()

    def _shake_hands(self) -> None:
        try:
            self.sock = _UNVERIFIED.wrap_socket(self.sock)
        except OSError as error:
            self.sock.close()
            raise self.trouble("reset" if isinstance(error, ConnectionResetError) else "failed") from None

    def send(self, data: bytes) -> None:
        try:
            self.sock.sendall(data)
        except (ConnectionResetError, BrokenPipeError):
            raise self.trouble("reset") from None
        except OSError:
            raise self.trouble("failed") from None

    def trouble(self, kind: str) -> Trouble:
        return Trouble(kind, self._port, self._opened)

    def read(self) -> int:
        """Read one response with a length; give the version in it.

        :raises Trouble: the connection ended, nothing came in time, or the status is another than 200.
        """
        while b"\r\n\r\n" not in self._buffer:
            self._more()
        head, _, rest = self._buffer.partition(b"\r\n\r\n")
        fields = dict(line.lower().split(b":", 1) for line in head.split(b"\r\n")[1:])
        length = int(fields.get(b"content-length", b"0"))
        while len(rest) < length:
            self._buffer = b""
            self._more()
            rest += self._buffer
        self._buffer = rest[length:]
        self.closing = b"close" in fields.get(b"connection", b"")
        if head.split(b" ")[1] != b"200":
            raise self.trouble("failed")
        return int(rest[:length])

    def _more(self) -> None:
        try:
            data = self.sock.recv(65536)
        except ConnectionResetError:
            raise self.trouble("reset") from None
        except OSError:
            raise self.trouble("failed") from None
        if not data:
            raise self.trouble("closed")
        self._buffer += data


def connected(where: int | str, timeout: float) -> socket.socket:
    """Connect to a port, which may have ``tls:`` in front of it, or to a Unix socket."""
    if isinstance(where, str) and where.startswith(TLS):
        where = int(where.removeprefix(TLS))
    if isinstance(where, int):
        sock = socket.create_connection(("127.0.0.1", where), timeout)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock
    sock = socket.socket(socket.AF_UNIX)
    try:
        sock.settimeout(timeout)
        sock.connect(where)
    except OSError:
        sock.close()
        raise
    return sock


def identity(sock: socket.socket) -> int:
    """Return a number by which the other end of a connection can be told from others: the port, or the inode."""
    if sock.family == socket.AF_UNIX:
        return os.fstat(sock.fileno()).st_ino
    port: int = sock.getsockname()[1]
    return port


class Clients:
    """The load between entry and exit.

    :param each: clients of each kind.
    """

    def __init__(self, where: int | str, each: int) -> None:
        self._where = where
        self._over = threading.Event()
        kinds: list[Callable[[Tally], None]] = [self._fresh, self._kept, self._pipelined]
        self.tallies = [Tally() for _ in range(each * len(kinds))]
        self._threads = [
            threading.Thread(target=self._drive, args=(kinds[index % len(kinds)], tally), daemon=True)
            for index, tally in enumerate(self.tallies)
        ]

    def __enter__(self) -> "Clients":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(TIMEOUT + 1)

    @property
    def answers(self) -> list[Answer]:
        return sorted(answer for tally in self.tallies for answer in tally.answers)

    @property
    def troubles(self) -> list[Trouble]:
        return [trouble for tally in self.tallies for trouble in tally.troubles]

    def _drive(self, kind: Callable[[Tally], None], tally: Tally) -> None:
        while not self._over.is_set():
            try:
                kind(tally)
            except Trouble as trouble:
                tally.troubles.append(trouble)
                self._over.wait(_PAUSE * 10)

    def _fresh(self, tally: Tally) -> None:
        started = time.monotonic()
        connection = Connection(self._where)
        with contextlib.closing(connection.sock):
            connection.send(LAST_REQUEST)
            tally.answers.append(Answer(started, version=connection.read(), ended=time.monotonic()))
        self._over.wait(_PAUSE)

    def _kept(self, tally: Tally) -> None:
        self._keep(tally, 1)

    def _pipelined(self, tally: Tally) -> None:
        self._keep(tally, PIPELINED)

    def _keep(self, tally: Tally, count: int) -> None:
        """Use one connection until the server closes it, which is counted, or the end."""
        connection = Connection(self._where)
        with contextlib.closing(connection.sock):
            while not self._over.is_set():
                started = time.monotonic()
                connection.send(REQUEST * count)
                for _ in range(count):
                    tally.answers.append(Answer(started, version=connection.read(), ended=time.monotonic()))
                if connection.closing:
                    raise connection.trouble("said close")
                self._over.wait(_PAUSE)


def steps_back(answers: list[Answer]) -> int:
    """Count the answers from older code than had answered before their request was sent."""
    found, newest = 0, 0
    by_end = collections.deque(sorted(answers, key=lambda answer: answer.ended))
    for answer in sorted(answers):
        while by_end and by_end[0].ended < answer.started:
            newest = max(newest, by_end.popleft().version)
        found += answer.version < newest
    return found


def longest_silence(answers: list[Answer], begun: float, ended: float) -> float:
    """Return the longest time without any answer between two moments, in seconds."""
    ends = sorted((begun, *(answer.ended for answer in answers), ended))
    return max((after - before for before, after in itertools.pairwise(ends)), default=0.0)
