"""WebSockets and tunnels over the real server: opening them, what they cost, and how they end."""

import contextlib
import json
import re
import resource
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from integration.certificates import Certificate, trusting
from integration.client import Client, fetch, request
from integration.control import spawnctl
from integration.frames import BINARY, CLOSE, OPENING, PING, PONG, TEXT, Frame, RawWebSocket, close
from integration.server import DEADLINE, Server, run, until

HELLO = Frame(TEXT, b"Hello")
UPGRADE = ("Upgrade: echo", "Connection: Upgrade")


@pytest.fixture(scope="module")
def control(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("control") / "socket"


@pytest.fixture(scope="module", params=["1", "0"], ids=["threads", "green"])
def server(request: pytest.FixtureRequest, control: Path) -> Iterator[Server]:
    """One worker and one thread, which a tunnel must not cost; and greenlets."""
    options = ("-s", "1", "-t", request.param, "--allow-connect", "--control-socket", str(control))
    with Server("sockets.application", *options) as server:
        yield server


def last_line(server: Server, path: str) -> str:
    """Wait for the access log's line of a path, the last one if there are several."""
    pattern = rf'"\S+ {re.escape(path)} HTTP/1.1" (\d+ .*)$'
    server.out.find(pattern, DEADLINE)
    return [match[1] for line in server.out.since() if (match := re.search(pattern, line))][-1]


def code_of(frames: list[Frame]) -> int:
    (frame,) = frames
    assert frame.opcode == CLOSE
    return int.from_bytes(frame.payload[:2], "big")


@contextlib.contextmanager
def tunnel(server: Server, target: str = "/raw", ahead: bytes = b"") -> Iterator[Client]:
    """Switch to the protocol that echoes."""
    with Client(server.port) as client:
        client.send(request(target, *UPGRADE) + ahead)
        client.wait_for(b"\r\n\r\n")
        yield client


# The handshake --------------------------------------------------------------------------------------------------------

OTHERS = {
    "no Upgrade at all": ((), 426),
    "another protocol": ((*OPENING[1:], "Upgrade: h2c"), 426),
    "no Connection": ((OPENING[0], *OPENING[2:]), 400),
    "another version": ((*OPENING[:2], "Sec-WebSocket-Version: 8", OPENING[3]), 426),
    "no version": ((*OPENING[:2], OPENING[3]), 426),
    "no key": (OPENING[:3], 400),
    "a short key": ((*OPENING[:3], "Sec-WebSocket-Key: dGhl"), 400),
    "a key that is no base64": ((*OPENING[:3], "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=!"), 400),
    "two keys": ((*OPENING, OPENING[3]), 400),
}


@pytest.mark.parametrize("case", OTHERS)
def test_a_request_that_opens_no_websocket_is_told_why(server: Server, case: str) -> None:
    fields, status = OTHERS[case]
    with Client(server.port) as client:
        answer = client.get("/echo", *fields)
        assert answer.status == status
        assert answer.text
        if status == 426:  # RFC 9110 section 15.5.22, RFC 6455 section 4.4
            assert answer["upgrade"] == "websocket"
            assert answer["sec-websocket-version"] == "13"
        assert client.get("/").status == 200  # nothing has happened to the connection


def test_a_post_and_http_1_0_open_no_websocket(server: Server) -> None:
    with Client(server.port) as client:
        assert client.post("/echo", b"body", *OPENING).status == 400
    with Client(server.port) as client:
        client.send(request("/echo", *OPENING).replace(b"HTTP/1.1", b"HTTP/1.0"))
        assert client.read().status == 400


def test_the_answer_is_that_of_the_rfc(server: Server) -> None:
    with RawWebSocket(server.port) as ws:
        status, *fields = ws.head.removesuffix("\r\n\r\n").split("\r\n")
        assert status == "HTTP/1.1 101 Switching Protocols"
        assert {"Upgrade: websocket", "Connection: Upgrade"} <= set(fields)
        assert "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in fields  # section 1.3
        assert "Extensions" not in ws.head


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [("chat.v1", "chat.v1"), ("other, chat.v1, chat.v2", "chat.v1"), ("other", "None"), ("", "None")],
)
def test_a_subprotocol_is_chosen_that_both_speak(server: Server, offered: str, chosen: str) -> None:
    fields = [f"Sec-WebSocket-Protocol: {offered}"] if offered else []
    with RawWebSocket(server.port, "/about", "Origin: https://a.example", *fields) as ws:
        assert ws.read() == Frame(TEXT, f"/about https://a.example {chosen} 13".encode())
        assert (f"Sec-WebSocket-Protocol: {chosen}\r\n" in ws.head) is (chosen != "None")


