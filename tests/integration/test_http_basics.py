"""HTTP/1.1 and WSGI as a client sees them, over real connections (RFC 9112, PEP 3333)."""

import hashlib
import json
import re
import signal
from pathlib import Path

import pytest

from integration.client import Client, fetch, request
from integration.server import Server, until

# Connections ---------------------------------------------------------------------------------------------------------


def test_a_connection_is_kept_for_the_next_request(client: Client) -> None:
    for _ in range(3):
        response = client.get("/hello")
        assert (response.status, response.body, response.closes) == (200, b"Hello, world!\n", False)


def test_the_client_may_end_a_connection(client: Client) -> None:
    assert client.get("/hello", "Connection: close").closes
    assert client.read_eof() == b""


def test_http_1_0_closes_unless_asked_to_keep(basics: Server) -> None:
    with Client(basics.port) as client:
        client.send(request("/hello", version="HTTP/1.0"))
        assert client.read().body == b"Hello, world!\n"
        assert client.read_eof() == b""
    with Client(basics.port) as client:
        for _ in range(2):
            client.send(request("/hello", "Connection: keep-alive", version="HTTP/1.0"))
            response = client.read()
            assert (response.body, response["connection"].lower()) == (b"Hello, world!\n", "keep-alive")


def test_pipelined_requests_are_answered_in_order(client: Client) -> None:
    client.send(b"".join(request(f"/environ?n={number}") for number in range(20)))
    assert [json.loads(client.read().body)["QUERY_STRING"] for _ in range(20)] == [f"n={n}" for n in range(20)]


def test_a_pipelined_request_after_a_body(client: Client) -> None:
    client.send(request("/echo", "Content-Length: 5", method="POST") + b"first" + request("/hello"))
    assert client.read().body == b"first"
    assert client.read().body == b"Hello, world!\n"


def test_a_head_may_come_byte_by_byte(client: Client) -> None:
    for byte in request("/hello"):
        client.send(bytes([byte]))
    assert client.read().body == b"Hello, world!\n"


def test_no_keepalive_closes_every_connection() -> None:
    with Server("basics.application", "-s", "1", "--no-keepalive") as server, Client(server.port) as client:
        assert client.get("/hello").closes
        assert client.read_eof() == b""


