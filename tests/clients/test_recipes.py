"""The recipes of ``docs/hooks.md``, each as it stands there, in an application that shows what it does."""

import os
import re
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import grpc
import pytest

from integration.client import fetch
from integration.server import Server, until

PAGE = Path(__file__).parents[2] / "docs" / "hooks.md"
RECIPES = dict(re.findall(r"^### ([^\n]+)\n.*?^```python\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE))

# What comes ahead of a recipe, and what behind it: `answer` is what a request gets, as text.
AROUND = {
    "Threads started at import": ("", "def answer():\n    jobs.put(lambda: note('done'))\n    return 'put'"),
    "APScheduler": (
        "",
        "scheduler.add_job(lambda: note('done'), 'interval', seconds=0.05)\ndef answer():\n    return 'running'",
    ),
    "SQLAlchemy": (
        "import os\nDATABASE_URL = 'sqlite:///' + os.environ['NOTES'] + '.db'",
        """
from sqlalchemy import event
from spawning.lifecycle import on_load
@event.listens_for(engine, 'connect')
def connected(connection, record):
    note(f'connected {os.getpid()}')
def answer():
    with engine.connect() as connection:
        return connection.execute(text('select 42')).scalar()
answer()
""",
    ),
    "Sentry": (
        """
from sentry_sdk.transport import Transport
import sentry_sdk, threading
class Late(Transport):
    waiting = []
    def capture_envelope(self, envelope):
        self.waiting.append('event')
    def flush(self, timeout, callback=None):
        while self.waiting:
            note(self.waiting.pop())
SENTRY_DSN = 'http://key@localhost/1'
init = sentry_sdk.init
sentry_sdk.init = lambda dsn: init(dsn, transport=Late)
""",
        "def answer():\n    sentry_sdk.capture_message('hello')\n    return 'sent'",
    ),
    "OpenTelemetry": (
        """
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
class ToFile(SpanExporter):
    def export(self, spans):
        for span in spans:
            note(f"span {span.name} {span.resource.attributes['process.pid']}")
        return SpanExportResult.SUCCESS
make_exporter = ToFile
""",
        """
def answer():
    with trace.get_tracer('site').start_as_current_span('answer'):
        return os.getpid()
""",
    ),
    "ddtrace": (
        "",
        """
def answer():
    with tracer.trace('answered', resource=str(os.getpid())):
        return os.getpid()
""",
    ),
    "gRPC": (
        "import os\nGRPC_TARGET = os.environ['GRPC_TARGET']",
        """
def answer():
    return channel.unary_unary('/site.Site/Answer')(b'asked', timeout=30, wait_for_ready=True).decode()
""",
    ),
    "Random generators": ("", "def answer():\n    return generator.random()"),
    "prometheus_client": (
        """
import os
from prometheus_client import CollectorRegistry, Gauge, generate_latest
""",
        """
gauge = Gauge('busy', 'Workers that are busy', multiprocess_mode='livesum')
def answer():
    gauge.set(1)
    registry = CollectorRegistry()
    multiprocess.MultiProcessCollector(registry)
    return generate_latest(registry).decode()
""",
    ),
}

FRAME = """
import os
def note(text):
    with open(os.environ["NOTES"], "a") as notes:
        notes.write(f"{text}\\n")
%s
%s
%s
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(answer()).encode()]
"""


class Site:
    """A directory with an application that follows a recipe."""

    def __init__(self, directory: Path, recipe: str) -> None:
        before, behind = AROUND[recipe]
        (directory / "followed.py").write_text(FRAME % (before, RECIPES[recipe], behind))
        self.directory = directory
        self.notes = directory / "notes"

    def server(self, *options: str, **env: str) -> Server:
        return Server("followed", *options, cwd=self.directory, env={"NOTES": str(self.notes), **env})

    def lines(self) -> list[str]:
        return self.notes.read_text().splitlines() if self.notes.exists() else []


def test_every_recipe_is_tried() -> None:
    assert set(RECIPES) == set(AROUND)


def test_threads(tmp_path: Path) -> None:
    site = Site(tmp_path, "Threads started at import")
    with site.server("-s", "1") as server:
        assert fetch(server.port, "/").text == "put"
        assert server.stop() == 0
        assert "given up" not in server.log()
        assert "threads that the application has started" not in server.log()
    assert site.lines() == ["done"]


def test_apscheduler(tmp_path: Path) -> None:
    site = Site(tmp_path, "APScheduler")
    with site.server("-s", "1") as server:
        assert fetch(server.port, "/").text == "running"
        until(lambda: "done" in site.lines(), "the job is done")
        assert server.stop() == 0
        assert "given up" not in server.log()


def test_sqlalchemy(tmp_path: Path) -> None:
    site = Site(tmp_path, "SQLAlchemy")
    with site.server("-s", "2") as server:
        loader = str(server.fork_servers()[0].pid)
        workers = {str(each.pid) for each in server.workers()}
        assert site.lines() == [f"connected {loader}"]
        assert fetch(server.port, "/").text == "42"
        (new,) = {line.split()[1] for line in site.lines()} - {loader}
        assert new in workers


def test_sentry(tmp_path: Path) -> None:
    site = Site(tmp_path, "Sentry")
    with site.server("-s", "1") as server:
        assert fetch(server.port, "/").text == "sent"
        assert site.lines() == []
        assert server.stop() == 0
    assert site.lines() == ["event"]


def test_opentelemetry(tmp_path: Path) -> None:
    site = Site(tmp_path, "OpenTelemetry")
    with site.server("-s", "1") as server:
        worker = server.workers()[0].pid
        assert fetch(server.port, "/").text == str(worker)
        assert server.reload()
        server.wait_for_log(r" worker retired worker=1\.1 ")
        assert site.lines() == [f"span answer {worker}"]


class Agent(BaseHTTPRequestHandler):
    """What ddtrace sends its traces to: `traces` has the bodies, msgpack."""

    traces: ClassVar[list[bytes]] = []

    def do_PUT(self) -> None:
        body = self._body()
        if self.path.endswith("/traces"):
            self.traces.append(body)
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    do_POST = do_GET = do_PUT

    def _body(self) -> bytes:
        if self.headers["Transfer-Encoding"] != "chunked":
            return self.rfile.read(int(self.headers["Content-Length"] or 0))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def log_message(self, *_: object) -> None:
        pass


def test_ddtrace(tmp_path: Path) -> None:
    """What waits to be sent arrives, though a second is what its thread waits for more."""
    site = Site(tmp_path, "ddtrace")
    with ThreadingHTTPServer(("127.0.0.1", 0), Agent) as agent:
        thread = threading.Thread(target=agent.serve_forever)
        thread.start()
        try:
            url = f"http://127.0.0.1:{agent.server_port}"
            quiet = {"DD_INSTRUMENTATION_TELEMETRY_ENABLED": "0", "DD_REMOTE_CONFIGURATION_ENABLED": "0"}
            with site.server(
                "-s", "1", DD_TRACE_AGENT_URL=url, DD_TRACE_WRITER_INTERVAL_SECONDS="1000", **quiet
            ) as server:
                for number in (1, 2):
                    worker = str(server.workers()[-1].pid)
                    assert fetch(server.port, "/").text == worker
                    assert server.reload()
                    server.wait_for_log(rf" worker retired worker={number}\.1 ")
                    assert any(worker.encode() in each for each in Agent.traces), Agent.traces
        finally:
            agent.shutdown()
            thread.join()


def test_grpc(tmp_path: Path) -> None:
    def answered(request: bytes, context: object) -> bytes:
        return request + b" and answered"

    service = grpc.method_handlers_generic_handler(
        "site.Site", {"Answer": grpc.unary_unary_rpc_method_handler(answered)}
    )
    peer = grpc.server(ThreadPoolExecutor(2), handlers=[service])
    target = f"127.0.0.1:{peer.add_insecure_port('127.0.0.1:0')}"
    peer.start()
    try:
        site = Site(tmp_path, "gRPC")
        with site.server("-s", "2", GRPC_TARGET=target) as server:
            for _ in range(2):
                for _ in range(8):
                    assert fetch(server.port, "/").text == "asked and answered"
                assert server.reload()
            assert server.stop() == 0
            assert "given up" not in server.log()
    finally:
        peer.stop(None).wait()


def test_random_generators(tmp_path: Path) -> None:
    site = Site(tmp_path, "Random generators")
    with site.server("-s", "1") as server:
        first = fetch(server.port, "/").text
        os.kill(server.workers()[0].pid, signal.SIGKILL)
        server.wait_for_log(" worker started worker=1.2 ")
        assert fetch(server.port, "/").text != first


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_prometheus_client(tmp_path: Path, how: signal.Signals) -> None:
    site = Site(tmp_path, "prometheus_client")
    (tmp_path / "metrics").mkdir()
    with site.server("-s", "1", PROMETHEUS_MULTIPROC_DIR=str(tmp_path / "metrics")) as server:
        assert "busy 1.0" in fetch(server.port, "/").text
        before = tmp_path / "metrics" / f"gauge_livesum_{server.workers()[0].pid}.db"
        assert before.exists()
        mark = server.mark()
        os.kill(server.workers()[0].pid, how)
        server.wait_for_log(" worker started worker=1.2 ", after=mark)
        until(lambda: not before.exists(), "the file of the worker that has gone is removed")
        assert "busy 1.0" in fetch(server.port, "/").text
