"""How much memory Python uses in this worker: ``/weight``, in bytes; anything else says hello."""

import gc
import tracemalloc
from collections.abc import Iterable
from typing import Any

tracemalloc.start()


def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    body = b"hello"
    if environ["PATH_INFO"] == "/weight":
        gc.collect()
        body = str(tracemalloc.get_traced_memory()[0]).encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
