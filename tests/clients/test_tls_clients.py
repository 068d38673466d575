"""Clients over TLS: curl, httpx, wrk, HAProxy and Chromium, with both versions and with certificates of their own."""

import json
import ssl
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from clients.browser import PATIENCE, browser
from clients.programs import run
from clients.proxies import HAProxy
from integration.certificates import Certificate, loopback, own, signed, trusting
from integration.client import fetch
from integration.server import RUNTIME, Server

CERTIFICATE = loopback(RUNTIME.name)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """Who signs the certificates of clients."""
    return own(tmp_path_factory.mktemp("authority"), "authority")


@pytest.fixture(scope="module")
def known(authority: Certificate) -> Certificate:
    return signed(authority.file.parent, authority, "known", "/CN=known")


@pytest.fixture(scope="module")
def site(authority: Certificate) -> Iterator[Server]:
    options = [*CERTIFICATE.options, "--ca-certs", str(authority.file), "--client-certs", "optional", "-s", "1"]
    options += ["--access-log-format", '%({SSL_PROTOCOL}e)s %({SSL_CLIENT_S_DN}e)s "%(r)s" %(s)s "%(a)s"']
    with Server(*options, "basics.application", bind="127.0.0.1:0") as server:
        yield server


def curl(*args: str | Path, data: bytes = b"") -> bytes:
    quiet = ("--silent", "--show-error", "--fail", "--max-time", "30", "--noproxy", "*")
    return run("curl", *quiet, "--cacert", CERTIFICATE.file, *args, data=data)


@pytest.mark.parametrize(("options", "version"), [(("--tls-max", "1.2"), "TLSv1.2"), (("--tlsv1.3",), "TLSv1.3")])
def test_curl(site: Server, known: Certificate, options: tuple[str, ...], version: str) -> None:
    found = json.loads(curl(*options, "--cert", known.file, "--key", known.key, f"{site.url}/environ"))
    assert (found["SSL_PROTOCOL"], found["SSL_CLIENT_VERIFY"], found["SSL_CLIENT_S_DN"]) == (
        version, "SUCCESS", "CN=known",
    )  # fmt: skip
    sent = bytes(range(256)) * 8192
    assert curl(*options, "--upload-file", "-", f"{site.url}/echo", data=sent) == sent
    urls = [f"{site.url}/repeat?bytes=1000000", f"{site.url}/stream"]
    connects = curl(*options, "--output", "/dev/null", "--output", "/dev/null", "-w", "%{num_connects} ", *urls)
    assert connects.split() == [b"1", b"0"]


@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
def test_httpx(site: Server, known: Certificate, version: str) -> None:
    context = trusting(CERTIFICATE, ssl.TLSVersion[version.replace(".", "_")])
    context.load_cert_chain(known.file, known.key)
    with httpx.Client(verify=context, trust_env=False) as client:
        for _ in range(3):
            found = client.get(f"{site.url}/environ").json()
            assert (found["SSL_CLIENT_VERIFY"], found["SSL_PROTOCOL"]) == ("SUCCESS", version)


def test_wrk(site: Server) -> None:
    out = run("wrk", "-t", "1", "-c", "16", "-d", "1", f"{site.url}/hello").decode()
    assert "Requests/sec" in out
    assert "Non-2xx" not in out
    assert "Socket errors" not in out


@pytest.mark.parametrize("properties", ["?tls=yes", "?proxy&tls=yes"])
def test_haproxy_encrypts_to_the_server(tmp_path: Path, properties: str) -> None:
    options = [*CERTIFICATE.options, "-s", "1", "basics.application"]
    server_options = f"ssl verify required verifyhost localhost ca-file {CERTIFICATE.file}"
    if "proxy" in properties:
        server_options += " send-proxy-v2"
    with (
        Server(*options, bind=f"127.0.0.1:0{properties}") as server,
        HAProxy(tmp_path, server.port, server=server_options) as proxy,
    ):
        for _ in range(3):
            found = json.loads(fetch(proxy.port, "/environ").body)
            assert (found["wsgi.url_scheme"], found["REMOTE_ADDR"]) == ("https", "127.0.0.1")
        assert len(fetch(proxy.port, "/repeat?bytes=3000000").body) == 3_000_000


@pytest.mark.parametrize(("option", "version"), [("--ssl-version-max=tls1.2", "TLSv1.2"), ("--incognito", "TLSv1.3")])
def test_chromium(site: Server, tmp_path: Path, option: str, version: str) -> None:
    with browser(f"{site.url}/hello?{version}", tmp_path, "--ignore-certificate-errors", option):
        site.out.find(rf'{version} - "GET /hello\?{version} HTTP/1\.1" 200 ".*Chrome/', PATIENCE)


@pytest.mark.parametrize(("option", "version"), [("--ssl-version-max=tls1.2", "TLSv1.2"), ("--incognito", "TLSv1.3")])
def test_chromium_with_a_certificate_of_its_own(
    site: Server, known: Certificate, tmp_path: Path, option: str, version: str
) -> None:
    url = f"{site.url}/hello?known-{version}"
    with browser(url, tmp_path, "--ignore-certificate-errors", option, certificate=known):
        said = rf'{version} CN=known "GET /hello\?known-{version} HTTP/1\.1" 200 ".*Chrome/'
        site.out.find(said, PATIENCE)
