"""Small applications that a test writes, breaks and mends while the server runs."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from integration.client import Client, request
from integration.gate import Gate

_VERSION = """\
VERSION = {version!r}


def application(environ, start_response):
    body = VERSION.encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
"""


def write(directory: Path, version: str, before: str = "") -> Path:
    """Write ``site_app.py``, whose application answers with `version`; `before` is code that runs at its import."""
    path = directory / "site_app.py"
    path.write_text(f"{before}\n{_VERSION.format(version=version)}")
    return path


def waits_at(gate: Gate) -> str:
    """Write code that enters a gate and waits until it may leave; for the `before` of :func:`write`."""
    entered, leave = gate.paths
    return (
        f"with open({str(entered)!r}, 'wb', buffering=0) as entered: entered.write(b'.')\n"
        f"with open({str(leave)!r}, 'rb', buffering=0) as leave: leave.read(1)"
    )


def version(where: int | str) -> str:
    """Ask the server which version answers, on a connection of its own."""
    with Client(where) as client:
        return client.get("/", "Connection: close").text


@contextlib.contextmanager
def held(gate: Gate, where: int | str) -> Iterator[Client]:
    """Have a request executing in ``basics.application`` until the gate opens; give its connection."""
    with Client(where) as client:
        client.send(request(gate.target))
        gate.wait_entered()
        yield client
