"""What integration tests share: one server for the tests of a module that do not harm it."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from integration.certificates import Certificate, loopback
from integration.client import Client
from integration.gate import Gate
from integration.server import RUNTIME, Server, Way


@pytest.fixture(scope="module", params=["threads", "green"])
def basics(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A server of ``apps/basics.py``: one worker, four threads or greenlets, no access log."""
    way = Way("127.0.0.1:0", green=request.param == "green")
    with way("basics.application", "-s", "1", "-t", "4", "-l", "/dev/null") as server:
        yield server


@pytest.fixture
def client(basics: Server) -> Iterator[Client]:
    """A connection to the server of the module."""
    with Client(basics.port) as client:
        yield client


@pytest.fixture
def directory() -> Iterator[Path]:
    """A directory with a short path: a socket's may have 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="spawning-") as directory:
        yield Path(directory)


@pytest.fixture(params=["tcp", "unix", "tls"])
def bind(request: pytest.FixtureRequest, directory: Path) -> str:
    """Where a server is to listen: what holds in one way has to hold in each."""
    return {"tcp": "127.0.0.1:0", "unix": f"unix:{directory}/socket", "tls": "127.0.0.1:0?tls"}[request.param]


@pytest.fixture(params=["tcp", "unix"])
def plain_bind(request: pytest.FixtureRequest, directory: Path) -> str:
    """As ``bind``, where it is about what comes before TLS."""
    return {"tcp": "127.0.0.1:0", "unix": f"unix:{directory}/socket"}[request.param]


@pytest.fixture(scope="session")
def certificate() -> Certificate:
    """A certificate for the loopback address, with its key."""
    return loopback(RUNTIME.name)


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Gate]:
    """A gate that requests to ``gate.target`` wait at."""
    with Gate(tmp_path) as gate:
        yield gate


@pytest.fixture(params=["tcp", "unix", "tls", "green"])
def way(request: pytest.FixtureRequest, directory: Path) -> Way:
    """A way in which a server may serve: what holds in one has to hold in each."""
    binds = {"unix": f"unix:{directory}/socket", "tls": "127.0.0.1:0?tls"}
    return Way(binds.get(request.param, "127.0.0.1:0"), green=request.param == "green")
