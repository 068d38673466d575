"""Run nginx in front of a server, or alone: write a configuration, start nginx and, if there is one, the command.

``python -m bench.nginx PORT [--socket PATH] [--certificate FILE --key FILE] [-- COMMAND]``. With a socket it passes
requests on to it and keeps its connections; without one it answers them itself. With a certificate it speaks TLS.
nginx is Debian's (``nginx-light``).
"""

import argparse
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from bench.apps import GREETING

_CONFIGURATION = """\
daemon off;
{user}
worker_processes {processes};
worker_rlimit_nofile 30000;
pid {state}/pid;
error_log stderr crit;
events {{ worker_connections 12000; }}
http {{
    access_log off;
    default_type text/plain;
    keepalive_timeout 75;
    keepalive_requests 1000000000;
    client_body_temp_path {state}/body;
    proxy_temp_path {state}/proxy;
    fastcgi_temp_path {state}/fastcgi;
    uwsgi_temp_path {state}/uwsgi;
    scgi_temp_path {state}/scgi;
    upstream application {{
        server unix:{socket};
        keepalive 64;
        keepalive_requests 1000000000;
    }}
    server {{
        listen 127.0.0.1:{port}{secure} backlog=2048;
        {certificate}
        location / {{ {answer} }}
    }}
}}
"""
_PASS_ON = 'proxy_pass http://application; proxy_http_version 1.1; proxy_set_header Connection "";'


def binary() -> str:
    """Return the path of nginx, which is not on every user's PATH; empty if it is not there."""
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/local/sbin:/usr/sbin:/sbin") or ""


def configuration(state: Path, options: argparse.Namespace) -> str:
    """Write the configuration as text.

    :param state: the directory for its files.
    :param options: the command line.
    """
    certificate = f"ssl_certificate {options.certificate}; ssl_certificate_key {options.key};"
    more = "ssl_protocols TLSv1.2 TLSv1.3; ssl_session_cache off;"  # tickets it has in any case
    return _CONFIGURATION.format(
        state=state,
        user="user root;" if os.geteuid() == 0 else "",
        processes=options.processes,
        port=options.port,
        socket=options.socket or f"{state}/nobody",
        secure=" ssl" if options.certificate else "",
        certificate=f"{certificate} {more}" if options.certificate else "",
        answer=_PASS_ON if options.socket else f'return 200 "{GREETING.decode().encode("unicode_escape").decode()}";',
    )


@contextlib.contextmanager
def in_front(socket: Path, port: int, log: Path) -> Iterator[None]:
    """Have it pass requests on, from a port to a Unix socket, for the time of the block."""
    command = [sys.executable, "-m", "bench.nginx", str(port), "--socket", str(socket)]
    with log.open("wb") as output, subprocess.Popen(command, stdout=output, stderr=output) as process:
        try:
            yield
        finally:
            process.terminate()


def main() -> None:
    """Run until SIGTERM, or until one of the processes ends."""
    parser = argparse.ArgumentParser(prog="python -m bench.nginx")
    parser.add_argument("port", type=int)
    parser.add_argument("--socket", default="", help="what is behind it")
    parser.add_argument("--certificate", default="", help="PEM")
    parser.add_argument("--key", default="", help="PEM")
    parser.add_argument("--processes", type=int, default=1)
    at = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
    options, command = parser.parse_args(sys.argv[1:at]), sys.argv[at + 1 :]
    if not binary():
        sys.exit("bench: there is no nginx: apt-get install nginx-light")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with tempfile.TemporaryDirectory(prefix="nginx-") as state:
        path = Path(state, "nginx.conf")
        path.write_text(configuration(Path(state), options))
        started = [subprocess.Popen(each) for each in ([binary(), "-c", str(path)], command) if each]
        try:
            pid, status = os.wait()
            sys.exit(f"bench: process {pid} ended with status {os.waitstatus_to_exitcode(status)}")
        finally:
            for process in started:
                process.terminate()
            for process in started:
                process.wait()


if __name__ == "__main__":
    main()
