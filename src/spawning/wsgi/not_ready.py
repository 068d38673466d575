"""An application whose service is going to end (``--drain-delay``): its readiness path says so, all else is as ever.

Load balancers ask that path, and send nobody here any more once it is answered with 503.
"""

from collections.abc import Callable, Iterable
from typing import Any, Final

from spawning.wsgi.environ import Environ, path_info
from spawning.wsgi.exchange import WSGIApplication

_BODY: Final = b"the service is about to end\n"


class NotReady:
    """Wrap an application.

    :param application: answers all other paths.
    :param ready_path: what ``--ready-path`` names: a path, percent-encoded, with or without a query.
    """

    def __init__(self, application: WSGIApplication, ready_path: str) -> None:
        self._application = application
        self._path = path_info(ready_path)

    def __call__(self, environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ["SCRIPT_NAME"] + environ["PATH_INFO"] != self._path:
            return self._application(environ, start_response)
        start_response("503 Service Unavailable", [("Content-Type", "text/plain"), ("Content-Length", str(len(_BODY)))])
        return [_BODY]
