"""nginx and HAProxy in front of a Unix socket, and what HAProxy announces with the PROXY protocol."""

import contextlib
import http.client
import json
import ssl
from pathlib import Path
from typing import Any

import httpx
import pytest

from clients import programs
from clients.proxies import HAProxy, Nginx, Proxy
from integration.client import fetch
from integration.load import Load, steps_back
from integration.server import Server
from integration.sites import write

CLIENT = "127.0.0.2"  # another address than the proxy's, which is 127.0.0.1

each_proxy = pytest.mark.parametrize("kind", [Nginx, HAProxy])


def seen(proxy: Proxy, context: ssl.SSLContext | None = None, **fields: str) -> dict[str, Any]:
    """Ask through the proxy, from the client's address."""
    kind = http.client.HTTPSConnection if context else http.client.HTTPConnection
    more: dict[str, Any] = {"context": context} if context else {}
    connection = kind("127.0.0.1", proxy.port, timeout=30, source_address=(CLIENT, 0), **more)
    with contextlib.closing(connection):
        connection.request("GET", "/environ", headers=fields)
        found: dict[str, Any] = json.loads(connection.getresponse().read())
        return found


@each_proxy
def test_a_proxy_keeps_its_connections_to_a_unix_socket(directory: Path, tmp_path: Path, kind: type[Proxy]) -> None:
    with (
        Server("basics.application", "-s", "1", "-l", "/dev/null", bind=f"unix:{directory}/s") as server,
        kind(tmp_path, server.where) as proxy,
        httpx.Client() as client,
    ):
        assert client.get(f"{proxy.url}/stream").text == "".join(f"part {number}\n" for number in range(10))
        assert client.post(f"{proxy.url}/echo", content=b"x" * 3_000_000).content == b"x" * 3_000_000
        assert len(client.get(f"{proxy.url}/repeat?bytes=20000000").content) == 20_000_000
        with pytest.raises(httpx.RemoteProtocolError):
            client.get(f"{proxy.url}/raise-late")


@each_proxy
def test_reloads_behind_a_proxy_on_a_unix_socket_cost_nobody_a_request(
    directory: Path, tmp_path: Path, kind: type[Proxy]
) -> None:
    write(tmp_path, "1")
    options = ("-s", "2", "-t", "4", "-l", "/dev/null")
    with (
        Server("site_app:application", *options, cwd=tmp_path, bind=f"unix:{directory}/s") as server,
        kind(tmp_path, server.where) as proxy,
        Load(proxy.port, fresh=2, kept=4) as load,
    ):
        for version in ("2", "3"):
            write(tmp_path, version)
            assert server.reload()
            load.wait_for(int(version))
    assert load.failures == []
    assert steps_back(load.answers) == []


@each_proxy
def test_what_a_proxy_on_a_unix_socket_says_counts_when_unix_is_trusted(
    directory: Path, tmp_path: Path, kind: type[Proxy]
) -> None:
    says = {
        Nginx: ["proxy_set_header X-Forwarded-For $remote_addr;", "proxy_set_header X-Forwarded-Proto https;"],
        HAProxy: ["http-request set-header X-Forwarded-For %[src]", "http-request set-header X-Forwarded-Proto https"],
    }
    options = ("-s", "1", "--forwarded-allow-ips", "unix")
    with (
        Server("basics.application", *options, bind=f"unix:{directory}/s") as server,
        kind(tmp_path, server.where, says[kind]) as proxy,
    ):
        found = seen(proxy)
        assert (found["REMOTE_ADDR"], found["wsgi.url_scheme"]) == (CLIENT, "https")


@pytest.mark.parametrize("how", ["send-proxy", "send-proxy-v2", "send-proxy-v2 proxy-v2-options crc32c,unique-id"])
def test_haproxy_announces_its_client(plain_bind: str, tmp_path: Path, how: str) -> None:
    with (
        Server("basics.application", "-s", "1", bind=f"{plain_bind}?proxy") as server,
        HAProxy(tmp_path, server.where, ["option httpchk GET /hello"], f"{how} check inter 50ms") as proxy,
    ):
        for _ in range(2):
            found = seen(proxy)
            assert (found["REMOTE_ADDR"], found["wsgi.url_scheme"]) == (CLIENT, "http")
            assert server.reload()
        server.out.find(rf'^{CLIENT} - - .*"GET /environ ', 30)
        server.out.find(r'^(127\.0\.0\.1|-) - - .*"GET /hello HTTP/1\.0" 200 ', 30)  # HAProxy's own: LOCAL, or UNKNOWN
        assert "no PROXY header" not in server.log()


def test_haproxy_tells_of_its_clients_tls(plain_bind: str, tmp_path: Path) -> None:
    key, certificate, both = (tmp_path / name for name in ("key", "certificate", "both"))
    programs.run(
        "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=Jane Doe", "-days", "2",
        "-keyout", key, "-out", certificate,
    )  # fmt: skip
    both.write_bytes(certificate.read_bytes() + key.read_bytes())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with (
        Server("basics.application", "-s", "1", bind=f"{plain_bind}?proxy") as server,
        HAProxy(
            tmp_path, server.where, (), "send-proxy-v2-ssl-cn", f"ssl crt {both} ca-file {certificate} verify optional"
        ) as proxy,
    ):
        for _ in range(2):
            found = seen(proxy, context)
            assert (found["REMOTE_ADDR"], found["wsgi.url_scheme"], found["HTTPS"]) == (CLIENT, "https", "on")
            assert found["SSL_PROTOCOL"].startswith("TLSv1.")
            assert (found["SSL_CLIENT_VERIFY"], found.get("SSL_CLIENT_S_DN_CN")) == ("NONE", None)
            context.load_cert_chain(certificate, key)
            found = seen(proxy, context)
            assert (found["SSL_CLIENT_VERIFY"], found["SSL_CLIENT_S_DN_CN"]) == ("SUCCESS", "Jane Doe")
            assert server.reload()
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE


def test_a_proxy_that_does_not_announce_anybody_is_told_apart(plain_bind: str, tmp_path: Path) -> None:
    with (
        Server("basics.application", "-s", "1", bind=f"{plain_bind}?proxy") as server,
        HAProxy(tmp_path, server.where) as proxy,
    ):
        assert fetch(proxy.port, "/hello").status in (502, 503)
        server.wait_for_log(r'connection closed, no PROXY header address=\S+ reason="there is none"')


def test_curl_speaks_the_proxy_protocol() -> None:
    with Server("basics.application", "-s", "1", bind="127.0.0.1:0?proxy") as server:
        answer = programs.run("curl", "-sS", "--haproxy-protocol", f"{server.url}/environ")
        assert json.loads(answer)["REMOTE_ADDR"] == "127.0.0.1"
