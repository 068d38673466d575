"""The PROXY protocol on a listener: who the client is then, who has to send it, and what becomes of the others."""

import contextlib
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from integration.client import Client, connected, fetch, request
from integration.gate import Gate
from integration.server import Server
from unit.proxy_headers import SIGNATURE, TCP4, field, tls, version_1, version_2

HELLO = request("/hello")
SAID = tls(1, 0, field(0x21, b"TLSv1.3"), field(0x23, b"TLS_AES_128_GCM_SHA256"))


@pytest.fixture
def server(plain_bind: str) -> Iterator[Server]:
    """A server whose only listener wants a header."""
    with Server("basics.application", "-s", "1", "-t", "2", bind=f"{plain_bind}?proxy") as server:
        yield server


def environ(client: Client) -> dict[str, Any]:
    seen: dict[str, Any] = json.loads(client.get("/environ").body)
    return seen


def raw(server: Server) -> socket.socket:
    return connected(server.where, "127.0.0.1", 30)


@pytest.mark.parametrize("header", [version_1(), version_2(), version_2(TCP4, SAID, checked=True)])
def test_the_client_is_whom_the_header_announces(server: Server, header: bytes) -> None:
    with Client(server.where) as client:
        client.send(header)
        for _ in range(2):
            seen = environ(client)
            assert (seen["REMOTE_ADDR"], seen["REMOTE_PORT"]) == ("203.0.113.7", "4711")
            assert seen["wsgi.url_scheme"] == ("https" if "HTTPS" in seen else "http")
    server.out.find(r"^203\.0\.113\.7 - - .*GET /environ ", 30)


def test_what_is_told_of_tls_is_in_the_environ_of_this_connection_alone(server: Server) -> None:
    plain, secure = Client(server.where), Client(server.where)
    with plain, secure:
        plain.send(version_2())
        secure.send(version_2(TCP4, SAID))
        for _ in range(2):
            seen = environ(secure)
            assert (seen["HTTPS"], seen["SSL_PROTOCOL"], seen["SSL_CIPHER"]) == (
                "on",
                "TLSv1.3",
                "TLS_AES_128_GCM_SHA256",
            )
            assert not {"HTTPS", "SSL_PROTOCOL"} & set(environ(plain))


@pytest.mark.parametrize("header", [b"PROXY UNKNOWN\r\n", version_2(command=0x20)])
def test_a_connection_of_the_balancer_itself_has_its_own_address(server: Server, header: bytes) -> None:
    with Client(server.where) as client:
        client.send(header)
        seen = environ(client)
        if isinstance(server.where, int):
            assert (seen["REMOTE_ADDR"], seen["REMOTE_PORT"]) == ("127.0.0.1", str(client.sock.getsockname()[1]))
        else:
            assert (seen["REMOTE_ADDR"], seen["REMOTE_PORT"]) == ("", "")


def test_a_header_may_come_with_a_request_before_it_or_in_pieces(server: Server) -> None:
    for header in (version_1(), version_2(TCP4, SAID)):
        with Client(server.where) as client:
            client.send(header + HELLO + HELLO)
            assert [client.read().status for _ in range(2)] == [200, 200]
        with Client(server.where) as client:
            for octet in header + HELLO:
                client.send(bytes([octet]))
            assert client.read().status == 200
        with raw(server) as sock:  # all at once, and nothing will follow
            sock.sendall(header + HELLO)
            sock.shutdown(socket.SHUT_WR)
            assert sock.recv(1000).startswith(b"HTTP/1.1 200 ")
        with raw(server) as sock:
            sock.sendall(header)
            sock.shutdown(socket.SHUT_WR)
            assert sock.recv(1000) == b""


@pytest.mark.parametrize(
    "data",
    [
        HELLO,
        b"\x16\x03\x01\x02\x00",
        b"PROXY TCP4 a b c d\r\n",
        SIGNATURE + b"\x21\x11\xff\xff",
        b"PROXY " + b"x" * 200,
    ],
)
def test_who_must_send_one_and_does_not_is_closed_without_an_answer(server: Server, data: bytes) -> None:
    for _ in range(2):
        with raw(server) as sock:
            sock.sendall(data)
            with contextlib.suppress(ConnectionResetError):  # of what it had sent, not all was read
                assert sock.recv(1000) == b""
    with Client(server.where) as client:
        client.send(version_1())
        assert client.get("/hello").status == 200
    assert server.stop() == 0  # then all of the log is written
    assert server.log().count("WARNING connection closed, no PROXY header address=") == 1


