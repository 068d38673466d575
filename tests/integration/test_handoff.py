"""Connections that are in the middle of something when a reload comes: they migrate too, none is closed."""

import os
import signal
from pathlib import Path

import pytest

from integration.client import Client, request
from integration.gate import Gate
from integration.server import APPS, Server
from integration.sites import version, write

_SITE = """\
import sys

sys.path.append({apps!r})
import basics

VERSION = {version!r}


def application(environ, start_response):
    if environ["PATH_INFO"] == "/hold":
        return basics.hold(environ, start_response)
    body = VERSION.encode() + b":" + environ["wsgi.input"].read()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
"""


def write_site(directory: Path, version: str) -> None:
    (directory / "site_app.py").write_text(_SITE.format(apps=str(APPS), version=version))


def serve(directory: Path, bind: str) -> Server:
    env = {"PYTHONDONTWRITEBYTECODE": "1"}
    return Server("site_app:application", "-s", "1", "-t", "2", cwd=directory, env=env, bind=bind)


# Over TLS connections end behind the first response of another worker than the one that has their session (ferries).
everywhere = pytest.mark.parametrize("bind", ["tcp", "tls"], indirect=True)


@everywhere
def test_a_head_received_in_part_is_answered_by_the_new_code(tmp_path: Path, bind: str) -> None:
    write(tmp_path, "1")
    with serve(tmp_path, bind) as server, Client(server.where) as client, Client(server.where) as fresh:
        assert client.get("/").text == "1"
        whole = request("/", "X-Long: " + "x" * 5000)
        client.send(whole[:3000])
        fresh.send(whole[:10])
        write(tmp_path, "2")
        assert server.reload()
        for each, sent in ((client, 3000), (fresh, 10)):
            each.send(whole[sent:])
            answer = each.read()
            assert (answer.text, answer.closes) == ("2", server.secure)
            assert server.secure or each.get("/").text == "2"
        server.wait_for_log(r"worker retired worker=1\.1 ")


@everywhere
def test_a_body_received_in_part_is_answered_by_the_old_code_and_its_connection_migrates(
    tmp_path: Path, bind: str
) -> None:
    write_site(tmp_path, "1")
    with serve(tmp_path, bind) as server, Client(server.where) as client:
        client.send(request("/", "Content-Length: 6", "Expect: 100-continue", method="POST"))
        assert client.read().status == 100
        client.send(b"abc")
        write_site(tmp_path, "2")
        assert server.reload()
        assert version(server.where) == "2:"
        client.send(b"def")
        answer = client.read()
        assert (answer.text, answer.closes) == ("1:abcdef", server.secure)
        if not server.secure:
            answer = client.get("/")
            assert (answer.text, answer.closes) == ("2:", False)
        server.wait_for_log(r"worker retired worker=1\.1 ")


@everywhere
def test_what_is_pipelined_behind_a_request_under_way_is_answered_by_the_new_code(
    gate: Gate, tmp_path: Path, bind: str
) -> None:
    write_site(tmp_path, "1")
    with serve(tmp_path, bind) as server, Client(server.where) as client:
        body = bytes(range(256)) * 500  # more than a datagram of the channel holds
        post = request("/", f"Content-Length: {len(body)}", method="POST") + body
        client.send(request(gate.target) + request("/") + post + request("/"))
        gate.wait_entered()
        write_site(tmp_path, "2")
        assert server.reload()
        gate.open()
        answers = [client.read() for _ in range(4)]
        assert [answer.body for answer in answers] == [b"held\n", b"2:", b"2:" + body, b"2:"]
        assert [answer.closes for answer in answers] == [False, False, False, server.secure]
        assert server.secure or client.get("/").text == "2:"
        server.wait_for_log(r"worker retired worker=1\.1 ")


def test_connections_that_are_on_their_way_when_the_controller_is_killed_are_served(tmp_path: Path) -> None:
    """The new workers have not been told to start; what the old ones have sent would be lost with the last of them."""
    source = (
        "import os\n\n\ndef application(environ, start_response):\n"
        "    start_response('200 OK', [])\n    return [str(os.getpid()).encode()]\n"
    )
    (tmp_path / "site_app.py").write_text(source)
    with Server("site_app:application", "-s", "2", cwd=tmp_path) as server, Client(server.port) as client:
        pid = int(client.get("/").text)
        (serving,) = (worker.name for worker in server.wait_workers(2) if worker.pid == pid)
        (silent,) = (worker.pid for worker in server.workers() if worker.pid != pid)
        os.kill(silent, signal.SIGSTOP)  # the cutover waits for it
        server.signal(signal.SIGHUP)
        server.wait_for_log(rf" worker retired worker={serving} ")
        server.signal(signal.SIGKILL)
        os.kill(silent, signal.SIGCONT)
        assert client.get("/").status == 200
    server.wait_gone()
