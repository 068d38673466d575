"""WSGI's finer points through the real command."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from integration.client import Client, fetch
from integration.server import Server

QUIET = ("-s", "1", "-t", "4", "-l", "/dev/null")

# wsgi.errors ---------------------------------------------------------------------------------------------------------


def test_wsgi_errors_goes_to_the_log_by_lines() -> None:
    with Server("pep3333.application", *QUIET) as server:
        fetch(server.port, "/errors?flush")
        server.wait_for_log(r"^\d{4}-.* \[\d+\] ERROR unended line$")
        assert [line.partition("] ")[2] for line in server.err.since() if " ERROR " in line] == [
            "ERROR first line",
            "ERROR second line",
            "ERROR unended line",
        ]


def test_a_line_that_never_ends_is_written_when_the_worker_ends() -> None:
    with Server("pep3333.application", *QUIET) as server:
        fetch(server.port, "/errors")
        server.stop()
        assert "ERROR unended line" in server.log()


# Trust ---------------------------------------------------------------------------------------------------------------

SAID = ("X-Forwarded-For: 203.0.113.66, 203.0.113.9", "X-Forwarded-Proto: https", "X-Forwarded-Prefix: /shop")


def environ(client: Client, *fields: str, target: str = "/environ") -> dict[str, Any]:
    found: dict[str, Any] = json.loads(client.get(target, *fields).body)
    return found


def clients(server: Server, count: int) -> Iterator[Client]:
    """Give one new connection after the other."""
    for _ in range(count):
        with Client(server.port) as client:
            yield client


def test_nobody_is_trusted_by_default() -> None:
    with Server("pep3333.application", *QUIET) as server, Client(server.port) as client:
        found = environ(client, *SAID, "Forwarded: nonsense")
    assert (found["REMOTE_ADDR"], found["wsgi.url_scheme"], found["SCRIPT_NAME"]) == ("127.0.0.1", "http", "")
    assert not [key for key in found if "FORWARDED" in key]


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
