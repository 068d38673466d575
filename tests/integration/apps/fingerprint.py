"""An application that tells what it was asked for, so that a test can compare: ``spawn fingerprint.application``."""

import hashlib
from collections.abc import Iterable
from typing import Any


def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    """Answer 200 with a hash of method, target, host and body; nothing that a client sends makes it fail."""
    host, content = environ.get("HTTP_HOST", ""), environ["wsgi.input"].read()
    body = fingerprint(environ["REQUEST_METHOD"], environ["RAW_URI"], host, content)
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]


def fingerprint(method: str, target: str, host: str, body: bytes) -> bytes:
    """Return what tells a request apart from others."""
    return hashlib.sha256(b"%r" % [method, target, host, body]).hexdigest()[:16].encode()
