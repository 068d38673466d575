"""Requests that wait, by the thousand, in one process: how long, how much memory, how much processor time.

    python3 -m bench.waiting --python .venv/bin/python [--requests 10000] [-- OPTIONS OF SPAWN]

One worker of ``-t 0``. Three measurements, each with a fresh server:

* *polls*: so many requests wait for one event; from the event to the last of the answers;
* *streams*: so many responses have begun, and wait to go on; memory a response beside that of an idle connection;
* *waits*: requests that take 100 ms, so many a second for a while; processor time and latency.

The client is one process as well, and shares the machine with the server. ``ulimit -Hn`` must allow that many
descriptors, and some.
"""

import argparse
import resource
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

APPLICATION = """\
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
_BATCH = 250  # connections at a time, which fit into any backlog
_TICKS = 100  # of the kernel's clock for processor time, a second


class Server:
    """The command, one worker of which serves.

    :ivar port: where.
    """

    def __init__(self, python: str, directory: Path, options: Sequence[str]) -> None:
        (directory / "waiting_app.py").write_text(APPLICATION)
        command = [python, "-m", "spawning", "-p", "0", "-s", "1", "-l", "/dev/null", "--control-socket"]
        command += [str(directory / "control"), *options, "waiting_app:application"]
        self._process = subprocess.Popen(command, cwd=directory, stderr=subprocess.PIPE, text=True)
        assert self._process.stderr is not None
        self._worker = 0
        for line in self._process.stderr:
            if " worker started " in line:
                self._worker = int(line.rpartition("pid=")[2])
            if " ready url=" in line:
                self.port = int(line.partition("127.0.0.1:")[2].split()[0])
                return
        raise SystemExit("the server does not start")

    def memory(self) -> int:
        """Return the bytes that the worker alone needs (private pages)."""
        text = Path(f"/proc/{self._worker}/smaps_rollup").read_text()
        return sum(int(line.split()[1]) << 10 for line in text.splitlines() if line.startswith("Private_"))

    def seconds(self) -> float:
        """Return the processor time of the worker."""
        fields = Path(f"/proc/{self._worker}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    def stop(self) -> None:
        """End it, whatever is under way."""
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()
        with open(f"/proc/{self._worker}/cmdline", "rb") as file:
            ours = b"waiting_app" in file.read()
        if ours:
            import os

            os.kill(self._worker, signal.SIGKILL)


@contextmanager
def serving(python: str, options: Sequence[str]) -> Iterator[Server]:
    with tempfile.TemporaryDirectory() as directory:
        server = Server(python, Path(directory), options)
        try:
            yield server
        finally:
            server.stop()


def connect(port: int, count: int) -> list[socket.socket]:
    """Open connections."""
    clients = []
    for _ in range(count):
        clients.append(socket.create_connection(("127.0.0.1", port)))
        if len(clients) % _BATCH == 0:
            time.sleep(0.02)
    return clients


def ask(client: socket.socket, path: str) -> None:
    client.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())


def answers(clients: list[socket.socket], end: bytes, seconds: float) -> int:
    """Read until each has received something that ends like this; return how many have."""
    poll = select.epoll()
    by_fd = {client.fileno(): client for client in clients}
    seen: dict[int, bytes] = dict.fromkeys(by_fd, b"")
    for fd in by_fd:
        poll.register(fd, select.EPOLLIN)
    left, closed = len(clients), 0
    deadline = time.monotonic() + seconds
    while left and time.monotonic() < deadline:
        for fd, _ in poll.poll(0.1):
            data = by_fd[fd].recv(65536)
            seen[fd] += data
            if not data or seen[fd].endswith(end):
                poll.unregister(fd)
                left -= bool(data)
                closed += not data
    poll.close()
    if left:
        print(f"{closed} of them closed, {left - closed} not answered", file=sys.stderr)
    return len(clients) - left


def polls(server: Server, count: int) -> None:
    clients = connect(server.port, count)
    idle = server.memory()
    for client in clients:
        ask(client, "/poll")
    _rest(server)
    waiting = server.memory()
    (last,) = connect(server.port, 1)
    began, used = time.monotonic(), server.seconds()
    ask(last, "/happen")
    answered = answers(clients, b"ok", 60)
    seconds = time.monotonic() - began
    print(
        f"polls: {answered} of {count} answered within {seconds:.2f} s of the event, {server.seconds() - used:.2f} s of"
        f" processor time; {(waiting - idle) / count / 1024:.1f} KiB each, beside the idle connection"
    )


def streams(server: Server, count: int) -> None:
    empty = server.memory()
    clients = connect(server.port, count)
    _rest(server)
    idle = server.memory()
    for client in clients:
        ask(client, "/stream")
    begun = answers(clients, b"begun\n\n\r\n", 60)
    _rest(server)
    open_ = server.memory()
    print(
        f"streams: {begun} of {count} open; {(open_ - empty) / count / 1024:.1f} KiB each, of which"
        f" {(idle - empty) / count / 1024:.1f} KiB the idle connection"
    )


def waits(server: Server, rate: int, seconds: float) -> None:
    """Send requests at a rate, on connections of their own that are kept."""
    clients = connect(server.port, max(1, rate // 4))
    idle = list(clients)
    sent: dict[int, float] = {}
    times: list[float] = []
    poll = select.epoll()
    by_fd = {client.fileno(): client for client in clients}
    for fd in by_fd:
        poll.register(fd, select.EPOLLIN)
    began, used, number = time.monotonic(), server.seconds(), 0
    while (now := time.monotonic()) < began + seconds or sent:
        while idle and now < began + seconds and number < (now - began) * rate:
            client = idle.pop()
            sent[client.fileno()] = began + number / rate  # when it should have been
            number += 1
            ask(client, "/wait")
        for fd, _ in poll.poll(0.0005):
            by_fd[fd].recv(65536)
            times.append(time.monotonic() - sent.pop(fd))
            idle.append(by_fd[fd])
    took = time.monotonic() - began
    times.sort()
    print(
        f"waits: {number / took:.0f} requests/s of 100 ms for {took:.1f} s;"
        f" {1e6 * (server.seconds() - used) / number:.0f} µs of processor time each,"
        f" p50 {1000 * times[len(times) // 2]:.0f} ms, p99 {1000 * times[len(times) * 99 // 100]:.0f} ms"
    )


def _rest(server: Server) -> None:
    """Wait until the worker does nothing for half a second."""
    used = -1.0
    while used != (used := server.seconds()):
        time.sleep(0.5)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", default=sys.executable, help="interpreter with Spawning and gevent")
    parser.add_argument("--requests", type=int, default=10000)
    parser.add_argument("--rate", type=int, default=2000)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("options", nargs="*", help="of spawn; by default -t 0 and enough --max-green")
    given = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    options = given.options or ["-t", "0", "--max-green", str(given.requests + 1)]  # and one that has it happen
    with serving(given.python, options) as server:
        polls(server, given.requests)
    with serving(given.python, options) as server:
        streams(server, given.requests)
    with serving(given.python, options) as server:
        waits(server, given.rate, given.seconds)


if __name__ == "__main__":
    main()