@pytest.mark.parametrize("header", [version_1(), version_2()])
@pytest.mark.parametrize("property_", ["?proxy", ""])
def test_who_may_not_and_does_is_answered_400(plain_bind: str, header: bytes, property_: str) -> None:
    options = ("--proxy-allow-ips", "10.0.0.0/8") if property_ else ()
    with Server("basics.application", "-s", "1", *options, bind=f"{plain_bind}{property_}") as server:
        assert fetch(server.where, "/hello").status == 200
        with Client(server.where) as client:
            client.send(header + HELLO)
            assert client.read().status == 400
            assert client.read_eof() == b""


def test_it_has_to_come_within_the_time_of_a_head(plain_bind: str) -> None:
    with Server("basics.application", "-s", "1", "--head-timeout", "1", bind=f"{plain_bind}?proxy") as server:
        for begin in (b"", b"PROXY TCP4 ", SIGNATURE, version_1()):
            with raw(server) as sock:
                if begin:
                    sock.sendall(begin)
                assert sock.recv(1000) == b""


def test_forwarded_fields_are_those_of_whom_the_header_announces(plain_bind: str) -> None:
    """Not of the balancer, which has passed on what its client wrote."""
    options = ("-s", "1", "--forwarded-allow-ips", "127.0.0.1,unix,203.0.113.0/24")
    with Server("basics.application", *options, bind=f"{plain_bind}?proxy") as server:
        for source, trusted in (("203.0.113.7", True), ("198.51.100.1", False)):
            with Client(server.where) as client:
                client.send(version_1("TCP4", source))
                seen = json.loads(client.get("/environ", "X-Forwarded-For: 192.0.2.66").body)
                assert seen["REMOTE_ADDR"] == ("192.0.2.66" if trusted else source)


def test_connections_move_with_what_was_announced_and_half_a_header_too(server: Server) -> None:
    secure, half, silent, pipelined = (Client(server.where) for _ in range(4))
    with secure, half, silent, pipelined:
        secure.send(version_2(TCP4, SAID))
        old = environ(secure)
        half.send(version_2(TCP4, SAID)[:20])
        pipelined.send(version_1() + HELLO[:10])
        for _ in range(2):
            assert server.reload()
        new = environ(secure)
        assert {**new, "pid": 0, "wsgi.input": ""} == {**old, "pid": 0, "wsgi.input": ""}
        assert new["pid"] != old["pid"]
        half.send(version_2(TCP4, SAID)[20:])
        silent.send(version_2(TCP4, SAID))
        for client in (half, silent):
            seen = environ(client)
            assert (seen["REMOTE_ADDR"], seen["SSL_PROTOCOL"], seen["pid"]) == ("203.0.113.7", "TLSv1.3", new["pid"])
        pipelined.send(HELLO[10:])
        assert pipelined.read().status == 200


def test_a_stop_leaves_nobody_waiting(plain_bind: str, gate: Gate) -> None:
    with Server("basics.application", "-s", "1", "-t", "2", bind=f"{plain_bind}?proxy") as server:
        with Client(server.where) as busy, Client(server.where) as idle, Client(server.where) as silent:
            busy.send(version_1() + request(gate.target))
            gate.wait_entered()
            idle.send(version_1())
            assert idle.get("/hello").status == 200
            os.kill(server.pid, 15)
            server.wait_for_log("stopping ")
            if isinstance(server.where, str):  # on TCP it is not even accepted before it says something
                assert silent.read_eof() == b""
            gate.open()
            assert busy.read().body == b"held\n"
        assert server.wait() == 0


def test_one_listener_wants_it_and_another_does_not(tmp_path: Path) -> None:
    name = f"@{tmp_path.name}-{os.getpid()}"
    with Server("basics.application", "-s", "1", "--bind", f"unix:{name}?proxy", bind="127.0.0.1:0") as server:
        assert fetch(server.port, "/hello").status == 200
        with Client(name) as client:
            client.send(version_1())
            assert environ(client)["REMOTE_ADDR"] == "203.0.113.7"
