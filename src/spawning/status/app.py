"""The status service as a WSGI application: who may see what, and in which form.

Rules: it only reads. ``/livez`` and ``/readyz`` are for everybody and say nothing but their answer. The rest is for who
knows the token, if there is one; without one the service is reached from this machine alone, and then a request must
also be meant for this machine by name, since a page from anywhere could have its own name resolve to a loopback address
(DNS rebinding).
"""

import base64
import binascii
import hmac
import ipaddress
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from importlib.resources import files
from threading import Lock
from typing import Any, NamedTuple

from spawning.status import covered, metrics, system
from spawning.status.app_metrics import AppMetrics
from spawning.status.covered import Coverage
from spawning.status.hub import STALE, Hub, View
from spawning.status.page import document, fragment
from spawning.status.values import described

MOST_STREAMS = 16  # clients that are sent every change; each of them takes a thread

_HEARTBEAT = 15.0  # seconds of silence after which a stream says that it lives
_LOOK = 1.0  # seconds between looks whether its client is still there
_FIELDS = [
    ("Cache-Control", "no-store"),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    (
        "Content-Security-Policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none';"
        " form-action 'none'; frame-ancestors 'none'",
    ),
]
_TEXT, _HTML, _JSON = "text/plain; charset=utf-8", "text/html; charset=utf-8", "application/json"
_EVENTS = "text/event-stream"
_COVERAGE = "/_coverage"
_BELOW = "_coverage/"  # as seen from there, wherever a proxy has put this

Environ = dict[str, Any]
StartResponse = Callable[..., Any]


class Answer(NamedTuple):
    """A whole response; `fields` are further ones."""

    status: str
    body: str | bytes
    kind: str = _TEXT
    fields: tuple[tuple[str, str], ...] = ()


