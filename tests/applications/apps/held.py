"""An application some of whose requests wait at a gate, so that a reload comes while they are under way.

``GATE`` names the directory of an ``integration.gate.Gate``. Where it has a file ``hold``, requests wait that begin
with its text, such as ``POST /?cmd=unbundle``.
"""

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

GATE = Path(os.environ["GATE"])
Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


def held(application: Application) -> Application:
    def waiting(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        wanted = _wanted()
        asked = f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}?{environ['QUERY_STRING']}"
        if wanted and asked.startswith(wanted):
            (GATE / "entered").write_bytes(b".")
            with (GATE / "leave").open("rb", buffering=0) as leave:
                leave.read(1)
        return application(environ, start_response)

    return waiting


def _wanted() -> str:
    try:
        return (GATE / "hold").read_text()
    except FileNotFoundError:
        return ""
