"""The servers of ``waiting``, and what they serve: to add one, add a row.

Each runs as one worker process, without an access log. Placeholders of a command: ``{bin}``, ``{port}``,
``{directory}``, and ``{most}``, how many requests there may be at a time.
"""

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from bench import tree
from bench.launch import free_port, stop, wait_for_rest

WSGI = """\
import threading, time

happened = threading.Event()

def stream(start_response):
    start_response("200 OK", [("Content-Type", "text/event-stream")])
    yield b"data: begun\\n\\n"
    happened.wait()
    yield b"data: ended\\n\\n"

def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/stream":
        return stream(start_response)
    if path == "/poll":
        happened.wait()
    elif path == "/wait":
        time.sleep(0.1)
    elif path == "/happen":
        happened.set()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "2")])
    return [b"ok"]
"""
ASGI = """\
import asyncio

from starlette.applications import Starlette
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route

happened = asyncio.Event()

async def events():
    yield b"data: begun\\n\\n"
    await happened.wait()
    yield b"data: ended\\n\\n"

async def stream(request):
    return StreamingResponse(events(), media_type="text/event-stream")

async def poll(request):
    await happened.wait()
    return PlainTextResponse("ok")

async def wait(request):
    await asyncio.sleep(0.1)
    return PlainTextResponse("ok")

async def happen(request):
    happened.set()
    return PlainTextResponse("ok")

async def hello(request):
    return PlainTextResponse("ok")

paths = {"/stream": stream, "/poll": poll, "/wait": wait, "/happen": happen, "/hello": hello}
application = Starlette(routes=[Route(path, function) for path, function in paths.items()])
"""
_START_SECONDS = 30.0
_SPAWN = "{bin}/spawn -p {port} -s 1 -l /dev/null --control-socket {directory}/control"


@dataclass(frozen=True, slots=True)
class Row:
    """A server.

    :param command: how it is started; see the module.
    :param application: what it serves, as the text of a module.
    :param most: requests that it is asked to have open at a time, at most.
    """

    command: str
    application: str = WSGI
    most: int = sys.maxsize


ROWS = {
    "spawning -t 0": Row(_SPAWN + " -t 0 --max-green {most} waiting_app:application"),
    "spawning threads": Row(_SPAWN + " -t {most} waiting_app:application", most=1000),
    "gunicorn gevent": Row(
        "{bin}/gunicorn -w 1 -k gevent -b 127.0.0.1:{port} --worker-connections {most} --keep-alive 75"
        " --log-level warning waiting_app:application"
    ),
    "uvicorn starlette": Row(
        "{bin}/uvicorn --host 127.0.0.1 --port {port} --timeout-keep-alive 75 --no-access-log --log-level warning"
        " waiting_app:application",
        ASGI,
    ),
}


class Server:
    """One that serves.

    :ivar port: where.
    """

    def __init__(self, port: int, pid: int) -> None:
        self.port = port
        self._pid = pid

    def memory(self) -> int:
        """Return the bytes that all of its processes need (pages that they share count once)."""
        return tree.pss_bytes(self._pid)

    def seconds(self) -> float:
        """Return the processor time of all its processes."""
        return tree.cpu_seconds(self._pid)

    def rest(self) -> None:
        """Wait until it does nothing for half a second."""
        used = -1.0
        while used != (used := self.seconds()):
            time.sleep(0.5)


@contextlib.contextmanager
def serving(row: Row, commands: Path, directory: Path, most: int) -> Iterator[Server]:
    """Run a server for the time of the block.

    :param commands: the directory that has its command.
    :param directory: where it is to run, and its application to be.
    :param most: requests that there may be at a time.
    :raises SystemExit: it does not answer.
    """
    (directory / "waiting_app.py").write_text(row.application)
    port = free_port()
    command = row.command.format(bin=commands, port=port, directory=directory, most=most).split()
    with (directory / "log").open("wb") as output:
        process = subprocess.Popen(command, cwd=directory, stdout=output, stderr=output, start_new_session=True)
        try:
            _wait_for_answer(process, port, directory / "log")
            wait_for_rest(process.pid)
            yield Server(port, process.pid)
        finally:
            stop(process)


def _wait_for_answer(process: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while True:
        connection = HTTPConnection("127.0.0.1", port, timeout=10)
        with contextlib.closing(connection), contextlib.suppress(OSError, HTTPException):
            connection.request("GET", "/hello")
            if connection.getresponse().read() == b"ok":
                return
        if process.poll() is not None or time.monotonic() > deadline:
            raise SystemExit(f"the server does not answer: {log.read_text()[-500:]}")
        time.sleep(0.05)
