"""The limit: the application alone, called in a loop in one process with a ready environ.

``python -m bench.limit APP PATH SECONDS`` prints one line of JSON: requests, seconds, CPU seconds. No server can be
below it; the difference is what the server costs.
"""

import importlib
import io
import json
import sys
import time
from typing import Any
from wsgiref.util import setup_testing_defaults

BATCH = 20


def environ_for(path: str) -> dict[str, Any]:
    """Make the environ of a GET for `path` (PEP 3333)."""
    environ: dict[str, Any] = {"PATH_INFO": path, "QUERY_STRING": "", "wsgi.input": io.BytesIO()}
    setup_testing_defaults(environ)
    environ["wsgi.multithread"] = environ["wsgi.multiprocess"] = True
    return environ


def call(app: Any, environ: dict[str, Any]) -> None:
    """Make one request: call, iterate, close."""
    body = app(dict(environ), _start_response)
    try:
        for _ in body:
            pass
    finally:
        if hasattr(body, "close"):
            body.close()


def _start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> None:
    if not status.startswith("200"):
        raise RuntimeError(f"the application answers {status}")


def main() -> None:
    """Call for the given time, after a tenth of it to warm up."""
    target, path, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3])
    module, _, attribute = target.partition(":")
    app = getattr(importlib.import_module(module), attribute)
    environ = environ_for(path)
    _repeat(app, environ, seconds / 10)
    begin, cpu = time.monotonic(), time.process_time()
    requests = _repeat(app, environ, seconds)
    result = {"requests": requests, "seconds": time.monotonic() - begin, "cpu_seconds": time.process_time() - cpu}
    print(json.dumps(result))


def _repeat(app: Any, environ: dict[str, Any], seconds: float) -> int:
    end, requests = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        for _ in range(BATCH):
            call(app, environ)
        requests += BATCH
    return requests


if __name__ == "__main__":
    main()