class StatusApp:
    """The application. Any thread.

    :param hub: what is known.
    :param token: that clients have to know; None: they need not know any.
    :param app_metrics: the application's own, or None.
    :param coverage: the pages for ``--coverage``, or None.
    :param system: the directory of the files for ``--sysinfo``; empty: nobody wants it.
    """

    def __init__(
        self, hub: Hub, token: str | None, app_metrics: AppMetrics | None, coverage: Coverage | None, system: str
    ) -> None:
        self._hub = hub
        self._app_metrics = app_metrics
        self._coverage = coverage
        self._system = system
        self._token = token
        self._streams = 0
        self._lock = Lock()
        self._pages: dict[str, Callable[[Environ], Answer]] = {
            "/": self._page,
            "/status": self._page,
            "/status.json": self._json,
            "/metrics": self._metrics,
            "/events": lambda _: Answer("200 OK", "", _EVENTS),  # HEAD; GET is a stream
            "/status.css": lambda _: _static("status.css", "text/css; charset=utf-8"),
            "/status.js": lambda _: _static("status.js", "text/javascript; charset=utf-8"),
        }
        if system:
            self._pages["/_sysinfo"] = self._sysinfo
        if coverage is not None:
            self._pages[_COVERAGE] = lambda _: Answer("308 Permanent Redirect", "", fields=(("Location", _BELOW),))
            self._pages[f"{_COVERAGE}/"] = self._covered
        self._checks: dict[str, Callable[[], Answer]] = {"/livez": self._livez, "/readyz": self._readyz}

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        refusal = self._refusal(environ, path)
        if refusal is None and path == "/events" and environ["REQUEST_METHOD"] == "GET":
            return self._events(environ, start_response)
        answer = refusal or (self._checks[path]() if path in self._checks else self._pages[_known(path)](environ))
        body = answer.body.encode() if isinstance(answer.body, str) else answer.body
        length = ("Content-Length", str(len(body)))
        start_response(answer.status, [("Content-Type", answer.kind), length, *_FIELDS, *answer.fields])
        return [body]

    # Who may see it --------------------------------------------------------------------------------------------------

    def _refusal(self, environ: Environ, path: str) -> Answer | None:
        """Return why a request is not answered, or None."""
        if path not in self._checks:
            if self._token is not None and not _knows(environ.get("HTTP_AUTHORIZATION", ""), self._token):
                asks = ("WWW-Authenticate", 'Basic realm="Spawning status", charset="UTF-8"')
                return Answer("401 Unauthorized", "the token of --status-token is needed\n", fields=(asks,))
            if self._token is None and environ["REMOTE_ADDR"] and not _is_this_machine(environ.get("HTTP_HOST", "")):
                return Answer(
                    "403 Forbidden", "ask for an address or localhost, not for another name, or give a --status-token\n"
                )
            if _known(path) not in self._pages:
                return Answer("404 Not Found", f"there are {', '.join((*self._pages, *self._checks))}\n")
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            return Answer("405 Method Not Allowed", "only GET\n", fields=(("Allow", "GET, HEAD"),))
        return None

    # What there is ---------------------------------------------------------------------------------------------------

    def _livez(self) -> Answer:
        age = self._hub.view.age
        if age < STALE:
            return Answer("200 OK", "ok\n")
        return Answer("503 Service Unavailable", f"the controller has said nothing for {age:.0f} s\n")

    def _readyz(self) -> Answer:
        if self._livez().status != "200 OK":
            return self._livez()
        values = self._hub.view.values
        if values["ready"]:
            return Answer("200 OK", "ok\n")
        return Answer(
            "503 Service Unavailable",
            f"{values['phase']}, no worker is ready\n" if values["service"] == "run" else "stopping\n",
        )

    def _page(self, _: Environ) -> Answer:
        return Answer("200 OK", document(self._hub.look()), _HTML)

    def _json(self, _: Environ) -> Answer:
        return Answer("200 OK", json.dumps(described(self._hub.look()), indent=1), _JSON)

    def _metrics(self, environ: Environ) -> Answer:
        accept = environ.get("HTTP_ACCEPT", "")
        try:
            kind, body = metrics.exposition(self._hub.view, self._hub.measure(), self._app_metrics, accept)
        except ModuleNotFoundError:
            return Answer(
                "501 Not Implemented",
                "metrics need prometheus-client, the extra spawning[metrics]: pip install prometheus-client\n",
            )
        return Answer("200 OK", body, kind)

    def _sysinfo(self, _: Environ) -> Answer:
        values = system.found(self._system, self._hub.view.values["serving"] or 0)
        if values is None:
            return Answer("503 Service Unavailable", "no worker has served yet\n")
        return Answer("200 OK", system.document(values), _HTML)

    def _covered(self, environ: Environ) -> Answer:
        assert self._coverage is not None
        values = self._hub.view.values
        there = [each["number"] for each in values["generations"]]
        name = environ["PATH_INFO"].removeprefix(f"{_COVERAGE}/") or covered.INDEX
        try:
            found = self._coverage.file(name, values["serving"] or 0, there)
        except covered.CoverageError as error:
            return Answer("503 Service Unavailable", f"{error}\n", fields=(("Retry-After", "1"),))
        if found is None:
            return Answer("404 Not Found", f"there is no such page, begin with {_COVERAGE}/\n")
        named = "attachment; filename=.coverage" if name == covered.DATA else "inline"
        return Answer("200 OK", found[1], found[0], (("Content-Disposition", named),))

    def _events(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        with self._lock:
            full = self._streams >= MOST_STREAMS
            self._streams += not full
        if full:
            start_response("503 Service Unavailable", [("Content-Type", _TEXT), ("Retry-After", "10"), *_FIELDS])
            return [b"too many clients watch\n"]
        start_response("200 OK", [("Content-Type", _EVENTS), ("X-Accel-Buffering", "no"), *_FIELDS])
        return _Stream(self._hub, environ["spawning.client_disconnected"], self._leave)

    def _leave(self) -> None:
        with self._lock:
            self._streams -= 1


def _known(path: str) -> str:
    """Return under which name a path is known: all pages about coverage are under one."""
    return f"{_COVERAGE}/" if path.startswith(f"{_COVERAGE}/") else path


class _Stream:
    """Server-sent events: the changing part of the page, whenever there is news. One thread.

    :param gone: whether the client has gone.
    :param leave: called once, at the end.
    """

    def __init__(self, hub: Hub, gone: Callable[[], bool], leave: Callable[[], None]) -> None:
        self._hub = hub
        self._gone = gone
        self._leave = leave
        self._open = True

    def __iter__(self) -> Iterator[bytes]:
        serial, silent = 0, 0.0
        yield b"retry: 2000\n\n"
        while not self._hub.closing and not self._gone():
            self._hub.watch()
            view = self._hub.newer(serial, _LOOK)
            if view is not None:
                serial, silent = view.serial, 0.0
                yield _event(replace(view, memory=self._hub.measure()))
            else:
                silent += _LOOK
                if silent >= _HEARTBEAT:
                    silent = 0.0
                    yield b": still here\n\n"

    def close(self) -> None:
        if self._open:
            self._open = False
            self._leave()


def _event(view: View) -> bytes:
    return f"data: {json.dumps(fragment(view))}\n\n".encode()


def _static(name: str, kind: str) -> Answer:
    return Answer("200 OK", files("spawning.status").joinpath("static", name).read_bytes(), kind)


def _knows(authorization: str, token: str) -> bool:
    """Whether the client has shown the token: as a bearer (RFC 6750), or as a password to any name (RFC 7617)."""
    scheme, _, given = authorization.partition(" ")
    if scheme.lower() == "basic":
        try:
            given = base64.b64decode(given.strip(), validate=True).decode("latin-1").partition(":")[2]
        except (binascii.Error, ValueError):
            return False
    elif scheme.lower() != "bearer":
        return False
    return hmac.compare_digest(given.strip().encode("latin-1", "replace"), token.encode())


def _is_this_machine(host: str) -> bool:
    """Whether a Host field is empty, or names an address or ``localhost``."""
    name = host.rpartition("]")[0].lstrip("[") if host.startswith("[") else host.partition(":")[0]
    if name.lower().rstrip(".") in ("", "localhost"):
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
