"""What comes in plain HTTP is sent to HTTPS (``--redirect-to-https``), but for who asks whether the server is ready,
and for a certificate authority that wants to see a file before it signs (ACME HTTP-01, RFC 8555 section 8.3).
"""

import os
import re
from collections.abc import Callable, Iterable
from typing import Any, Final
from urllib.parse import quote

from spawning.settings import Settings
from spawning.wsgi.environ import Environ, path_info
from spawning.wsgi.exchange import WSGIApplication

_CHALLENGES: Final = "/.well-known/acme-challenge/"
_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]{1,255}")  # base64url (RFC 8555 section 8.1), and so no other path
_MOST: Final = 65536  # bytes of a file
_PORT: Final = re.compile(r":[0-9]*\Z")
_HTTPS: Final = 443


class Challenges:
    """Wrap an application: the files of a directory are below ``/.well-known/acme-challenge/``.

    :param application: answers all other paths.
    :param directory: its absolute path.
    """

    def __init__(self, application: WSGIApplication, directory: str) -> None:
        self._application = application
        self._directory = directory

    def __call__(self, environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        path: str = environ["PATH_INFO"]
        if not path.startswith(_CHALLENGES):
            return self._application(environ, start_response)
        content = self._read(path.removeprefix(_CHALLENGES)) if environ["REQUEST_METHOD"] in ("GET", "HEAD") else None
        if content is None:
            return _answer(start_response, "404 Not Found", b"there is no such file\n")
        return _answer(start_response, "200 OK", content, ("Content-Type", "application/octet-stream"))

    def _read(self, token: str) -> bytes | None:
        if not _TOKEN.fullmatch(token):
            return None
        try:
            with open(os.path.join(self._directory, token), "rb") as file:
                return file.read(_MOST)
        except OSError:
            return None


class Redirect:
    """Wrap an application: it gets what came over TLS, or by a proxy that says so.

    :param application: what is served over HTTPS.
    :param port: where that is.
    :param ready_path: what ``--ready-path`` names, which is answered over both.
    """

    def __init__(self, application: WSGIApplication, port: int, ready_path: str | None) -> None:
        self._application = application
        self._port = "" if port == _HTTPS else f":{port}"
        self._ready = path_info(ready_path) if ready_path is not None else None

    def __call__(self, environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        path: str = environ["PATH_INFO"]
        if environ["wsgi.url_scheme"] == "https" or path == self._ready or path.startswith(_CHALLENGES):
            return self._application(environ, start_response)
        host = _PORT.sub("", environ.get("HTTP_HOST") or environ["SERVER_NAME"])
        location = f"https://{host}{self._port}{environ['SCRIPT_NAME']}{_target(environ)}"
        return _answer(start_response, "308 Permanent Redirect", b"use https\n", ("Location", location))


def _target(environ: Environ) -> str:
    """Return path and query as they were sent; of a target that is no path, what it means."""
    target: str = environ["RAW_URI"]
    if target.startswith("/"):
        return target
    query = environ["QUERY_STRING"]
    return quote(environ["PATH_INFO"], "/!$&'()*+,;=:@", "latin-1") + (f"?{query}" if query else "")


def _answer(start_response: Callable[..., Any], status: str, body: bytes, *fields: tuple[str, str]) -> Iterable[bytes]:
    kind = () if any(name == "Content-Type" for name, _ in fields) else (("Content-Type", "text/plain"),)
    start_response(status, [*kind, *fields, ("Content-Length", str(len(body)))])
    return [body]


def redirected(application: WSGIApplication, settings: Settings, port: int) -> WSGIApplication:
    """Return the application behind what the settings ask for; itself if that is nothing.

    :param port: where HTTPS is, unless the settings say that.
    """
    if settings.acme_directory is not None:
        application = Challenges(application, os.path.abspath(settings.acme_directory))
    if settings.redirect_to_https:
        application = Redirect(application, settings.https_port or port, settings.ready_path)
    return application
