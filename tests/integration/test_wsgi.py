"""WSGI's finer points through the real command."""

import contextlib
import json
import re
import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from integration.client import Client, fetch, request
from integration.clients import leave
from integration.gate import Gate
from integration.server import Server, until

QUIET = ("-s", "1", "-t", "4", "-l", "/dev/null")

# Environ -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("workers", "threads"), [(1, 1), (1, 2), (2, 1)])
def test_threads_and_processes_are_what_was_asked_for(workers: int, threads: int) -> None:
    with Server("pep3333.application", "-s", str(workers), "-t", str(threads)) as server:
        found = json.loads(fetch(server.port).body)
    assert (found["wsgi.multiprocess"], found["wsgi.multithread"]) == (workers > 1, threads > 1)


# wsgi.errors ---------------------------------------------------------------------------------------------------------


def test_wsgi_errors_goes_to_the_log_by_lines_and_as_it_is() -> None:
    with Server("pep3333.application", *QUIET) as server:
        mark = server.mark()
        fetch(server.port, "/errors?flush")
        server.wait_for_log(r"^unended line$")
        assert server.err.since(mark) == ["first line", "\x1b[1msecond\x1b[0m line", "unended line"]


def test_what_a_handler_has_stamped_is_not_stamped_again(tmp_path: Path) -> None:
    (tmp_path / "logs.py").write_text(
        "import logging\n"
        "def application(environ, start_response):\n"
        "    handler = logging.StreamHandler(environ['wsgi.errors'])\n"
        "    handler.setFormatter(logging.Formatter('%(asctime)s %(levelname)s %(message)s'))\n"
        "    handler.handle(logging.makeLogRecord({'msg': 'in two\\nlines', 'levelname': 'INFO'}))\n"
        "    start_response('200 OK', [])\n"
        "    return []\n"
    )
    with Server("logs:application", *QUIET, cwd=tmp_path) as server:
        mark = server.mark()
        fetch(server.port)
        server.wait_for_log(r"^lines$")
        first, second = server.err.since(mark)
    assert re.fullmatch(r"[-\d]+ [:,\d]+ INFO in two", first)
    assert second == "lines"


def test_lines_of_several_workers_do_not_mix(tmp_path: Path) -> None:
    """Eight clients have three workers write what is longer than a pipe takes at once."""
    (tmp_path / "writes.py").write_text(
        "def application(environ, start_response):\n"
        "    mark = environ['QUERY_STRING']\n"
        "    for _ in range(40):\n"
        "        environ['wsgi.errors'].write((mark * 300 + '\\n') * 20)\n"
        "    start_response('200 OK', [])\n"
        "    return []\n"
    )
    with Server("writes:application", "-s", "3", "-t", "4", "-l", "/dev/null", cwd=tmp_path) as server:
        mark = server.mark()
        with contextlib.ExitStack() as stack:
            open_ones = [stack.enter_context(Client(server.port)) for _ in range(8)]
            for client, letter in zip(open_ones, "abcdefgh", strict=True):
                client.send(request(f"/?{letter}"))
            assert [client.read().status for client in open_ones] == [200] * 8
        until(lambda: len(server.err.since(mark)) >= 8 * 800, "all lines")
        lines = server.err.since(mark)
    assert sorted(lines) == [letter * 300 for letter in "abcdefgh" for _ in range(800)]


def test_a_line_that_never_ends_is_written_when_the_worker_ends() -> None:
    with Server("pep3333.application", *QUIET) as server:
        fetch(server.port, "/errors")
        server.stop()
        assert "unended line" in server.err.since()


# Trust ---------------------------------------------------------------------------------------------------------------

SAID = ("X-Forwarded-For: 203.0.113.66, 203.0.113.9", "X-Forwarded-Proto: https", "X-Forwarded-Prefix: /shop")


def environ(client: Client, *fields: str, target: str = "/environ") -> dict[str, Any]:
    found: dict[str, Any] = json.loads(client.get(target, *fields).body)
    return found


def clients(server: Server, count: int) -> Iterator[Client]:
    """Yield one new connection after the other."""
    for _ in range(count):
        with Client(server.port) as client:
            yield client


def test_nobody_is_trusted_by_default() -> None:
    with Server("pep3333.application", *QUIET) as server, Client(server.port) as client:
        found = environ(client, *SAID, "Forwarded: nonsense")
    assert (found["REMOTE_ADDR"], found["wsgi.url_scheme"], found["SCRIPT_NAME"]) == ("127.0.0.1", "http", "")
    assert not [key for key in found if "FORWARDED" in key]