def test_pages_of_another_origin_may_be_refused(server: Server) -> None:
    with Client(server.port) as client:
        assert client.get("/ours", *OPENING, "Origin: https://theirs.example").status == 403
    with RawWebSocket(server.port, "/ours", "Origin: https://ours.example") as ws:
        ws.send(HELLO)
        assert ws.read() == HELLO


def test_what_is_sent_ahead_of_the_answer_is_not_lost(server: Server) -> None:
    with Client(server.port) as client:
        client.send(request("/plain", *OPENING) + Frame(PING, b"early").encoded() + HELLO.encoded())
        client.wait_for(b"\x8a\x05early")
        client.wait_for(b"\x81\x05Hello")


# Messages -------------------------------------------------------------------------------------------------------------


def test_a_handler_may_close_with_a_code_and_a_reason(server: Server) -> None:
    with RawWebSocket(server.port, "/closes") as ws:
        assert ws.read() == close(4001, b"enough")
        ws.send(close(4001))
        assert ws.ends()


def test_a_handler_that_raises_closes_with_1011_and_the_log_has_its_traceback(server: Server) -> None:
    mark = server.mark()
    with RawWebSocket(server.port, "/raises") as ws:
        ws.send(HELLO)
        assert code_of(ws.read_all()) == 1011
    server.wait_for_log("application raised method=GET path='/raises'", after=mark)
    server.wait_for_log("LookupError: on purpose", after=mark)


def test_a_wait_may_have_an_end(server: Server) -> None:
    with RawWebSocket(server.port, "/late") as ws:
        assert ws.read() == Frame(TEXT, b"nothing came")
        ws.send(HELLO)
        assert ws.read() == HELLO


def test_a_silent_client_is_pinged_and_one_that_does_not_answer_is_closed(server: Server) -> None:
    with RawWebSocket(server.port, "/pinging") as ws:
        for _ in range(3):
            assert ws.read() == Frame(PING)
            ws.send(Frame(PONG))
    with RawWebSocket(server.port, "/impatient") as ws:
        assert ws.read() == Frame(PING)
        assert code_of(ws.read_all()) == 1011


def test_a_client_that_takes_nothing_does_not_hold_its_handler(server: Server) -> None:
    with RawWebSocket(server.port, "/stuck"):
        assert last_line(server, "/stuck").startswith("101 ")


# A connection without a protocol --------------------------------------------------------------------------------------


def test_a_connection_is_handed_over_with_what_has_come_ahead(server: Server) -> None:
    with tunnel(server, ahead=b"ahead") as client:
        client.wait_for(b"ahead")
        client.send(b"and more")
        client.wait_for(b"and more")
        client.sock.shutdown(socket.SHUT_WR)
        assert client.read_eof().endswith(b"aheadand more")  # what is returned behind a tunnel is not sent
    assert re.match(r"101 13 .* [\d.]+$", last_line(server, "/raw"))


def test_a_file_of_it_has_what_came_ahead_and_what_frameworks_answer_is_dropped(server: Server) -> None:
    with tunnel(server, "/lines", b"one\ntwo\nth") as client:
        client.wait_for(b"ONE\nTWO\n")
        client.send(b"ree\n")
        client.wait_for(b"THREE\n")
        client.sock.shutdown(socket.SHUT_WR)
        assert client.read_eof().endswith(b"THREE\n")
    assert last_line(server, "/lines").startswith("101 14 ")


def test_connect_may_be_read_from(server: Server) -> None:
    with Client(server.port) as client:
        client.send(b"CONNECT example.org:443 HTTP/1.1\r\nHost: example.org:443\r\n\r\n")
        client.wait_for(b"HTTP/1.1 200 OK\r\n\r\n")
        client.send(b"through")
        client.wait_for(b"through")


def test_an_upgrade_that_nobody_takes_is_a_plain_request(server: Server) -> None:
    with Client(server.port) as client:
        for _ in range(3):
            answer = client.get("/", *UPGRADE)
            assert (answer.status, answer.text, answer.closes) == (200, "version 1", False)


def test_only_what_asks_for_it_is_offered_a_connection_and_only_for_its_own_request(server: Server) -> None:
    with Client(server.port) as client:
        assert client.get("/keep").text == "not offered"
        assert client.get("/keep", *UPGRADE).text == "offered"
        assert "behind the end of its request" in client.get("/keep").text
        assert client.get("/keep", *UPGRADE).text == "offered"
        assert "behind the end of its request" in client.get("/keep", *UPGRADE).text
        client.send(request("/keep", *UPGRADE).replace(b"HTTP/1.1", b"HTTP/1.0"))
        assert "behind the end" in client.read().text


