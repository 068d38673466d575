"""Everything under ``wsgiref.validate``, by the real command: a rule that is broken is a 500 and a line in the log."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from integration.client import Client, request
from integration.server import Server


@dataclass(frozen=True, slots=True)
class Site:
    """A server of ``apps/validated.py``, a connection to it, and the path that the application is below."""

    server: Server
    client: Client
    name: str


PLAIN = ("-s", "1", "-t", "4")
EVERYTHING = (
    *PLAIN, "--script-name", "/app", "--forwarded-allow-ips", "*", "--request-id-header", "X-Request-ID",
    "--request-timeout", "60",
)  # fmt: skip


@pytest.fixture(scope="module", params=[(PLAIN, ""), (EVERYTHING, "/app")], ids=["plain", "every option"])
def site(request: pytest.FixtureRequest) -> Iterator[Site]:
    arguments, name = request.param
    with Server("validated.application", *arguments) as server:
        with Client(server.port) as client:
            yield Site(server, client, name)
        server.stop()
        assert "Traceback" not in server.log()
        assert "without being closed" not in server.log()


BODIES = [b"", b"x", b"one\ntwo\nthree\nfour\nfive\n\nsix", b"0123456789\n" * 20_000]


@pytest.mark.parametrize("body", BODIES, ids=len)
def test_the_body_is_read_in_every_way(site: Site, body: bytes) -> None:
    assert site.client.post(f"{site.name}/read", body).body == body
    site.client.send(request(f"{site.name}/read", "Transfer-Encoding: chunked", method="POST"))
    site.client.send((b"%x\r\n%b\r\n" % (len(body), body) if body else b"") + b"0\r\n\r\n")
    assert site.client.read().body == body


@pytest.mark.parametrize(
    ("path", "status", "text"),
    [
        ("/generate", 200, "one, two"),
        ("/write", 200, "written, returned"),
        ("/recover", 503, "sorry"),
        ("/file", 200, "content"),
        ("/nothing?204", 204, ""),
        ("/nothing?304", 304, ""),
    ],
)
def test_every_kind_of_response(site: Site, path: str, status: int, text: str) -> None:
    for _ in range(2):
        response = site.client.get(site.name + path)
        assert (response.status, response.text) == (status, text)
    assert site.client.get(site.name + path, method="HEAD").status == status
    with Client(site.server.port) as client:
        client.send(request(site.name + path, version="HTTP/1.0"))
        response = client.read()
        assert (response.status, response.text) == (status, text)


def test_hints_and_the_question_who_is_there(site: Site) -> None:
    site.client.send(request(f"{site.name}/hint"))
    assert (site.client.read().status, site.client.read().text) == (103, "False")


FORWARDED = ("X-Forwarded-For: 203.0.113.9", "X-Forwarded-Proto: https", "X-Request-ID: an-id")


@pytest.mark.parametrize(
    ("line", "path"),
    [
        ("GET {0}/a%20b?c HTTP/1.1", "/a b"),
        ("GET http://b.example{0}/a HTTP/1.1", "/a"),
        ("BREW {0}/ HTTP/1.0", "/"),
        ("OPTIONS * HTTP/1.1", ""),
        ("GET {0}//caf%C3%A9 HTTP/1.1", "//caf\u00c3\u00a9"),
    ],
)
def test_every_kind_of_target(site: Site, line: str, path: str) -> None:
    head = "\r\n".join([line.format(site.name), "Host: a.example", "Connection: keep-alive", *FORWARDED, "", ""])
    site.client.send(head.encode())
    response = site.client.read()
    assert (response.status, response.body.decode("latin-1")) == (200, f"{site.name}|{path}")
