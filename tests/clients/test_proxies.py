"""Behind nginx and HAProxy: connections that they keep, uploads, large responses, clients that go, and reloads."""

import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import requests

from clients.big import Body, sha256
from clients.proxies import HAProxy, Nginx, Proxy
from integration.client import Client, fetch, request
from integration.gate import Gate
from integration.load import Load, steps_back
from integration.server import Server, until
from integration.sites import write

LARGE = 20_000_000  # bytes, more than all buffers on the way hold

each_proxy = pytest.mark.parametrize("kind", [Nginx, HAProxy])


@pytest.fixture(params=[Nginx, HAProxy])
def proxy(request: pytest.FixtureRequest, basics: Server, tmp_path: Path) -> Iterator[Proxy]:
    """Each proxy, with its usual options, in front of the server of the module."""
    kind: type[Proxy] = request.param
    with kind(tmp_path, basics.port) as proxy:
        yield proxy


def environ(client: httpx.Client, proxy: Proxy) -> dict[str, str]:
    seen: dict[str, str] = client.get(f"{proxy.url}/environ").json()
    return seen


# Connections ---------------------------------------------------------------------------------------------------------


def test_the_proxy_keeps_its_connection(proxy: Proxy) -> None:
    with httpx.Client() as client:
        ports = {environ(client, proxy)["REMOTE_PORT"] for _ in range(30)}
    assert len(ports) == 1


def test_many_clients_at_a_time(proxy: Proxy) -> None:
    clients = [Client(proxy.port) for _ in range(40)]
    for round_ in range(5):
        for number, client in enumerate(clients):
            client.send(request(f"/repeat?bytes={number + round_}"))
        assert [len(client.read().body) for client in clients] == [number + round_ for number in range(40)]
    for client in clients:
        client.close()


def test_what_kinds_of_responses_there_are(proxy: Proxy) -> None:
    with httpx.Client() as client:
        assert client.get(f"{proxy.url}/stream").text == "".join(f"part {number}\n" for number in range(10))
        assert client.get(f"{proxy.url}/status?code=204").content == b""
        assert client.get(f"{proxy.url}/status?code=304").content == b""
        assert client.head(f"{proxy.url}/repeat?bytes=1000").headers["Content-Length"] == "1000"
        assert client.get(f"{proxy.url}/raise-early").status_code == 500
        assert client.get(f"{proxy.url}/hello").text == "Hello, world!\n"


def test_a_response_that_is_cut_is_not_taken_for_a_whole_one(proxy: Proxy) -> None:
    with httpx.Client() as client, pytest.raises(httpx.RemoteProtocolError):
        client.get(f"{proxy.url}/raise-late")


# Bodies --------------------------------------------------------------------------------------------------------------

BUFFERED = {Nginx: ["proxy_request_buffering on;"], HAProxy: ["option http-buffer-request"]}
UNBUFFERED = {Nginx: ["proxy_request_buffering off;"], HAProxy: ["no option http-buffer-request"]}


@each_proxy
@pytest.mark.parametrize("how", [BUFFERED, UNBUFFERED], ids=["buffered", "unbuffered"])
@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_an_upload(
    basics: Server, tmp_path: Path, kind: type[Proxy], how: dict[type[Proxy], list[str]], chunked: bool
) -> None:
    with kind(tmp_path, basics.port, how[kind]) as proxy, requests.Session() as session:
        for mebibytes in (0, 1, 30):
            body = Body(mebibytes)
            content = b"".join(body)
            answer = session.post(f"{proxy.url}/echo", data=iter([content] if content else []) if chunked else content)
            assert (answer.status_code, len(answer.content)) == (200, body.size)
            assert sha256(iter([answer.content])) == body.sha256
        seen = session.post(f"{proxy.url}/environ", data=iter([b"x"]) if chunked else b"x").json()
        assert seen["CONTENT_LENGTH"] == "1"


def test_a_large_response_to_a_slow_reader(proxy: Proxy) -> None:
    with Client(proxy.port) as client:
        client.send(request(f"/repeat?bytes={LARGE}"))
        assert fetch(proxy.port, "/hello").status == 200
        assert client.read().body == b"x" * LARGE
        assert client.get("/hello").status == 200


def test_a_client_that_goes_ends_its_stream(proxy: Proxy, tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    with Client(proxy.port) as client:
        client.send(request(f"/endless?path={closed}"))
        assert client.sock.recv(100)
    until(closed.exists, "close() of the stream")
    assert fetch(proxy.port, "/hello").status == 200


@each_proxy
def test_a_client_that_goes_in_its_upload_harms_nobody(basics: Server, tmp_path: Path, kind: type[Proxy]) -> None:
    with kind(tmp_path, basics.port, UNBUFFERED[kind]) as proxy:
        for field in ("Content-Length: 1000000", "Transfer-Encoding: chunked"):
            for abrupt in (False, True):
                with Client(proxy.port) as client:
                    client.send(request("/echo", field, method="POST") + b"4000\r\n" + bytes(100_000))
                    if abrupt:
                        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                assert fetch(proxy.port, "/hello").status == 200


# Reloads -------------------------------------------------------------------------------------------------------------


@each_proxy
def test_reloads_behind_a_proxy_cost_nobody_a_request(tmp_path: Path, kind: type[Proxy]) -> None:
    """Nobody retries: not the clients, not the proxy, whose kept-alive connections go from generation to generation."""
    write(tmp_path, "1")
    with (
        Server("site_app:application", "-s", "2", "-t", "4", "-l", "/dev/null", cwd=tmp_path) as server,
        kind(tmp_path, server.port) as proxy,
        Load(proxy.port, fresh=2, kept=4) as load,
    ):
        for version in ("2", "3", "4"):
            write(tmp_path, version)
            assert server.reload()
            until(lambda: load.answers[-1].version == int(version), f"an answer of version {version}")  # noqa: B023
    assert load.failures == []
    assert steps_back(load.answers) == []
    assert {answer.version for answer in load.answers} == {1, 2, 3, 4}


@each_proxy
def test_what_is_under_way_during_a_reload_comes_to_its_end(
    tmp_path: Path, gate: Gate, tmp_path_factory: pytest.TempPathFactory, kind: type[Proxy]
) -> None:
    """An upload of which a half has arrived, a response of which a half has been read, and a request that executes."""
    with (
        Server("basics.application", "-s", "1", "-t", "4", "-l", "/dev/null") as server,
        kind(tmp_path_factory.mktemp("proxy"), server.port, UNBUFFERED[kind]) as proxy,
        Client(proxy.port) as upload,
        Client(proxy.port) as chunked,
        Client(proxy.port) as download,
        Client(proxy.port) as waiting,
    ):
        upload.send(request("/echo", "Content-Length: 200000", method="POST") + b"a" * 100_000)
        chunked.send(request("/echo", "Transfer-Encoding: chunked", method="POST") + b"186a0\r\n" + b"b" * 50_000)
        download.send(request(f"/repeat?bytes={LARGE}"))
        waiting.send(request(gate.target))
        gate.wait_entered()
        for _ in range(2):
            assert server.reload()
        upload.send(b"a" * 100_000)
        chunked.send(b"b" * 50_000 + b"\r\n0\r\n\r\n")
        gate.open()
        assert upload.read().body == b"a" * 200_000
        assert chunked.read().body == b"b" * 100_000
        assert download.read().body == b"x" * LARGE
        assert waiting.read().body == b"held\n"
        for client in (upload, chunked, download, waiting):
            assert client.get("/hello").status == 200
