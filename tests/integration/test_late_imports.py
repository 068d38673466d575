"""Nothing is imported by the server once the application's files count: they may have any name.

The application notes every import behind its own, in the fork server and in workers, while all kinds of requests are
served: those of the corpus, what applications do, and what happens around requests.
"""

import os
import signal
from pathlib import Path

import pytest

from integration.client import Client, Closed, fetch, request
from integration.control import spawnctl
from integration.server import Server, until

CORPUS = sorted((Path(__file__).parents[1] / "corpus").glob("*/*.http"))
OPTIONS = (
    "--ready-path", "/?7", "--request-timeout", "2", "--request-id-header", "X-Request-Id",
    "--forwarded-allow-ips", "127.0.0.1", "--max-kept-output", "100000", "--max-body-bytes", "10000000",
    "--health-path", "/health", "--queue-timeout", "30", "--allow-connect", "--backdoor",
)  # fmt: skip


@pytest.mark.parametrize(
    "more", [[], ["--no-preload"], ["--reload", "dev"]], ids=lambda more: " ".join(more) or "plain"
)
def test_the_server_imports_nothing_behind_the_application(tmp_path: Path, more: list[str]) -> None:
    noted, control = tmp_path / "noted", tmp_path / "control"
    options = [*OPTIONS, *more, "--control-socket", str(control), "-l", str(tmp_path / "access.log")]
    with Server("late.application", "-s", "2", "-t", "4", *options, env={"LATE": str(noted)}) as server:
        for path in CORPUS:
            send(server.port, path.read_bytes())
        for target in ("/raise", "/raise-late", "/write", "/not-bytes", "/errors", "/status?404+None", "/status?x"):
            send(server.port, request(target))
        for target in ("/health", f"/file?{__file__}", "/?100000"):
            send(server.port, request(target))
        with Client(server.port) as client:
            assert client.post("/", b"x" * 3_000_000).status == 200  # in a file
        with Client(server.port) as slow_reader:
            slow_reader.send(request("/?9000000") * 2)  # kept in a file
            until(lambda: fetch(server.port, "/").status == 200, "an answer meanwhile")
        for command in (["status"], ["requests"], ["stacks", "1.1"]):
            assert spawnctl("--socket", control, *command).status == 0
        assert spawnctl("--socket", control, "console", "1.1", stdin="1\n1 +\n1/0\nexit()").status == 0
        assert fetch(server.port, "/slow").status == 504
        server.signal(signal.SIGUSR1)
        with Client(server.port) as kept:
            assert kept.get("/").status == 200
            assert server.reload()
            assert kept.get("/").status == 200
        (tmp_path / "noted.trap").touch()
        assert not server.reload()
        (tmp_path / "noted.trap").unlink()
        assert server.reload()  # in place of the page of the refusal, in dev
        for worker in server.wait_workers(2):
            os.kill(worker.pid, signal.SIGTERM)
        server.wait_for_log(r" worker recycled .* reason=SIGTERM$")
        assert spawnctl("--socket", control, "rollback", "--wait").status == (1 if "--no-preload" in more else 0)
        assert server.stop() == 0
    assert not noted.exists(), noted.read_text()


def send(port: int, data: bytes) -> None:
    """Send bytes, and nothing after them; read one answer if there is one."""
    with Client(port, timeout=5) as client:
        try:
            client.send(data)
            client.sock.shutdown(1)
            client.read()
        except (Closed, OSError, ValueError):
            pass
