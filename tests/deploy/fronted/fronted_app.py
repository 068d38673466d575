"""A site behind a proxy: what it is told of its client, and a file that the proxy hands out for it."""

import json
from collections.abc import Callable, Iterable
from typing import Any

VERSION = "1"


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Answer with the version, at /environ with the texts of the environ, at /report with a file of the proxy's."""
    body, fields = VERSION.encode(), [("Content-Type", "text/plain")]
    if environ["PATH_INFO"] == "/environ":
        body = json.dumps({name: value for name, value in environ.items() if isinstance(value, str)}).encode()
    if environ["PATH_INFO"] == "/report":
        body = b""
        fields.append(("X-Accel-Redirect", "/protected/report.txt"))
    start_response("200 OK", [*fields, ("Content-Length", str(len(body)))])
    return [body]
