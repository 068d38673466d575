"""nginx and HAProxy in front of a server: configured into a directory, in the foreground, ended by their process id.

Each inherits a listening socket that the kernel has chosen the port of, so there is no port to guess, and no moment to
wait for: what connects before the proxy runs waits in the backlog.
"""

import os
import signal
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from clients.programs import program
from integration.server import DEADLINE


class Proxy:
    """One run of a proxy; subclasses say how it is configured and called.

    :param directory: for its files.
    :param upstream: port of the server behind it, or the path of its Unix socket.
    :param options: lines added to its configuration, where the proxied location is described.
    :param server: options of the server behind it.
    :param front: options of the listening socket.

    :ivar port: where it listens.
    :ivar url: the same, to be asked by HTTP libraries.
    """

    def __init__(
        self, directory: Path, upstream: int | str, options: Sequence[str] = (), server: str = "", front: str = ""
    ) -> None:
        self.directory = directory
        self.upstream = upstream
        self.options = options
        self.server = server
        self.front = front
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port: int = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._log = directory / "log"

    def __enter__(self) -> Self:
        descriptor = self._listener.fileno()
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                self.command(descriptor),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[descriptor],
                env=os.environ | self.environment(descriptor),
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        status = self._process.poll()
        self._process.send_signal(signal.SIGTERM)  # for both: stop at once
        try:
            self._process.wait(DEADLINE)
        finally:
            self._process.kill()
            self._listener.close()
        if error is not None:
            error.add_note(f"log of {self._process.args!r}:\n{self.log()}")
        assert status is None, f"the proxy has ended by itself, status {status}\n{self.log()}"

    def log(self) -> str:
        """Return what the proxy wrote."""
        return self._log.read_text("utf-8", "replace")

    def command(self, descriptor: int) -> list[str]:
        """Write the configuration and give the command line; the listening socket is inherited as `descriptor`."""
        raise NotImplementedError

    def environment(self, descriptor: int) -> dict[str, str]:
        """Return the variables that the proxy needs."""
        return {}


NGINX = """\
daemon off;
worker_processes 1;
error_log stderr;
pid {directory}/pid;
{user}
events {{ worker_connections 512; }}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    client_max_body_size 0;
    keepalive_requests 100000;
    upstream spawning {{
        server {upstream};
        keepalive 16;
        keepalive_requests 100000;
    }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://spawning;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $http_host;
            proxy_next_upstream off;
            {options}
        }}
    }}
}}
"""


class Nginx(Proxy):
    """nginx with kept-alive connections to the server, and without a second attempt for a request that fails."""

    def command(self, descriptor: int) -> list[str]:
        settings = self.directory / "nginx.conf"
        settings.write_text(
            NGINX.format(
                directory=self.directory,
                upstream=f"127.0.0.1:{self.upstream}" if isinstance(self.upstream, int) else f"unix:{self.upstream}",
                port=self.port,
                user="user root;" if os.geteuid() == 0 else "",
                options="\n            ".join(self.options),
            )
        )
        return [program("nginx"), "-p", str(self.directory), "-e", "stderr", "-c", str(settings)]

    def environment(self, descriptor: int) -> dict[str, str]:
        """Name the socket as an nginx does that replaces itself by a newer one."""
        return {"NGINX": f"{descriptor};"}


HAPROXY = """\
global
    maxconn 512
defaults
    mode http
    retries 0
    timeout connect 10s
    timeout client 60s
    timeout server 60s
    option http-keep-alive
    http-reuse always
frontend front
    bind fd@{descriptor} {front}
    default_backend spawning
backend spawning
    {options}
    server only {upstream} {server}
"""


class HAProxy(Proxy):
    """HAProxy with kept-alive connections to the server, and without a second attempt for a request that fails."""

    def command(self, descriptor: int) -> list[str]:
        settings = self.directory / "haproxy.cfg"
        options = "\n    ".join(self.options)
        upstream = f"127.0.0.1:{self.upstream}" if isinstance(self.upstream, int) else self.upstream
        settings.write_text(
            HAPROXY.format(
                descriptor=descriptor, upstream=upstream, options=options, server=self.server, front=self.front
            )
        )
        return [program("haproxy"), "-db", "-f", str(settings)]