def test_a_response_that_has_begun_cannot_become_a_tunnel(server: Server) -> None:
    with Client(server.port) as client:
        assert client.get("/too-late", *UPGRADE).text == (
            "begun, spawning.socket is used behind the begin of the response"
        )


def test_a_connection_may_be_taken_away_for_good(server: Server) -> None:
    with tunnel(server, "/detached") as client:
        assert last_line(server, "/detached").startswith("101 ")  # the request has ended
        client.send(b"still there")
        client.wait_for(b"still there")


# What they cost -------------------------------------------------------------------------------------------------------


def test_tunnels_take_no_threads_from_requests_and_are_shown(server: Server, control: Path) -> None:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(RawWebSocket(server.port, "/echo")) for _ in range(20)]
        assert fetch(server.port, "/").status == 200
        shown = spawnctl("-S", control, "requests").out
        assert len(re.findall(r"GET /echo \(tunnel\)$", shown, re.MULTILINE)) >= 20
        for ws in sockets:
            ws.send(HELLO)
            assert ws.read() == HELLO

        def tunnels() -> int:
            (generation,) = json.loads(spawnctl("-S", control, "status", "--json").out)["generations"]
            (worker,) = generation["workers"]
            return int(worker["tunnels"] or 0) if worker["executing"] == 0 else 0

        until(lambda: tunnels() >= 20, "the status counts them")


def test_there_are_no_more_tunnels_than_there_may_be() -> None:
    options = ("-s", "1", "-t", "1", "--max-tunnels", "2")
    with Server("sockets.application", *options) as server, contextlib.ExitStack() as stack:
        first, _ = (stack.enter_context(RawWebSocket(server.port, "/plain")) for _ in range(2))
        with Client(server.port) as client:
            answer = client.get("/plain", *OPENING)
            assert (answer.status, answer.closes) == (503, True)
        server.wait_for_log("no connection can be taken, .* see --max-tunnels most=2")
        assert server.out.find('"GET /plain HTTP/1.1" 503 ', DEADLINE)
        assert fetch(server.port, "/").status == 200
        first.send(close(1000))
        assert code_of(first.read_all()) == 1000
        first.sock.close()

        def opened() -> bool:
            with Client(server.port) as client:
                client.send(request("/plain", *OPENING))
                return client.sock.recv(12) == b"HTTP/1.1 101"

        until(opened, "there is room again")
        assert "Traceback" not in server.log()


def test_abrupt_ends_leave_nothing_behind(server: Server) -> None:
    (worker,) = server.workers()
    process = psutil.Process(worker.pid)

    def end_abruptly(target: str, *frames: Frame | bytes) -> None:
        with RawWebSocket(server.port, target) as ws:
            ws.send(*frames)
            ws.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # a reset

    def end_all() -> None:
        for target in ("/echo", "/plain", "/pinging"):
            end_abruptly(target)
            end_abruptly(target, Frame(TEXT, b"*" * 100_000), Frame(TEXT, b"half of it").encoded()[:7])
            end_abruptly(target, *[Frame(PING, b"p")] * 100)
            end_abruptly(target, close(1000))
            with RawWebSocket(server.port, target):
                pass

    mark = server.mark()
    end_all()  # so that there are as many threads as are needed
    before = until(lambda: process.num_fds() if not process.net_connections("tcp4")[1:] else 0, "all are gone")
    for _ in range(5):
        end_all()
    until(lambda: process.num_fds() <= before, f"there are {before} descriptors again")
    assert "Traceback" not in "\n".join(server.err.since(mark))


def test_the_request_timeout_is_not_for_tunnels() -> None:
    with Server("sockets.application", "-s", "1", "-t", "2", "--request-timeout", "0.2") as server:
        with RawWebSocket(server.port, "/plain") as ws, tunnel(server) as client:
            assert fetch(server.port, "/hangs").status == 504  # so they are older than it
            ws.send(HELLO)
            assert ws.read() == HELLO
            client.send(b"alive")
            client.wait_for(b"alive")
        server.wait_for_log("request timed out .* path='/hangs'")
        assert len(re.findall("request timed out", server.log())) == 1


