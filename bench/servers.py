"""The table of servers: to add one, add a line.

Placeholders of a command: ``{bin}`` (the directory with the servers' commands), ``{python}``, ``{app}``, ``{port}``,
``{processes}``, ``{threads}``, ``{listen}`` (what the row has for the workload, with ``{socket}``, ``{certificate}``
and ``{key}``) and, in ``log``, ``{file}``. Every server runs with its access log off, a keep-alive of 75 seconds or
more (granian: 60, its most), and a backlog and connection limits that the workloads do not reach.
"""

import re
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bench import apache, nginx
from bench.workloads import Workload


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """One row of the table.

    :param name: what ``--servers`` calls it.
    :param command: how it is started; see the placeholders above.
    :param package: the distribution whose version is shown; it must be installed.
    :param log: what is appended to the command when an access log is wanted; empty when the server writes none.
    :param observed: what is appended when it is to count for a status page and metrics; empty when it has none.
    :param streams: it sends a block of a generator before it asks for the next one, as PEP 3333 demands ("Buffering and
        Streaming"); ``bench/README.md`` shows how to see that.
    :param note: what a reader of the results should know.
    :param listen: its options for each kind of connections (``Workload.over``) that it can be measured with.
    :param only: the beginnings of names of workloads that it is there for; empty: all.
    """

    name: str
    command: str
    package: str
    log: str = ""
    listen: Mapping[str, str] = field(default_factory=lambda: {"tcp": ""})
    only: tuple[str, ...] = ()
    observed: str = ""
    streams: bool = True
    note: str = ""

    def takes_part(self, workload: Workload) -> bool:
        """Whether it is to be measured under a workload."""
        return workload.over in self.listen and (not self.only or workload.name.startswith(self.only))


LIMIT = "limit"
"""The pseudo-server: the application called in a loop in one process."""

_BIND = "-b 127.0.0.1:{port}"
_GUNICORN = (
    "{bin}/gunicorn -w {processes} --threads {threads} {listen} --keep-alive 75"
    " --worker-connections 20000 --http-parser fast --log-level warning"
)
_UWSGI = (
    "{bin}/uwsgi --master --enable-threads --processes {processes} --threads {threads} --listen 2048"
    " --disable-logging --die-on-term --need-app --wsgi {app}"
)
_PREFORK_NOTE = "no command of its own: started by bench/prefork.py"

_COLLECTS = "; collects a generator's blocks and sends them at its end"

