"""Requests that wait, by the thousand, in one process: how long, how much memory, how much processor time.

    bench/.venv/bin/python -m bench.waiting [--servers "spawning -t 0,uvicorn starlette"] [--requests 10000]

One worker of each server of ``waiting_servers``. Four measurements, each with a fresh server:

* *poll*: so many requests wait for one event; from the event to the last of the answers; memory of one;
* *stream*: so many responses have begun, and wait to go on; memory of one;
* *wait*: requests that take 100 ms, so many a second for a while; processor time and latency;
* *hello*: requests that do not wait, one behind the other on 64 connections; processor time.

Memory includes the connection. The client is one process as well, and shares the machine with the server. ``ulimit
-Hn`` must allow that many descriptors, and some.
"""

import argparse
import resource
import select
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.waiting_servers import ROWS, Server, serving

_BATCH = 250  # connections at a time, which fit into any backlog
_HELLO_CLIENTS = 64

# Of a row of the result, in this order; and how each is shown.
_COLUMNS = {
    "open": "{:d}",
    "poll KiB": "{:.1f}",
    "stream KiB": "{:.1f}",
    "event to last answer s": "{:.2f}",
    "waits/s": "{:.0f}",
    "wait µs CPU": "{:.0f}",
    "p50 ms": "{:.0f}",
    "p99 ms": "{:.0f}",
    "hello µs CPU": "{:.0f}",
}


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


def polls(server: Server, count: int) -> dict[str, float]:
    empty = server.memory()
    clients = connect(server.port, count)
    for client in clients:
        ask(client, "/poll")
    server.rest()
    waiting = server.memory()
    (last,) = connect(server.port, 1)
    began = time.monotonic()
    ask(last, "/happen")
    answered = answers(clients, b"ok", 60)
    seconds = time.monotonic() - began
    return {"open": answered, "poll KiB": (waiting - empty) / count / 1024, "event to last answer s": seconds}


def streams(server: Server, count: int) -> dict[str, float]:
    empty = server.memory()
    clients = connect(server.port, count)
    for client in clients:
        ask(client, "/stream")
    answers(clients, b"begun\n\n\r\n", 60)
    server.rest()
    return {"stream KiB": (server.memory() - empty) / count / 1024}


def waits(server: Server, rate: int, seconds: float) -> dict[str, float]:
    """Send requests at a rate, on connections of their own that are kept."""
    number, used, times = _drive(server, "/wait", max(1, rate // 4), rate, seconds)
    return {
        "waits/s": number / seconds,
        "wait µs CPU": 1e6 * used / number,
        "p50 ms": 1000 * times[len(times) // 2],
        "p99 ms": 1000 * times[len(times) * 99 // 100],
    }


def hello(server: Server, seconds: float) -> dict[str, float]:
    """Send requests as fast as they are answered, behind some that count for nothing."""
    _drive(server, "/hello", _HELLO_CLIENTS, sys.maxsize, 1)
    number, used, _ = _drive(server, "/hello", _HELLO_CLIENTS, sys.maxsize, seconds)
    return {"hello µs CPU": 1e6 * used / number}


def _drive(server: Server, path: str, count: int, rate: int, seconds: float) -> tuple[int, float, list[float]]:
    """Send requests at a rate, as far as there are idle connections.

    :returns: how many, processor time of the server, seconds of each from when it should have been sent, sorted.
    """
    clients = connect(server.port, count)
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
            sent[client.fileno()] = began + number / rate
            number += 1
            ask(client, path)
        for fd, _ in poll.poll(0.0005):
            if not by_fd[fd].recv(65536).endswith(b"ok"):
                continue  # the head alone
            times.append(time.monotonic() - sent.pop(fd))
            idle.append(by_fd[fd])
    poll.close()
    for client in clients:
        client.close()
    return number, server.seconds() - used, sorted(times)


def measure(name: str, commands: Path, requests: int, rate: int, seconds: float) -> dict[str, float]:
    """Measure one server, by its name in ``ROWS``."""
    row = ROWS[name]
    requests = min(requests, row.most)
    measurements: list[tuple[Callable[..., dict[str, float]], list[Any]]] = [
        (polls, [requests]),
        (streams, [requests]),
        (waits, [rate, seconds]),
        (hello, [seconds]),
    ]
    found: dict[str, float] = {}
    for function, arguments in measurements:
        with (
            tempfile.TemporaryDirectory() as directory,
            serving(row, commands, Path(directory), requests + 1) as server,  # and one that has it happen
        ):
            found |= function(server, *arguments)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--commands", type=Path, default=Path(sys.executable).parent, help="where the servers are")
    parser.add_argument("--servers", default=",".join(ROWS), help="some of: %(default)s")
    parser.add_argument("--requests", type=int, default=10000)
    parser.add_argument("--rate", type=int, default=2000)
    parser.add_argument("--seconds", type=float, default=10)
    given = parser.parse_args()
    names = given.servers.split(",")
    if unknown := set(names) - set(ROWS):
        parser.error(f"--servers: {', '.join(sorted(unknown))} is none of {', '.join(ROWS)}")
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    print(f"| server | {' | '.join(_COLUMNS)} |\n|{'---|' * (len(_COLUMNS) + 1)}")
    for name in names:
        found = measure(name, given.commands.absolute(), given.requests, given.rate, given.seconds)
        print(f"| {name} | {' | '.join(form.format(found[each]) for each, form in _COLUMNS.items())} |", flush=True)


if __name__ == "__main__":
    main()
