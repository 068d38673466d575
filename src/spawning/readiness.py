"""The readiness check of ``--ready-path``: one GET through the application, in the first worker of a generation.

It runs before that worker says ``Ready``, so nobody is served by a generation that fails it, and the generation before
goes on. No socket is involved: the request is read by the ordinary parser, executed by the ordinary
:class:`~spawning.wsgi.exchange.Exchange` on a thread of its own (as every request is), and its response kept in memory.

Rules: whatever goes wrong becomes an ``AppLoadError`` that says what was seen. A redirect counts as a failure unless
``--ready-status`` allows it: it shows that the application answers, not that the page behind it does.
"""

import threading
import time
import traceback
from typing import Final

from spawning.address import Address
from spawning.errors import AppLoadError
from spawning.http.limits import Limits
from spawning.http.line import RequestLine
from spawning.http.request import RequestReader
from spawning.http.response import Clock
from spawning.primitives import ServerThread, current_frames
from spawning.settings import Settings, status_range
from spawning.wsgi.environ import EnvironBase, connection_template, request_environ
from spawning.wsgi.exchange import Exchange, WSGIApplication
from spawning.wsgi.input import BodyBuffer
from spawning.wsgi.mount import mounted
from spawning.wsgi.request_id import identified
from spawning.wsgi.responder import ClientGone, Responder
from spawning.wsgi_factory import application_traceback, one_line

ENOUGH: Final = 65536  # bytes of a response; what follows is not waited for
_LONGEST_LINE: Final = 200  # characters of a response that are shown
_WILDCARDS: Final = frozenset({"", "0.0.0.0", "::"})


def check(application: WSGIApplication, settings: Settings, address: Address, until: float) -> None:
    """Ask the application for ``--ready-path`` and see that its status is one of ``--ready-status``.

    :param address: what the server is bound to; over TLS, the application sees HTTPS.
    :param until: when to give up (seconds of the monotonic clock).
    :raises AppLoadError: another status, no answer in time, or none at all; says what was seen.
    """
    path = settings.ready_path
    assert path is not None
    exchange = _exchange(settings, path, address)
    application = identified(mounted(application, settings.script_name), settings.request_id_header)
    begun = time.monotonic()
    thread = _asking(exchange, application, settings)
    thread.start()
    thread.join(max(0.0, until - begun))
    if thread.is_alive():
        raise AppLoadError(
            f"GET {path} was not answered within {time.monotonic() - begun:.1f} s (--ready-path, --boot-timeout)",
            _stack(thread),
        )
    if (error := exchange.error) is not None:
        raise AppLoadError(
            f"GET {path} failed: {one_line(error)} (--ready-path)", application_traceback(error)
        ) from error
    low, high = status_range(settings.ready_status)
    if not low <= exchange.answer.status <= high:
        expected = f"expected {settings.ready_status} (--ready-path, --ready-status)"
        raise AppLoadError(f"GET {path} {exchange.answer.seen()}; {expected}")


def _asking(exchange: "_Check", application: WSGIApplication, settings: Settings) -> threading.Thread:
    """Make what executes the request: with ``-t 0`` a thread as the application makes them, which is a greenlet."""
    if settings.threadpool_workers:
        return _Asking(exchange, application)
    return threading.Thread(target=exchange.attempt, args=(application,), name="readiness check", daemon=True)


class _Asking(ServerThread):
    """Executes the request as the thread of any other."""

    def __init__(self, exchange: "_Check", application: WSGIApplication) -> None:
        super().__init__("readiness check")
        self._exchange = exchange
        self._application = application

    def run(self) -> None:
        self._exchange.attempt(self._application)


class Answer(Responder):
    """What the application has answered, kept as for an HTTP/1.0 client, so that nothing of it is chunked."""

    def __init__(self, line: RequestLine) -> None:
        self._data = bytearray()
        self.line = line
        self.clock = Clock()
        self.begin(minor=0, keep_alive=False)

    def send(self, data: bytes) -> None:
        self._data += data
        if len(self._data) > ENOUGH:  # a stream that does not end, perhaps
            raise ClientGone("enough has been seen")

    send_last = send

    def send_two(self, head: bytes, body: bytes) -> None:
        self.send(head + body[: ENOUGH + 1])

    def send_file(self, head: bytes, descriptor: int, offset: int, count: int) -> None:
        """Take the head; the content of a file stays where it is."""
        self.send(head)

    def has_gone(self) -> bool:
        return False

    @property
    def status(self) -> int:
        """The status code; 0 if there is no response."""
        start = bytes(self._data[:12])
        return int(start[9:]) if start.startswith(b"HTTP/1.1 ") else 0

    def seen(self) -> str:
        """Describe the response in one line: status, where it redirects to, how its body begins."""
        if not self.status:
            return "was not answered at all"
        head, _, body = bytes(self._data).decode("utf-8", "replace").partition("\r\n\r\n")
        start, *fields = head.split("\r\n")
        locations = [field.partition(":")[2].strip() for field in fields if field.lower().startswith("location:")]
        first = next((line.strip() for line in body.splitlines() if line.strip()), "")
        parts = [f"answered {start.partition(' ')[2].strip()}", *(f"Location: {each}" for each in locations)]
        parts += [f"body: {first[:_LONGEST_LINE]}"] if first else []
        if self.status == 400:
            parts.append("if it does not know the Host, name one with --ready-host")
        return ", ".join(parts)


class _Check(Exchange):
    """An exchange whose failure is kept instead of logged: the controller logs it with the refusal, once."""

    error: BaseException | None = None
    answer: Answer

    def attempt(self, application: WSGIApplication) -> None:
        try:
            self.run(application)
        # boundary: what would end the thread of a request (SystemExit) is the application's failure here
        except BaseException as error:
            self.error = error

    def _failed(self, error: BaseException) -> None:
        self.error = error


def _exchange(settings: Settings, path: str, address: Address) -> _Check:
    """Build the request as a client on this machine would send it."""
    reader = RequestReader(BodyBuffer, Limits())
    name, port = address.server
    host = settings.ready_host or _authority(name, port)
    complete = reader.receive(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: spawning-ready\r\n\r\n".encode())
    assert complete
    base = EnvironBase(
        server_name=name,
        server_port=port,
        multithread=settings.threadpool_workers != 1,
        multiprocess=settings.num_processes > 1,
    )
    if address.secure:
        base = base.saying({"wsgi.url_scheme": "https", "HTTPS": "on"})
    environ = request_environ(connection_template(base, reader.fields, reader.line, "127.0.0.1", "0"), None)
    answer = Answer(reader.line)
    exchange = _Check(answer, environ)
    exchange.answer = answer
    environ["spawning.client_disconnected"] = environ["waitress.client_disconnected"] = _Stays()
    return exchange


class _Stays:
    """Asks whether the client has gone, and has something called then: never here (``worker.disconnected``)."""

    def __call__(self) -> bool:
        return False

    def call(self, _function: object) -> None:
        """Do nothing."""


def _authority(host: str, port: str) -> str:
    if host in _WILDCARDS:
        host = "localhost"
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _stack(thread: threading.Thread) -> str:
    """Return where a thread is now, as a traceback does."""
    frame = current_frames().get(thread.ident or 0)
    if frame is None:
        return ""
    return "The readiness check is here:\n" + "".join(traceback.format_stack(frame))
