"""``/last``: no further thread can be started from now on; everything else waits, for less than a thread is worth."""

import threading
import time
from collections.abc import Iterable
from wsgiref.types import StartResponse, WSGIEnvironment

LARGER_THAN_THE_ADDRESS_SPACE = 1 << 47  # bytes


def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    if environ["PATH_INFO"] == "/last":
        threading.stack_size(LARGER_THAN_THE_ADDRESS_SPACE)
    else:
        time.sleep(0.001)
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "7")])
    return [b"waited\n"]
