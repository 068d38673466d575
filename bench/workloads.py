"""The table of workloads: what is served, on how many processes and threads, and what is asked of it.

A workload's letter is that of the performance targets. ``1 × 1`` means one process with one request thread.
"""

from dataclasses import dataclass

HELLO = "bench.apps:hello"
SITE = "wsgi:application"
"""The example site, served from its own directory."""

GREETING_BYTES = 14
LARGE_BYTES = 2**20
UPLOAD_BYTES = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """One row of the table.

    :param name: what ``--workloads`` calls it.
    :param title: one line for the report.
    :param app: ``module:attribute`` of the WSGI application.
    :param path: request target.
    :param processes: workers of the server.
    :param threads: most request threads a worker; servers without threads ignore it.
    :param over: what is between server and load: ``tcp``; ``tls``; or ``unix``, a Unix socket with nginx before it,
        whose processor time does not count.
    :param tool: ``wrk`` (keep-alive, for ``--seconds``), ``ab`` (a connection per request, for ``requests``), or
        ``s_time`` of ``openssl``: one connection after the other, with a handshake and a request each.
    :param resumed: ``s_time`` goes on with its first session.
    :param connections: concurrent connections of the tool.
    :param requests: how many ``ab`` makes.
    :param script: which file of ``lua/`` makes wrk's requests.
    :param depth: how many requests a client sends before it waits for the responses.
    :param upload: bytes of a POST body; 0 is a GET.
    :param size: bytes of the response's body, checked before the load; None does not check.
    :param idle: connections which have made one request and are kept open beside the load.
    :param log: the server writes its access log to a file.
    :param observed: the server counts, for a status page and metrics.
    :param limit: whether calling the application in a loop is a meaningful lower bound.
    """

    name: str
    title: str
    app: str = HELLO
    path: str = "/"
    processes: int = 1
    threads: int = 1
    over: str = "tcp"
    tool: str = "wrk"
    resumed: bool = False
    connections: int = 20
    requests: int = 10_000
    script: str = "plain"
    depth: int = 1
    upload: int = 0
    size: int | None = GREETING_BYTES
    idle: int = 0
    log: bool = False
    observed: bool = False
    limit: bool = True


def _site(name: str, title: str, path: str, tool: str = "wrk", requests: int = 3000) -> Workload:
    return Workload(
        name=name, title=title, app=SITE, path=path, processes=4, threads=100, tool=tool, requests=requests, size=None
    )


def _blocking(name: str, title: str, app: str, threads: int) -> Workload:
    return Workload(name=name, title=title, app=f"bench.apps:{app}", threads=threads, connections=200, limit=False)


def _large(name: str, title: str, app: str, **more: int | str) -> Workload:
    return Workload(name=name, title=title, app=f"bench.apps:{app}", threads=8, limit=False, **more)  # type: ignore[arg-type]


_ROWS = (
    Workload(name="a", title="hello, ab, a connection per request, 4 × 100", processes=4, threads=100, tool="ab"),
    Workload(name="b1", title="hello, keep-alive, 1 × 1"),
    Workload(name="b100", title="hello, keep-alive, 1 × 100", threads=100),
    Workload(name="b4", title="hello, keep-alive, 4 × 100", processes=4, threads=100),
    Workload(name="c1", title="hello, a browser's headers, keep-alive, 1 × 1", script="browser"),
    Workload(
        name="c4", title="hello, a browser's headers, keep-alive, 4 × 100", processes=4, threads=100, script="browser"
    ),
    _site("d-light", "Django, a view without query and template, keep-alive, 4 × 100", "/hello/"),
    _site("d-light-ab", "Django, a view without query and template, ab, 4 × 100", "/hello/", "ab", 5000),
    _site("d-list", "Django, list view with query and template, keep-alive, 4 × 100", "/"),
    _site("d-list-ab", "Django, list view with query and template, ab, 4 × 100", "/", "ab"),
    _blocking("e10-8", "10 ms sleep, 200 connections, 1 × 8", "sleep_10ms", 8),
    _blocking("e10-100", "10 ms sleep, 200 connections, 1 × 100", "sleep_10ms", 100),
    _blocking("e03-8", "0.3 ms sleep, 200 connections, 1 × 8", "sleep_300us", 8),
    _blocking("e03-100", "0.3 ms sleep, 200 connections, 1 × 100", "sleep_300us", 100),
    Workload(
        name="f", title="one request in ten sleeps 50 ms, p50 and p99 of the instant ones, 1 × 100",
        app="bench.apps:mixed", threads=100, script="mixed", limit=False,
    ),
    Workload(
        name="g", title="0.3 ms of computing, 200 connections, 1 × 100",
        app="bench.apps:cpu_300us", threads=100, connections=200,
    ),
    _large("h-upload", "100 KB uploads, 1 × 8", "upload", upload=UPLOAD_BYTES, size=len(f"{UPLOAD_BYTES}\n")),
    _large("h-memory", "1 MB responses from memory, 1 × 8", "from_memory", size=LARGE_BYTES),
    _large("h-generator", "1 MB responses from a generator, 1 × 8", "from_generator", size=LARGE_BYTES),
    _large("h-file", "1 MB responses from a file, 1 × 8", "from_file", size=LARGE_BYTES),
    Workload(name="i1", title="b1 beside 10,000 idle connections", idle=10_000, limit=False),
    Workload(
        name="i4", title="b4 beside 10,000 idle connections", processes=4, threads=100, idle=10_000, limit=False
    ),
    _site("j", "memory of 4 workers with the Django site, start-up time (list view, ab, 4 × 100)", "/", "ab", 2000),
    Workload(name="k", title="hello, pipelined 16 deep, 1 × 1", script="pipeline", depth=16, limit=False),
    Workload(name="l", title="b1 with an access log to a file", log=True, limit=False),
    Workload(name="m", title="hello over a Unix socket, behind nginx, keep-alive, 1 × 1", over="unix", limit=False),
    Workload(name="n", title="hello over TLS, keep-alive, 1 × 1", over="tls", limit=False),
    Workload(
        name="o-full", title="TLS handshakes, each with a request, full, 1 × 1", over="tls", tool="s_time", limit=False
    ),
    Workload(
        name="o-resumed", title="TLS handshakes, each with a request, sessions go on, 1 × 1", over="tls", tool="s_time",
        resumed=True, limit=False,
    ),
    _large("p-memory", "1 MB responses from memory over TLS, 1 × 8", "from_memory", size=LARGE_BYTES, over="tls"),
    _large("p-file", "1 MB responses from a file over TLS, 1 × 8", "from_file", size=LARGE_BYTES, over="tls"),
    Workload(name="q", title="b1 with status page, metrics and the application's metrics", observed=True, limit=False),
    Workload(name="q-log", title="q with an access log to a file: everything on", log=True, observed=True, limit=False),
)  # fmt: skip

WORKLOADS = {row.name: row for row in _ROWS}
