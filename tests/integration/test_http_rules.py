"""Rules of HTTP that need a connection to be seen: when an answer comes, what it has, and how the connection ends."""

import contextlib
import socket
from collections.abc import Iterator

import pytest

from integration.client import Client, request
from integration.clients import serves
from integration.server import Server

# Answers to what is refused ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "begun",
    [
        b"GET /hello HTTP/1.1\n",
        b"GET /hello HTTP/1.1\r\nHost: a\n\n",
        b"GET /hello HTTP/1.1\rHost: a\r\r",
        b"GET /hello HTTP/1.1\r\nHost: \0",
        b"GET /hello\r\n",
        b"GET /hello HTTP %\r\n",
        b"GET  /hello HTTP/1.1\r\n",
        b"EHLO localhost\r\n",
        b"PRI * HTTP/2.0\r\n",
        b"GET /hello HTTP/1.1\r\nBad Header\r\n",
        b"GET /hello HTTP/1.1\r\nHost: a b\r\n",
        b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n",
        b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n",
        b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n",
        b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;=",
    ],
)
def test_what_cannot_become_a_request_is_refused_at_once(basics: Server, begun: bytes) -> None:
    """The client thinks that it has said everything, and waits for an answer (RFC 9112 section 2.2)."""
    with Client(basics.port) as client:
        client.send(begun)
        response = client.read()
        status = 505 if begun.startswith(b"PRI") else 400
        assert (response.status, response.closes, response["server"]) == (status, True, "spawning")
        assert response["date"]
        assert client.read_eof() == b""


@pytest.mark.parametrize(
    "sent",
    [
        request("/hello", "Content-Length: x", method="HEAD"),
        request("/hello", "X : y", method="HEAD"),
        request("/hello", "Transfer-Encoding: chunked", method="HEAD") + b"x\r\n",
        request("/hello", f"Content-Length: {1 << 40}", method="HEAD"),
    ],
)
def test_a_head_request_is_refused_without_content(client: Client, sent: bytes) -> None:
    client.send(sent)
    response = client.read(head=True)
    assert response.status in (400, 413)
    assert int(response["content-length"]) > 0
    assert client.read_eof() == b""


@pytest.fixture(scope="module")
def trusting() -> Iterator[Server]:
    with Server("basics.application", "-s", "1", "--forwarded-allow-ips", "*", "-l", "/dev/null") as server:
        yield server


@pytest.mark.parametrize("before", [b"", request("/hello"), request("/hello", "X-A: b", method="POST")])
@pytest.mark.parametrize("fields", [["Forwarded: for="], ["X-Forwarded-Proto: gopher"]])
def test_a_complete_head_request_is_refused_without_content(trusting: Server, before: bytes, fields: list[str]) -> None:
    """It has been read, and what a trusted proxy says of it is malformed."""
    with Client(trusting.port) as client:
        client.send(before + request("/hello", *fields, method="HEAD") + request("/hello"))
        if before:
            assert client.read().status == 200
        response = client.read(head=True)
        assert (response.status, response.closes) == (400, True)
        assert int(response["content-length"]) > 0
        assert client.read_eof() == b""


def test_a_head_request_for_which_no_thread_can_be_started_is_refused_without_content() -> None:
    with (
        Server("threadless.application", "-s", "1", "-t", "4", "-l", "/dev/null") as server,
        Client(server.port) as client,
    ):
        assert client.get("/last").status == 200
        # A handful, until the route is known to wait and its requests get threads.
        responses = (client.get("/", method="HEAD") for _ in range(1000))
        refused = next(response for response in responses if response.status != 200)
        assert (refused.status, refused.closes) == (503, True)
        assert int(refused["content-length"]) > 0
        assert client.read_eof() == b""
        server.wait_for_log("no further request thread can be started")


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (request("/hello", "Expect: 100-continue", f"Content-Length: {1 << 40}", method="POST"), 413),
        (request("/hello", "Expect: 100-continue", "Content-Length: x", method="POST"), 400),
        (request("/hello", "Expect: something", "Content-Length: 4", method="POST"), 417),
        (request("/hello", "Expect: 100-continue", "Content-Length: 0", method="POST"), 200),
    ],
)
def test_nobody_is_told_to_continue_when_the_answer_is_known(client: Client, sent: bytes, status: int) -> None:
    """RFC 9110 section 10.1.1."""
    client.send(sent)
    assert client.read().status == status


def test_nothing_behind_an_error_is_interpreted(client: Client) -> None:
    client.send(request("/hello", "Content-Length: 1", "Transfer-Encoding: chunked", method="POST") + request("/hello"))
    assert client.read().status == 400
    assert client.read_eof() == b""


def test_a_request_that_follows_a_last_one_is_not_answered(client: Client) -> None:
    client.send(request("/hello", "Connection: close") + request("/hello"))
    assert client.read().closes
    assert client.read_eof() == b""


def test_an_answer_reaches_a_client_that_goes_on_sending(client: Client) -> None:
    """RFC 9112 section 9.6: a close while data is on its way would turn into a reset, and destroy the answer."""
    client.send(b"nonsense\r\n\r\n")
    with contextlib.suppress(ConnectionError):
        for _ in range(100):
            client.send(b"x" * 65536)
    assert client.read().status == 400


def test_an_unfinished_request_of_a_client_that_has_gone_is_not_answered(basics: Server) -> None:
    with Client(basics.port) as client:
        client.send(request("/echo", "Content-Length: 5", method="POST") + b"four")
        client.sock.shutdown(socket.SHUT_WR)
        assert client.read_eof() == b""
    assert serves(basics)


# Fields of every response --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("text", "field"), [("mine/2.0 (Unix)", "mine/2.0 (Unix)"), ("", "")])
def test_the_server_field_is_what_one_wants(text: str, field: str) -> None:
    with (
        Server("basics.application", "-s", "1", "-l", "/dev/null", "--server-header", text) as server,
        Client(server.port) as client,
    ):
        for target in ("/hello", "/stream", "/status?code=204"):
            response = client.get(target)
            assert response["server"] == field
            assert ("server" in dict(response.fields)) is bool(field)
        client.send(b"nonsense\r\n\r\n")
        assert client.read()["server"] == field


# CONNECT -------------------------------------------------------------------------------------------------------------


def connect(client: Client) -> None:
    client.send(b"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n")


def test_connect_is_not_implemented(client: Client) -> None:
    connect(client)
    assert client.read().status == 501
    assert client.read_eof() == b""


def test_connect_is_the_applications_when_allowed() -> None:
    with (
        Server("basics.application", "-s", "1", "-l", "/dev/null", "--allow-connect") as server,
        Client(server.port) as client,
    ):
        connect(client)
        response = client.read()
        assert (response.status, response.closes, response["content-length"]) == (200, True, "")
        assert response.body == b"connected to example.com:443"
