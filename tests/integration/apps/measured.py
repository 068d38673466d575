"""An application with metrics of its own, as its author would write it who knows nothing of processes."""

import os
from collections.abc import Iterable
from typing import Any

from prometheus_client import Counter, Gauge, Histogram

VISITS = Counter("visits", "Visits by page.", ["page"])
WEIGHT = Histogram("weight_grams", "Of what was weighed.", buckets=(1, 10, 100))
BUSY = Gauge("busy", "Who works at present.", multiprocess_mode="livesum")
LOADED = Counter("loaded", "How often this file was imported.")
CLASH = Counter("spawning_requests", "Of the same name as one of the server's.")
LOADED.inc()


def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    VISITS.labels(environ["PATH_INFO"]).inc()
    WEIGHT.observe(5)
    BUSY.set(1)
    CLASH.inc(1000)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(os.getpid()).encode()]
