"""Requests that are refused before the application sees them: each leaves a line in the access log, and is counted."""

import json
import re
import ssl
from collections.abc import Iterator

import pytest

from integration.client import Client, request
from integration.control import spawnctl
from integration.server import Server, until

LIMITS = ("--max-request-line=100", "--max-head-bytes=400", "--max-fields=5", "--max-body-bytes=1000")
PATIENCE = ("--head-timeout=1", "--body-timeout=1")
UNKNOWN = '"-" "-"'
AGENT = '"http://a.example/" "probe/1"'
TOLD = ("Referer: http://a.example/", "User-Agent: probe/1")


@pytest.fixture(scope="module")
def strict() -> Iterator[Server]:
    """One worker that takes small requests, waits for a second, and believes what every peer says of clients."""
    options = (*LIMITS, *PATIENCE, "--forwarded-allow-ips=*", "-v")
    with Server("basics.application", "-s", "1", "-t", "2", *options) as server:
        yield server


CASES = [
    # What is sent; the status; what the log says of the request, and of referrer and agent.
    (b"GET /version HTTP %\r\n", 400, "GET /version HTTP %", UNKNOWN),
    (b'GET /"\x01', 400, r"GET /\x22\x01", UNKNOWN),
    (b"\x80", 400, r"\x80", UNKNOWN),
    (b"\r\n\r\n", 400, "-", UNKNOWN),
    (b"GET /nohost HTTP/1.1\r\nUser-Agent: probe/1\r\n\r\n", 400, "GET /nohost HTTP/1.1", UNKNOWN),
    (request("/two", "Content-Length: 1", "Content-Length: 1"), 400, "GET /two HTTP/1.1", UNKNOWN),
    (request("/forwarded", "X-Forwarded-Proto: gopher", *TOLD), 400, "GET /forwarded HTTP/1.1", AGENT),
    (request("/chunks", "Transfer-Encoding: chunked", *TOLD) + b"x\r\n", 400, "GET /chunks HTTP/1.1", AGENT),
    (b"GET /head HTTP/1.1\r\nHost: a\r\n", 408, "GET /head HTTP/1.1", UNKNOWN),
    (b"GE", 408, "GE", UNKNOWN),
    (request("/body", "Content-Length: 9", *TOLD, method="PUT") + b"b", 408, "PUT /body HTTP/1.1", AGENT),
    (request("/large", "Content-Length: 1001", *TOLD), 413, "GET /large HTTP/1.1", AGENT),
    (request("/l", "Transfer-Encoding: chunked", *TOLD) + b"3e9\r\n", 413, "GET /l HTTP/1.1", AGENT),
    (b"GET /" + b"a" * 200, 414, "GET /" + "a" * 200, UNKNOWN),
    (request("/expect", "Expect: more"), 417, "GET /expect HTTP/1.1", UNKNOWN),
    (request("/many", *["X-A: b"] * 5), 431, "GET /many HTTP/1.1", UNKNOWN),
    (request("/long", "X-A: " + "b" * 400), 431, "GET /long HTTP/1.1", UNKNOWN),
    (b"CONNECT a:1 HTTP/1.1\r\n", 501, "CONNECT a:1 HTTP/1.1", UNKNOWN),
    (request("/coding", "Transfer-Encoding: gzip, chunked"), 501, "GET /coding HTTP/1.1", UNKNOWN),
    (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, "PRI * HTTP/2.0", UNKNOWN),
]


@pytest.mark.parametrize("before", [b"", request("/hello")], ids=["first", "second"])
@pytest.mark.parametrize(("sent", "status", "told", "who"), CASES, ids=[f"{case[1]} {case[2][:20]}" for case in CASES])
def test_a_refused_request_leaves_a_line(
    strict: Server, sent: bytes, status: int, told: str, who: str, before: bytes
) -> None:
    mark = len(strict.out)
    with Client(strict.port) as client:
        client.send(before + sent)
        if before:
            assert client.read().status == 200
        response = client.read()
        assert response.status == status
        line = f'127.0.0.1 - - [DATE] "{told}" {status} {len(response.body)} {who} 0.'
        found = strict.out.find(rf" {status} \d+ ", 30, mark).string
    assert re.sub(r"\[.*?\]", "[DATE]", found).startswith(line)


def test_a_head_request_is_refused_without_content_and_its_line_says_so(strict: Server) -> None:
    mark = len(strict.out)
    with Client(strict.port) as client:
        client.send(request("/large", "Content-Length: 1001", "X-Forwarded-For: 192.0.2.7", method="HEAD"))
        assert client.read(head=True).status == 413
        strict.out.find(r'^192\.0\.2\.7 - - .* "HEAD /large HTTP/1.1" 413 - "-" "-" 0\.', 30, mark)


def test_refused_requests_are_counted(strict: Server) -> None:
    with Server("basics.application", "-s", "1", "-l", "/dev/null") as server:
        for sent in (b"nonsense\r\n", b"PRI * HTTP/2.0\r\n"):
            with Client(server.port) as client:
                client.send(sent)
                client.read()
        until(lambda: counted(server) == (2, 1), "both in the status, one as an error")


def test_a_request_that_no_thread_can_be_started_for_is_counted() -> None:
    """Nor is there a thread that writes the access log."""
    with (
        Server("threadless.application", "-s", "1", "-t", "4", "-l", "/dev/null") as server,
        Client(server.port) as client,
    ):
        assert client.get("/last").status == 200
        assert any(client.get("/").status == 503 for _ in range(1000))
        until(lambda: counted(server) == (1, 1), "it is in the status")


def counted(server: Server) -> tuple[int, int]:
    """Ask how many requests have been refused, and how many responses were 5xx."""
    values = json.loads(spawnctl("--address", f"127.0.0.1:{server.port}", "status", "--json").out)
    (worker,) = values["generations"][-1]["workers"]
    return worker["refused"] or 0, worker["errors"] or 0


def test_a_client_that_speaks_tls_is_closed_without_an_answer(strict: Server) -> None:
    """A browser that was told https shows its own page for that; ours it could not read."""
    mark, lines = len(strict.out), strict.mark()
    context = ssl.create_default_context()
    with Client(strict.port) as client, pytest.raises(ssl.SSLEOFError):  # closed where an answer should be
        context.wrap_socket(client.sock, server_hostname="localhost")
    strict.wait_for_log(r"DEBUG connection closed address=127\.0\.0\.1 protocol=TLS", after=lines)
    with Client(strict.port) as client:
        client.get("/hello", "User-Agent: behind it")
    strict.out.find('"behind it"', 30, mark)
    assert len(strict.out.since(mark)) == 1  # of the client behind it
    assert not [line for line in strict.err.since(lines) if "refused" in line]
