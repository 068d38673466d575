"""The site: put yours in place of it, and its name into spawning.toml."""

from collections.abc import Callable, Iterable
from typing import Any


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Greet, and say at /healthz that all is well (PEP 3333)."""
    body = b"well\n" if environ["PATH_INFO"] == "/healthz" else b"Hello, world!\n"
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