_ROWS = (
    Server(name="spawning", package="spawning", log="-l {file}", observed="--status 127.0.0.1:0 --app-metrics",
           command="{bin}/spawn -f wsgi {app} {listen} -s {processes} -t {threads} -l /dev/null",
           listen={"tcp": "--port {port}", "unix": "-b unix:{socket}",
                   "tls": "--port {port} --certfile {certificate} --keyfile {key}"}),
    Server(name="gunicorn", package="gunicorn", log="--access-logfile {file}", note="gthread, fast parser",
           command=_GUNICORN + " -k gthread {app}",
           listen={"tcp": _BIND, "unix": "-b unix:{socket}",
                   "tls": _BIND + " --certfile {certificate} --keyfile {key}"}),
    Server(name="gunicorn-preload", package="gunicorn", log="--access-logfile {file}",
           note="gthread, fast parser, --preload", command=_GUNICORN + " -k gthread --preload {app}",
           listen={"tcp": _BIND}),
    Server(name="gunicorn-gevent", package="gunicorn", log="--access-logfile {file}", note="gevent, fast parser",
           command=_GUNICORN + " -k gevent {app}", listen={"tcp": _BIND}),
    Server(name="granian", package="granian", note="one runtime thread a worker", log="--access-log",
           command="{bin}/granian --interface wsgi {listen} --workers {processes}"
                   " --blocking-threads {threads} --backlog 4096 --backpressure 20000"
                   " --http1-header-read-timeout 60000 --no-ws --log-level warning {app}",
           listen={"tcp": "--host 127.0.0.1 --port {port}", "unix": "--uds {socket}",
                   "tls": "--host 127.0.0.1 --port {port} --ssl-certificate {certificate} --ssl-keyfile {key}"}),
    Server(name="uwsgi", package="uwsgi", note="--http-socket", command=_UWSGI + " --http-socket 127.0.0.1:{port}"),
    Server(name="uwsgi-http", package="uwsgi", note="--http (its router process) with --http-keepalive",
           command=_UWSGI + " --http 127.0.0.1:{port} --http-keepalive=75"),
    Server(name="mod_wsgi", package="apache2", note="daemon mode, event MPM, Debian's Python; conf by bench/apache.py",
           command="{python} -m bench.apache {app} {port} {processes} {threads}", log="--log {file}"),
    Server(name="waitress", package="waitress", note=_PREFORK_NOTE,
           command="{python} -m bench.prefork waitress {app} {port} {processes} {threads}"),
    Server(name="cheroot", package="cheroot", note=_PREFORK_NOTE,
           command="{python} -m bench.prefork cheroot {app} {port} {processes} {threads}"),
    Server(name="bjoern", package="bjoern", note=_PREFORK_NOTE + "; no threads",
           command="{python} -m bench.prefork bjoern {app} {listen} {processes} {threads}",
           listen={"tcp": "{port}", "unix": "unix:{socket}"}),
    Server(name="fastpysgi", package="fastpysgi", streams=False, note=_PREFORK_NOTE + "; no threads" + _COLLECTS,
           command="{python} -m bench.prefork fastpysgi {app} {port} {processes} {threads}"),
    Server(name="freastal", package="freastal", streams=False, note=_PREFORK_NOTE + "; no threads" + _COLLECTS,
           command="{python} -m bench.prefork freastal {app} {port} {processes} {threads}"),
    Server(name="uvicorn", package="uvicorn", note="its adapter for WSGI", only=("n", "p"),
           command="{bin}/uvicorn --interface wsgi --workers {processes} --no-access-log --log-level warning"
                   " --timeout-keep-alive 75 {listen} {app}",
           listen={"tls": "--host 127.0.0.1 --port {port} --ssl-certfile {certificate} --ssl-keyfile {key}"}),
    Server(name="nginx-bjoern", package="nginx", only=("n", "p"), note="nginx speaks TLS, bjoern is behind it",
           command="{python} -m bench.nginx {port} --socket {socket} {listen} --processes {processes} --"
                   " {python} -m bench.prefork bjoern {app} unix:{socket} {processes} {threads}",
           listen={"tls": "--certificate {certificate} --key {key}"}),
    Server(name="nginx", package="nginx", only=("o",), note="no application: it answers itself",
           command="{python} -m bench.nginx {port} {listen} --processes {processes}",
           listen={"tls": "--certificate {certificate} --key {key}"}),
)  # fmt: skip

SERVERS = {row.name: row for row in _ROWS}
C_SERVERS = ("bjoern", "fastpysgi", "freastal")


def versions(python: Path) -> dict[str, str]:
    """Return the version of each server's package in the environment of `python`, and of Django, if it is there."""
    packages = [*sorted({server.package for server in SERVERS.values()} - set(_OUTSIDE)), "django"]
    found = {package: found for package in packages if (found := _distribution(python, package))}
    found |= {package: version for package, find in _OUTSIDE.items() if (version := find())}
    return found


def _distribution(python: Path, package: str) -> str:
    code = "import importlib.metadata, sys; print(importlib.metadata.version(sys.argv[1]))"
    return subprocess.run([python, "-c", code, package], capture_output=True, text=True, check=False).stdout.strip()


def _apache() -> str:
    """Return the version of an Apache that can load mod_wsgi."""
    binary = shutil.which(apache.BINARY)
    if not binary or not apache.module_path(binary, "wsgi").exists():
        return ""
    output = subprocess.run([binary, "-v"], capture_output=True, text=True, check=False).stdout
    found = re.search(r"Apache/(\S+)", output)
    return found[1] if found else ""


def _nginx() -> str:
    if not nginx.binary():
        return ""
    said = subprocess.run([nginx.binary(), "-v"], capture_output=True, text=True, check=False).stderr
    return said.rpartition("/")[2].strip()


_OUTSIDE: dict[str, Callable[[], str]] = {"apache2": _apache, "nginx": _nginx}
