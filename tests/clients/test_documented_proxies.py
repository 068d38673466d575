"""The configurations of docs/proxies.md, as they stand there, in front of a server that trusts them."""

import http.client
import json
import re
import socket
from pathlib import Path
from typing import Any

import pytest

from clients.programs import program
from clients.proxies import NGINX, HAProxy, Nginx, Proxy
from integration.server import RUNTIME, Server, until

PAGE = Path(__file__).parents[2] / "docs" / "proxies.md"
CLIENT = "127.0.0.2"  # another address than the proxy's, which is 127.0.0.1

FORGED = {
    "X-Forwarded-For": "203.0.113.66",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Host": "evil.example",
    "X-Forwarded-Port": "666",
    "X-Forwarded-Prefix": "/evil",
    "Forwarded": "for=203.0.113.66;proto=https;host=evil.example",
    "X-Request-ID": "forged",
}


def example(language: str, old_listener: str, new_listener: str, upstream: int | str) -> str:
    """Take an example from the page; only where it listens and where the server is are replaced."""
    match = re.search(rf"^```{language}\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert match is not None
    text = match[1]
    assert text.count(old_listener) == text.count("127.0.0.1:8080") == 1
    return text.replace(old_listener, new_listener).replace("127.0.0.1:8080", f"127.0.0.1:{upstream}")


class DocumentedNginx(Nginx):
    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def command(self, descriptor: int) -> list[str]:
        command = super().command(descriptor)
        before = NGINX.partition("    upstream ")[0].format(directory=self.directory, user="user root;")
        site = example("nginx", "listen 80;", f"listen {self.address};", self.upstream)
        (self.directory / "nginx.conf").write_text(f"{before}{site}}}\n")
        return command


class UnixNginx(DocumentedNginx):
    """The same, asked through a Unix socket, which it makes itself."""

    @property
    def path(self) -> Path:
        return Path(RUNTIME.name) / f"nginx-{self.port}"  # in a directory whose name is short enough

    @property
    def address(self) -> str:
        return f"unix:{self.path}"

    def environment(self, descriptor: int) -> dict[str, str]:
        return {}


class DocumentedHAProxy(HAProxy):
    def command(self, descriptor: int) -> list[str]:
        times = "defaults\n    timeout connect 10s\n    timeout client 60s\n    timeout server 60s\n"
        settings = self.directory / "haproxy.cfg"
        settings.write_text(times + example("haproxy", "bind :80\n", f"bind fd@{descriptor}\n", self.upstream))
        return [program("haproxy"), "-db", "-f", str(settings)]


def seen(proxy: Proxy, fields: dict[str, str]) -> dict[str, Any]:
    """Ask through the proxy, from the client's address."""
    connection = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=30, source_address=(CLIENT, 0))
    return asked(connection, fields)


def asked(connection: http.client.HTTPConnection, fields: dict[str, str]) -> dict[str, Any]:
    connection.request("GET", "/a", headers={"Host": "www.example.com:81", **fields})
    response = connection.getresponse()
    body = response.read()
    connection.close()
    assert response.status == 200, body
    found: dict[str, Any] = json.loads(body)
    return found


@pytest.mark.parametrize("kind", [DocumentedNginx, DocumentedHAProxy])
def test_a_client_cannot_forge_what_the_proxy_says(kind: type[Proxy], tmp_path: Path) -> None:
    options = ("-s", "1", "--forwarded-allow-ips", "127.0.0.1", "--request-id-header", "X-Request-ID")
    with Server("pep3333.application", *options) as server, kind(tmp_path, server.port) as proxy:
        for fields in ({}, FORGED):
            found = seen(proxy, fields)
            assert (found["REMOTE_ADDR"], found["wsgi.url_scheme"], found["SCRIPT_NAME"]) == (CLIENT, "http", "")
            assert (found["HTTP_HOST"], found["SERVER_PORT"]) == ("www.example.com:81", "81")
            assert len(found["REQUEST_ID"]) >= 32  # neither the client's nor the server's own
        server.out.find(rf'^{re.escape(CLIENT)} - - .*"GET /a HTTP/1\.1" 200 .* {found["REQUEST_ID"]}$', 30)


def test_nginx_on_a_unix_socket_names_no_client(tmp_path: Path) -> None:
    """Its ``$remote_addr`` is ``unix:`` then, in each request."""
    options = ("-s", "1", "--forwarded-allow-ips", "127.0.0.1", "--request-id-header", "X-Request-ID")
    with Server("pep3333.application", *options) as server, UnixNginx(tmp_path, server.port) as proxy:
        until(proxy.path.is_socket, "nginx listens")
        connection = http.client.HTTPConnection("localhost", timeout=30)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.connect(str(proxy.path))
        found = asked(connection, FORGED)
        assert (found["HTTP_X_FORWARDED_FOR"], found["REMOTE_ADDR"]) == ("unix:", "")
        assert (found["wsgi.url_scheme"], found["HTTP_HOST"]) == ("http", "www.example.com:81")
        server.out.find(r'^- - - .*"GET /a HTTP/1\.1" 200 ', 30)
