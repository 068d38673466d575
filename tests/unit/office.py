"""A worker without processes: the real loop, dispatch, threads and connections, over local sockets of no address."""

import os
import socket
import threading
from collections.abc import Callable
from typing import Any

from spawning.ipc.channel import Channel
from spawning.settings import Settings
from spawning.worker.context import Context
from spawning.worker.dispatch import Dispatch
from spawning.worker.http1 import Http1
from spawning.worker.listener import Listener, Listeners
from spawning.worker.loop import Loop
from spawning.worker.secured import Ferried
from spawning.worker.threads import Threads
from spawning.wsgi.environ import EnvironBase
from spawning.wsgi.errors import ErrorStream
from unit.crew import end_threads
from unit.interleave import DEADLINE, eventually

REQUEST = b"GET %s HTTP/1.1\r\nHost: a\r\n\r\n"


class Office:
    """See the module; it works between entry and exit.

    :param application: the WSGI application.
    :ivar handoff: where connections that leave are found.
    """

    def __init__(self, application: Callable[..., Any], threads: int = 2, **settings: Any) -> None:
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind("")  # the kernel chooses
        self._listening.listen()
        self._listening.setblocking(False)
        self._address = self._listening.getsockname()
        self.context = Context(Settings(threadpool_workers=threads, num_processes=1, **settings), None)
        self._threads = Threads(self.context)
        self.dispatch = self.context.dispatcher = Dispatch(self.context, application, None, self._threads)
        base = EnvironBase(
            server_name="office", server_port="0", multithread=True, multiprocess=False, errors=ErrorStream(),
        )  # fmt: skip
        sending, self.handoff = Channel.pair()
        receiving, unused = Channel.pair()
        self._channels = (sending, self.handoff, receiving, unused)
        self._ended = threading.Event()
        listener = Listener("unix:@office", self._listening, base, Http1, ferried=Ferried)
        self.loop = Loop(
            self.context,
            self.dispatch,
            Listeners([listener], lambda name: listener),
            (sending, receiving),
            1000,
            self._ended.set,
        )
        self.clients: list[socket.socket] = []

    def __enter__(self) -> "Office":
        self._threads.start()
        self.done(self.loop.start)
        return self

    def __exit__(self, *_: object) -> None:
        for client in self.clients:
            client.close()
        for connection in self.connections:
            self.context.post(connection.abandon)
        self.context.post(self.loop.stop)
        assert self._ended.wait(DEADLINE)
        end_threads(self._threads, lambda: None)
        for channel in self._channels:
            channel.sock.close()
        self._listening.close()
        self.poller.epoll.close()
        for fd in (self.context.mail.fd, self.dispatch.alarm.fd):
            os.close(fd)

    @property
    def failed(self) -> bool:
        return self.loop.failed

    @property
    def poller(self) -> Any:
        return self.context.poller

    @property
    def connections(self) -> list[Http1]:
        return list(self.poller.pollables.values())

    def done(self, action: Callable[[], object]) -> None:
        """Have the leader do something, and wait until it has."""
        done = threading.Event()

        def both() -> None:  # in one: behind the last connection of a retired worker the loop ends
            try:
                action()
            finally:
                done.set()

        self.context.post(both)
        assert done.wait(DEADLINE)

    def client(self) -> socket.socket:
        """Make a client that is yet to :meth:`connect`."""
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(DEADLINE)
        self.clients.append(client)
        return client

    def connect(self, client: socket.socket | None = None) -> socket.socket:
        """Connect a client, by default a new one."""
        client = client or self.client()
        client.connect(self._address)
        return client

    def received(self) -> tuple[Any, int]:
        """Wait for a connection that has left; return its message and descriptor."""
        self.handoff.sock.settimeout(DEADLINE)
        message, fds = self.handoff.receive()
        return message, fds[0]


def ask(client: socket.socket, path: str = "/") -> bytes:
    """Send a request and read its answer's content."""
    client.sendall(REQUEST % path.encode())
    return answer(client)


def answer(client: socket.socket) -> bytes:
    """Read a response with a length, and no more; return its content, or nothing at the end of the connection."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = client.recv(1)
        if not byte:
            return head
        head += byte
    length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
    body = b""
    while len(body) < length:
        body += client.recv(length - len(body))
    return body


def respond(start_response: Any, body: bytes = b"ok") -> list[bytes]:
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]


def nothing_executes(office: Office) -> None:
    eventually(lambda: not office.dispatch.executor.executing, "nothing executes")