def test_fields_that_count_for_nothing_are_named_once_a_process() -> None:
    """Behind a proxy, they are why ``SECURE_SSL_REDIRECT`` redirects for ever."""
    with Server("pep3333.application", *QUIET) as server:
        with Client(server.port) as client:
            environ(client)
            environ(client, "X-Forwarded-Proto: https", "x-forwarded-" + "a" * 1000 + ": b")
            environ(client, "Forwarded: for=1.2.3.4")
        with Client(server.port) as client:
            environ(client, "X-Forwarded-Proto: https")
        rest = "X-Forwarded-A{28} from 127\\.0\\.0\\.1 ignored, see --forwarded-allow-ips$"
        server.wait_for_log(f" WARNING X-Forwarded-Proto, {rest}".replace("A{28}", "A" + "a" * 27))
        told = server.mark()
        assert server.reload()  # another process
        with Client(server.port) as client:
            environ(client, "X-Forwarded-For: 1.2.3.4")
        server.wait_for_log("X-Forwarded-For from 127", after=told)
    assert len([line for line in server.err.since() if "ignored" in line]) == 2


def test_fields_that_count_for_nothing_beside_a_proxy_that_is_trusted_are_not_named() -> None:
    """Whoever has named the proxies knows, and strangers may send what they like."""
    with Server("pep3333.application", *QUIET, "--forwarded-allow-ips", "10.0.0.1") as server:
        with Client(server.port) as client:
            environ(client, *SAID)
        server.stop()
        assert "ignored" not in server.log()


@pytest.mark.parametrize("peers", [["127.0.0.0/8"], ["10.0.0.1", "--forwarded-allow-ips", "::1,127.0.0.1"], ["*"]])
def test_a_trusted_proxy_says_who_the_client_is(peers: list[str]) -> None:
    arguments = ("pep3333.application", "-s", "1", "--forwarded-allow-ips", *peers)
    with Server(*arguments) as server, Client(server.port) as client:
        for _ in range(2):
            found = environ(client, *SAID)
            assert (found["REMOTE_ADDR"], found["wsgi.url_scheme"]) == ("203.0.113.9", "https")
            assert (found["SCRIPT_NAME"], found["SERVER_PORT"]) == ("/shop", "443")
        assert environ(client)["REMOTE_ADDR"] == "127.0.0.1"
        server.out.find(r'^203\.0\.113\.9 - - .* "GET /environ HTTP/1\.1" 200 ', 30)


def test_a_trusted_proxy_that_writes_nonsense_is_answered_400_and_the_others_served() -> None:
    with Server("pep3333.application", *QUIET, "--forwarded-allow-ips", "*") as server:
        for earlier in (False, True):
            with Client(server.port) as client:
                if earlier:
                    environ(client)
                response = client.get("/", "X-Forwarded-Proto: gopher")
                assert (response.status, response.text) == (400, "400 Bad Request: malformed X-Forwarded-Proto field\n")
                assert client.read_eof() == b""
        assert fetch(server.port, "/").status == 200


def test_nonsense_of_a_proxy_behind_a_request_that_executes_is_refused_after_its_answer(gate: Gate) -> None:
    with Server("pep3333.application", *QUIET, "--forwarded-allow-ips", "*") as server:
        for _ in range(3):  # inline, and handed over
            with Client(server.port) as client:
                client.send(request(gate.target))
                gate.wait_entered()
                client.send(request("/", "Forwarded: for=nobody", "Content-Length: 3", method="POST") + b"abc")
                gate.open()
                assert client.read().text == "{False}"
                assert client.read().text == "400 Bad Request: malformed Forwarded field\n"
                assert client.read_eof() == b""
        assert "Traceback" not in server.log()


# --script-name -------------------------------------------------------------------------------------------------------


def test_the_application_is_below_its_script_name() -> None:
    arguments = ("pep3333.application", *QUIET, "--script-name", "/app", "--forwarded-allow-ips", "*")
    with Server(*arguments, "--ready-path", "/app/ready") as server, Client(server.port) as client:
        for target, *found in (("/app/a?b", "/app", "/a"), ("/app", "/app", ""), ("/%61pp/", "/app", "/")):
            seen = environ(client, target=target)
            assert [seen["SCRIPT_NAME"], seen["PATH_INFO"], seen["RAW_URI"]] == [*found, target]
        assert environ(client, "X-Forwarded-Prefix: /outer", target="/app/")["SCRIPT_NAME"] == "/outer/app"
        for method in ("GET", "HEAD"):
            assert client.get("/application", method=method).status == 404
        assert environ(client, target="/app/again")["PATH_INFO"] == "/again"


# REQUEST_ID ----------------------------------------------------------------------------------------------------------


def test_every_request_has_an_id_of_its_own_in_environ_and_logs() -> None:
    arguments = ("pep3333.application", "-s", "2", "--request-id-header", "X-Request-ID")
    with Server(*arguments) as server:
        seen = [environ(client, "X-Request-ID: mine") for client in clients(server, 20) for _ in range(2)]
        ids = {each["REQUEST_ID"] for each in seen}
        assert len(ids) == 40
        assert not [each for each in ids if not re.fullmatch(r"[0-9a-f]{12}-[0-9]+", each)]
        for each in ids:
            server.out.find(rf'" 200 .* \d+\.\d{{6}} {each}$', 30)
        assert fetch(server.port, "/fail").status == 500
        line = server.wait_for_log(r" ERROR application raised method=GET path='/fail' request_id=(\S+)$")
        server.out.find(rf'"GET /fail HTTP/1\.1" 500 .* {line[1]}$', 30)