@pytest.mark.parametrize("mode", [("--max-tunnels", "2000"), ("-t", "0")], ids=["threads", "green"])
def test_two_thousand_of_them_are_served_and_closed_at_a_reload(tmp_path: Path, mode: tuple[str, str]) -> None:
    with (
        site(tmp_path, "--deadman_timeout", "0.5", "-l", "/dev/null", *mode) as server,
        contextlib.ExitStack() as stack,
        more_descriptors(3000),
    ):
        sockets = [stack.enter_context(RawWebSocket(server.port, "/plain")) for _ in range(2000)]
        for _ in range(2):
            for ws in sockets:
                ws.send(HELLO)
            assert [ws.read() for ws in sockets] == [HELLO] * 2000
        assert server.reload()
        assert {code_of(ws.read_all()) for ws in sockets} == {1012}
        # Half a second for two thousand ends is enough, but not on any machine.
        server.wait_for_log(r" worker (retired|killed) worker=1.1 ")


@contextlib.contextmanager
def more_descriptors(count: int) -> Iterator[None]:
    """Allow this process to open so many, which some shells do not."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(count, hard)), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


# Reload and stop ------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def site(directory: Path, *options: str) -> Iterator[Server]:
    (directory / "version").write_text("1")
    variables = {"VERSION_FILE": str(directory / "version")}
    with Server("sockets.application", "-s", "1", "-t", "2", *options, env=variables) as server:
        yield server


@pytest.mark.parametrize("threads", ["2", "0"])
def test_open_ones_go_on_at_a_reload_and_new_ones_get_the_new_code(tmp_path: Path, threads: str) -> None:
    with site(tmp_path, "--deadman_timeout", "1", "-t", threads) as server:
        with (
            RawWebSocket(server.port, "/greeting") as old,
            tunnel(server) as raw,
            RawWebSocket(server.port, "/elsewhere") as waiting,
        ):
            assert old.read() == Frame(TEXT, b"version 1")
            assert waiting.read() == Frame(TEXT, b"waiting")
            (tmp_path / "version").write_text("2")
            assert server.reload()
            with RawWebSocket(server.port, "/greeting") as new:
                assert new.read() == Frame(TEXT, b"version 2")
                old.send(HELLO)
                raw.send(b"still there")
                assert old.read() == HELLO
                raw.wait_for(b"still there")
                assert code_of(old.read_all()) == 1012  # when the time is over
                assert code_of(waiting.read_all()) == 1012  # also where nobody waits for a message
                raw.read_eof()
                server.wait_for_log(r" worker (retired|killed|died) worker=1.1 ")
                new.send(HELLO)
                assert new.read() == HELLO
        log = server.log()
        assert "request given up" not in log
        assert "not finished within" not in log


@pytest.mark.parametrize("target", ["/greeting", "/elsewhere"])
def test_they_are_closed_when_the_service_stops_and_its_time_is_over(tmp_path: Path, target: str) -> None:
    with site(tmp_path, "--deadman_timeout", "1") as server, RawWebSocket(server.port, target) as ws:
        ws.read()
        server.signal(signal.SIGTERM)
        assert code_of(ws.read_all()) == 1001
        assert server.wait() == 0


def test_ctrl_c_does_not_wait_for_them(tmp_path: Path) -> None:
    with site(tmp_path) as server, RawWebSocket(server.port, "/greeting") as ws, tunnel(server) as client:
        ws.read()
        server.signal(signal.SIGINT)
        assert code_of(ws.read_all()) == 1001
        client.read_eof()
        assert server.wait() == 0


def test_nor_does_a_reload_while_developing(tmp_path: Path) -> None:
    with site(tmp_path, "--reload", "dev") as server, RawWebSocket(server.port, "/greeting") as ws:
        ws.read()
        (tmp_path / "version").write_text("2")
        assert server.reload()
        assert code_of(ws.read_all()) == 1012
        server.wait_for_log(r" worker retired worker=1.1 ")
        assert "request given up" not in server.log()


# Over TLS -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def secure(certificate: Certificate) -> Iterator[Server]:
    with Server("sockets.application", "-s", "1", "-t", "1", *certificate.options, bind="127.0.0.1:0") as server:
        yield server


def test_messages_of_any_size_pass_over_tls(secure: Server, certificate: Certificate) -> None:
    sizes = (0, 1, 125, 16384, 16385, 65536, 1_000_000, 4_000_000)
    with RawWebSocket(secure.port, "/plain", secure=trusting(certificate)) as ws:
        for size in sizes:
            ws.send(Frame(BINARY, b"\xfe" * size))
            assert ws.read() == Frame(BINARY, b"\xfe" * size)
        ws.send(*[Frame(TEXT, b"%d" % n) for n in range(1000)])  # many in one record
        assert [ws.read() for _ in range(1000)] == [Frame(TEXT, b"%d" % n) for n in range(1000)]
        ws.send(close(1000))
        assert code_of(ws.read_all()) == 1000


def test_a_silent_client_is_pinged_over_tls(secure: Server, certificate: Certificate) -> None:
    with RawWebSocket(secure.port, "/pinging", secure=trusting(certificate)) as ws:
        for _ in range(3):
            assert ws.read() == Frame(PING)
            ws.send(Frame(PONG))


def test_a_client_that_takes_nothing_over_tls_does_not_hold_its_handler(
    secure: Server, certificate: Certificate
) -> None:
    with RawWebSocket(secure.port, "/stuck", secure=trusting(certificate)):
        assert last_line(secure, "/stuck").startswith("101 ")


@pytest.mark.parametrize("target", ["/raw", "/lines"])
def test_what_an_application_takes_is_not_encrypted_for_it(
    secure: Server, certificate: Certificate, target: str
) -> None:
    with Client(secure.port) as client:
        client.sock = trusting(certificate).wrap_socket(client.sock, server_hostname="localhost")
        client.send(request(target, *UPGRADE) + b"AHEAD\n")
        client.wait_for(b"AHEAD\n")
        client.send(b"AND " + b"MORE" * 10_000 + b"\n")
        client.wait_for(b"MORE\n")
        client.sock.shutdown(socket.SHUT_WR)
    assert last_line(secure, target).startswith("101 40011 ")


def test_two_threads_may_send_and_receive_at_once_over_tls(secure: Server, certificate: Certificate) -> None:
    """The client sends without reading until both sides are full, so the handler's receiving must not wait for its own
    sending.
    """
    with RawWebSocket(secure.port, "/both", secure=trusting(certificate)) as ws:
        ws.send(*[Frame(BINARY, bytes(100_000))] * 50)
        received = sum(len(ws.read().payload) for _ in range(50))
        assert received == 5_000_000
        assert ws.read() == Frame(TEXT, b"5000000")


@pytest.mark.parametrize("target", ["/greeting", "/elsewhere"])
def test_they_are_closed_over_tls_at_a_reload(certificate: Certificate, tmp_path: Path, target: str) -> None:
    options = ("--deadman_timeout", "0.5", *certificate.options)
    with site(tmp_path, *options) as server:
        with RawWebSocket(server.port, target, secure=trusting(certificate)) as ws:
            ws.read()
            assert server.reload()
            assert code_of(ws.read_all()) == 1012
            server.wait_for_log(r" worker retired worker=1.1 ")
        assert "request given up" not in server.log()
        assert "Traceback" not in server.log()


@pytest.mark.parametrize("threads", ["1", "0"], ids=["threads", "green"])
def test_they_pass_through_a_ferry(certificate: Certificate, tmp_path: Path, threads: str) -> None:
    """One is opened on a connection that was idle at a reload, whose session is in the worker before."""
    options = ("--deadman_timeout", "0.5", *certificate.options, "-t", threads)
    with site(tmp_path, *options) as server, Client(f"tls:{server.port}") as one, Client(f"tls:{server.port}") as two:
        assert (one.get("/").status, two.get("/").status) == (200, 200)
        (tmp_path / "version").write_text("2")
        assert server.reload()
        with RawWebSocket(server.port, "/greeting", through=one.sock) as ws:
            assert ws.read() == Frame(TEXT, b"version 2")
            for size in (0, 125, 65536, 4_000_000):
                ws.send(Frame(BINARY, b"\xfe" * size))
                assert ws.read() == Frame(BINARY, b"\xfe" * size)
            ws.send(close(1000))
            assert code_of(ws.read_all()) == 1000
        with RawWebSocket(server.port, "/greeting", through=two.sock) as ws:
            ws.read()
            assert server.reload()
            assert code_of(ws.read_all()) == 1012
        for worker in ("1.1", "2.1"):
            server.wait_for_log(rf" worker retired worker={worker} ")
        assert "Traceback" not in server.log()
        assert " killed " not in server.log()


# What is missing ------------------------------------------------------------------------------------------------------


def test_without_wsproto_one_line_names_the_extra(tmp_path: Path) -> None:
    (tmp_path / "wsproto.py").write_text("raise ModuleNotFoundError('no wsproto', name='wsproto')")
    (tmp_path / "site_app.py").write_text("from spawning.websocket import WebSocketWSGI")
    finished = run("site_app:application", cwd=tmp_path, env={"PYTHONPATH": str(tmp_path)})
    assert finished.status == 2
    (line,) = [line for line in finished.err.splitlines() if "spawning[websocket]" in line]
    assert "pip install wsproto" in line
    assert "Traceback" not in finished.err
