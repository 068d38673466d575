"""The application below a path (``--script-name``): ``SCRIPT_NAME`` is that path, ``PATH_INFO`` what follows it.

A request outside is answered with 404: the application could not make sense of it, and its links would lead elsewhere.
"""

from collections.abc import Callable, Iterable
from typing import Any

from spawning.wsgi.environ import Environ
from spawning.wsgi.exchange import WSGIApplication


class Mount:
    """Wrap an application.

    :param application: what is below.
    :param script_name: the path, without a slash at its end.
    """

    def __init__(self, application: WSGIApplication, script_name: str) -> None:
        self._application = application
        self._name = script_name.encode().decode("latin-1")  # PEP 3333, "Unicode Issues"
        self._slash = self._name + "/"
        self._body = f"404 Not Found: the application is at {script_name}/\n".encode()

    def __call__(self, environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        path: str = environ["PATH_INFO"]
        if path.startswith(self._slash) or path == self._name:
            environ["PATH_INFO"] = path[len(self._name) :]
        elif path:  # it is empty in what is asked of the server as a whole (OPTIONS *, CONNECT)
            fields = [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(self._body)))]
            start_response("404 Not Found", fields)
            return [self._body]
        environ["SCRIPT_NAME"] += self._name
        return self._application(environ, start_response)


def mounted(application: WSGIApplication, script_name: str | None) -> WSGIApplication:
    """Return the application below a path; itself if there is none."""
    return Mount(application, script_name) if script_name else application