def test_a_trusted_proxy_gives_the_id() -> None:
    arguments = ("pep3333.application", *QUIET, "--request-id-header", "X-Request-ID", "--forwarded-allow-ips", "*")
    with Server(*arguments) as server, Client(server.port) as client:
        assert environ(client, "X-Request-ID: from-the-proxy")["REQUEST_ID"] == "from-the-proxy"
        made = [environ(client, "X-Request-ID: not one")["REQUEST_ID"] for _ in range(2)]
        assert made[0] != made[1]
        assert "not one" not in made


def test_without_the_option_there_is_none() -> None:
    with Server("pep3333.application", *QUIET, "--forwarded-allow-ips", "*") as server, Client(server.port) as client:
        assert "REQUEST_ID" not in environ(client, "X-Request-ID: from-the-proxy")


# Early hints ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [(), ("--request-timeout", "60")])
def test_early_hints_go_ahead_of_the_head_and_never_behind_it(options: tuple[str, ...]) -> None:
    with Server("pep3333.application", *QUIET, *options) as server, Client(server.port) as client:
        for _ in range(2):
            client.send(request("/hints"))
            first, second, response = client.read(), client.read(), client.read()
            assert (first.status, second.status, response.status) == (103, 103, 200)
            assert first["link"] == "</a.css>; rel=preload; as=style, </b.js>; rel=preload; as=script"
            assert second.fields == (("x-second", "1"),)
            assert response.text == "first, last"
        client.send(request("/hints", version="HTTP/1.0"))
        assert client.read().text == "first, last"


def test_early_hints_that_would_split_a_response_are_an_error() -> None:
    with Server("pep3333.application", *QUIET) as server:
        assert fetch(server.port, "/bad-hints").status == 500
        server.wait_for_log(r"^  ValueError: value of response header X-Split has a control character: ")


def test_an_environ_that_outlives_its_request_harms_nobody() -> None:
    with Server("pep3333.application", *QUIET) as server:
        with Client(server.port) as client:
            assert client.get("/keep").text == "kept"
            assert fetch(server.port, "/use-kept").text == "False"
            assert client.get("/environ").status == 200
        until(lambda: fetch(server.port, "/use-kept").text == "True", "the end of the kept connection")


# Files ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("start", "length"), [(0, ""), (7, ""), (0, "10"), (1_000_000, "2000000"), (5_000_000, "")])
def test_a_file_is_sent_from_where_it_is_and_no_further_than_announced(tmp_path: Path, start: int, length: str) -> None:
    content = bytes(number % 251 for number in range(1009)) * 4000
    path = tmp_path / "file"
    path.write_bytes(content)
    end = start + int(length) if length else len(content)
    with Server("pep3333.application", *QUIET) as server, Client(server.port) as client:
        for _ in range(2):
            response = client.get(f"/file-part?{path}&{start}&{length}")
            assert response["content-length"] == str(len(content[start:end]))
            assert response.body == content[start:end]


def test_a_small_file_and_its_head_are_one_packet(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(5000))
    with Server("pep3333.application", *QUIET) as server, Client(server.port) as client:
        for number in range(1, 3):
            assert client.get(f"/file-part?{path}&0&").body == bytes(5000)
            information = client.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 232)
            (packets,) = struct.unpack_from("I", information, 152)  # tcpi_data_segs_in: those with data that have come
            assert packets == number


# Clients that go -----------------------------------------------------------------------------------------------------


def test_a_client_that_stays_is_there_whatever_it_has_sent_meanwhile(gate: Gate) -> None:
    with Server("pep3333.application", *QUIET) as server, Client(server.port) as client:
        assert client.get("/gone").text == "{False}"
        client.send(request(gate.target))
        gate.wait_entered()
        client.send(request("/gone"))
        gate.open()
        assert [client.read().text, client.read().text] == ["{False}", "{False}"]


@pytest.mark.parametrize("how", ["close", "reset", "half-close"])
def test_an_application_can_ask_whether_its_client_has_gone(gate: Gate, how: str) -> None:
    with Server("pep3333.application", *QUIET) as server:
        for _ in range(3):  # inline, and handed over
            with Client(server.port) as client:
                client.send(request(gate.target))
                gate.wait_entered()
                client.send(request("/gone")[:-2])  # bytes that nobody has read do not hide it
                leave(client, how)
                mark = server.mark()
                gate.open()
                server.wait_for_log(r"^gone \{True\}$", after=mark)
                if how == "half-close":
                    assert client.read().text == "{True}"  # it is answered all the same


def test_a_closed_connection_leaves_nothing_behind() -> None:
    with Server("pep3333.application", *QUIET) as server:
        fetch(server.port, "/connections")
        for _ in range(30):
            fetch(server.port, "/environ")
        until(lambda: fetch(server.port, "/connections").text == "1", "the end of the other connections")
