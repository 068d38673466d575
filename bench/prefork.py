"""Run a server that has no command for several processes: import the application, fork, serve.

``python -m bench.prefork SERVER APP PORT PROCESSES THREADS``; bjoern takes ``unix:PATH`` for a port. Each worker binds
the port itself with ``SO_REUSEPORT``, as these servers' documentation suggests. The parent only waits, and ends its
workers when it is told to end.
"""

import contextlib
import importlib
import os
import signal
import socket
import sys
from collections.abc import Callable
from typing import Any

Application = Callable[..., Any]

HOST = "127.0.0.1"
KEEPALIVE_SECONDS = 75
CONNECTIONS = 20_000
BACKLOG = 2048


def _bjoern(app: Application, port: int, threads: int) -> None:
    import bjoern

    bjoern.run(app, HOST, port, reuse_port=True, listen_backlog=BACKLOG)


def _bjoern_on_unix(app: Application, path: str) -> None:
    import bjoern

    bjoern.run(app, path, listen_backlog=BACKLOG)


def _fastpysgi(app: Application, port: int, threads: int) -> None:
    import fastpysgi

    fastpysgi.server.init(app, HOST, port, workers=1)
    fastpysgi.server.run()


def _freastal(app: Application, port: int, threads: int) -> None:
    import freastal

    freastal.serve(app, host=HOST, port=port, workers=1, reuse_port=True)


def _waitress(app: Application, port: int, threads: int) -> None:
    import waitress

    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    listener.bind((HOST, port))
    waitress.serve(
        app,
        sockets=[listener],
        threads=threads,
        backlog=BACKLOG,
        connection_limit=CONNECTIONS,
        channel_timeout=2 * KEEPALIVE_SECONDS,
        asyncore_use_poll=True,
        _quiet=True,
    )


def _cheroot(app: Application, port: int, threads: int) -> None:
    from cheroot.wsgi import Server

    server = Server(
        (HOST, port),
        app,
        numthreads=threads,
        request_queue_size=BACKLOG,
        timeout=KEEPALIVE_SECONDS,
        reuse_port=True,
    )
    server.keep_alive_conn_limit = CONNECTIONS
    server.safe_start()


SERVERS: dict[str, Callable[[Application, int, int], None]] = {
    "bjoern": _bjoern,
    "fastpysgi": _fastpysgi,
    "freastal": _freastal,
    "waitress": _waitress,
    "cheroot": _cheroot,
}


def _fork(serve: Callable[[], None], processes: int) -> list[int]:
    workers = []
    for _ in range(processes):
        pid = os.fork()
        if pid == 0:
            serve()
            os._exit(0)
        workers.append(pid)
    return workers


def main() -> None:
    """Serve until SIGTERM; a worker that ends by itself ends everything."""
    name, target, port, processes, threads = sys.argv[1:]
    module, _, attribute = target.partition(":")
    app = getattr(importlib.import_module(module), attribute)

    def serve() -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        if port.startswith("unix:"):
            _bjoern_on_unix(app, port)
        SERVERS[name](app, int(port), int(threads))

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    workers = _fork(serve, int(processes))
    try:
        _, status = os.wait()
        sys.exit(f"a worker of {name} ended with status {os.waitstatus_to_exitcode(status)} (negative: a signal)")
    finally:
        for pid in workers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    main()