# Request bodies ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 65_536, 65_537, 5_000_000])
def test_a_body_with_a_length(client: Client, size: int) -> None:
    body = bytes(number % 251 for number in range(1000)) * (size // 1000 + 1)
    assert client.post("/echo", body[:size]).body == body[:size]


@pytest.mark.parametrize("size", [0, 10, 200_000])
def test_a_chunked_body(client: Client, size: int) -> None:
    body = b"0123456789" * (size // 10)
    pieces = [body[start : start + 7777] for start in range(0, size, 7777)]
    chunks = b"".join(b"%x;note=1\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    client.send(request("/echo", "Transfer-Encoding: chunked", method="POST") + chunks + b"0\r\nX-Trailer: t\r\n\r\n")
    assert client.read().body == body
    assert client.get("/hello").status == 200


def test_the_body_can_be_read_by_lines_and_again(client: Client) -> None:
    assert client.post("/echo-lines", b"one\ntwo\nthree").body == b"3"


def test_expect_100_continue(client: Client) -> None:
    client.send(request("/echo", "Content-Length: 4", "Expect: 100-continue", method="POST"))
    assert client.read().status == 100
    client.send(b"body")
    assert client.read().body == b"body"


def test_a_body_that_nobody_reads_does_not_confuse_the_next_request(client: Client) -> None:
    assert client.post("/hello", b"GET /environ HTTP/1.1\r\n\r\n").body == b"Hello, world!\n"
    assert client.get("/hello").body == b"Hello, world!\n"


# Responses -----------------------------------------------------------------------------------------------------------


def test_head_has_the_fields_and_no_body(client: Client) -> None:
    assert client.get("/repeat?bytes=1000", method="HEAD")["content-length"] == "1000"
    assert client.get("/stream", method="HEAD").status == 200
    assert client.get("/hello").body == b"Hello, world!\n"


@pytest.mark.parametrize("code", [204, 304])
def test_responses_that_have_no_body(client: Client, code: int) -> None:
    response = client.get(f"/status?code={code}")
    assert (response.status, response["transfer-encoding"]) == (code, "")
    assert client.get("/hello").body == b"Hello, world!\n"


def test_an_empty_response_has_length_zero(client: Client) -> None:
    assert client.get("/status?code=404")["content-length"] == "0"
    assert client.get("/hello").body == b"Hello, world!\n"


def test_a_response_of_unknown_length_is_chunked(client: Client) -> None:
    response = client.get("/stream")
    assert response["transfer-encoding"] == "chunked"
    assert response.text == "".join(f"part {number}\n" for number in range(10))
    assert client.get("/hello").status == 200


def test_for_http_1_0_it_ends_with_the_connection(basics: Server) -> None:
    with Client(basics.port) as client:
        client.send(request("/stream", "Connection: keep-alive", version="HTTP/1.0"))
        response = client.read()
        assert response["transfer-encoding"] == ""
        assert response.text.endswith("part 9\n")


def test_the_write_callable(client: Client) -> None:
    assert client.get("/write").body == b"written, returned"


def test_a_large_response_reaches_a_slow_reader(client: Client) -> None:
    assert client.get("/repeat?bytes=20000000").body == b"x" * 20_000_000


def test_a_file_is_sent_whole(client: Client, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(range(256)) * 10_000)
    digest = hashlib.sha256(client.get(f"/file?path={path}").body).digest()
    assert digest == hashlib.sha256(path.read_bytes()).digest()
    assert client.get("/file-like").body == b"y" * 100_000


def test_an_error_page_may_replace_a_response_not_yet_sent(client: Client) -> None:
    response = client.get("/recovered")
    assert (response.status, response.body) == (503, b"sorry\n")


def test_a_response_has_date_and_type(client: Client) -> None:
    response = client.get("/hello")
    assert re.fullmatch(r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT", response["date"])
    assert response["content-type"] == "text/plain"


def test_the_body_is_closed_when_the_client_goes(basics: Server, tmp_path: Path) -> None:
    path = tmp_path / "closed"
    with Client(basics.port) as client:
        client.send(request(f"/endless?path={path}"))
        assert client.sock.recv(1000)
    until(path.exists, "the body's close()")
    assert fetch(basics.port, "/hello").status == 200
    assert path.read_text() == "closed\n"


# Environ -------------------------------------------------------------------------------------------------------------


def test_environ_is_what_pep_3333_says(basics: Server, client: Client) -> None:
    environ = json.loads(client.get("/a%20path/%C3%A9?x=%20y", "X-Twice: 1", "X-Twice: 2", "Cookie: a=b").body)
    expected = {
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": "",
        "PATH_INFO": "/a path/Ã©",  # bytes as latin-1
        "QUERY_STRING": "x=%20y",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "SERVER_PORT": str(basics.port),
        "REMOTE_ADDR": "127.0.0.1",
        "HTTP_HOST": "localhost",
        "HTTP_COOKIE": "a=b",
        "wsgi.version": [1, 0],
        "wsgi.url_scheme": "http",
        "wsgi.run_once": False,
        "wsgi.multithread": True,
        "wsgi.input_terminated": True,
    }
    assert {name: environ.get(name) for name in expected} == expected
    assert re.fullmatch("1, ?2", environ["HTTP_X_TWICE"])


def test_a_kept_connection_sees_each_request_as_it_is(client: Client) -> None:
    first = json.loads(client.get("/environ?1", "X-Only: first").body)
    second = json.loads(client.get("/environ?2", method="DELETE").body)
    assert (first["QUERY_STRING"], first["HTTP_X_ONLY"]) == ("1", "first")
    assert (second["QUERY_STRING"], second["REQUEST_METHOD"], "HTTP_X_ONLY" in second) == ("2", "DELETE", False)


@pytest.mark.parametrize("field", ["Content_Length: 5", "X_User: admin", "Proxy: http://evil"])
def test_fields_that_could_pose_as_others_are_dropped(client: Client, field: str) -> None:
    environ = json.loads(client.get("/environ", field).body)
    assert not {"CONTENT_LENGTH", "HTTP_CONTENT_LENGTH", "HTTP_X_USER", "HTTP_PROXY"} & {
        name for name, value in environ.items() if value
    }


# Access log ----------------------------------------------------------------------------------------------------------

COMBINED = re.compile(
    r"127\.0\.0\.1 - - \[\d\d/\w{3}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}\] "
    r'"(?P<line>[^"]*)" (?P<status>\d{3}) (?P<size>\d+|-) '
    r'"(?P<referer>[^"]*)" "(?P<agent>[^"]*)" (?P<seconds>\d+\.\d+)'
)


def test_access_lines_are_apaches_combined_format_and_the_duration() -> None:
    with Server("basics.application", "-s", "1") as server:
        fetch(server.port, "/hello?a=1", "User-Agent: probe/1", "Referer: http://localhost/")
        match = server.out.find(COMBINED.pattern, 30)
    assert match["line"] == "GET /hello?a=1 HTTP/1.1"
    assert (match["status"], match["size"]) == ("200", "14")
    assert (match["referer"], match["agent"]) == ("http://localhost/", "probe/1")


def test_usr1_opens_a_rotated_log_anew(tmp_path: Path) -> None:
    log, rotated = tmp_path / "access.log", tmp_path / "access.log.1"
    with Server("basics.application", "-s", "2", "-l", str(log)) as server:
        fetch(server.port, "/before")
        until(lambda: "/before" in log.read_text(), "the first line")
        log.rename(rotated)
        server.signal(signal.SIGUSR1)
        until(log.exists, "a new log")
        until(lambda: fetch(server.port, "/after") and "/after" in log.read_text(), "a line in the new log")
    assert "/before" not in log.read_text()


def test_a_disabled_log_writes_nothing() -> None:
    with Server("basics.application", "-s", "1", "-l", "/dev/null") as server:
        fetch(server.port, "/hello")
        server.stop()
        assert server.out.since() == []
