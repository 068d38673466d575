"""What people, applications and clients do wrong, and what they are told: each row of the table in its own words."""

import os
import re
import socket
import sys
from pathlib import Path

import pytest

from integration.client import Client, Closed, fetch, request
from integration.server import Finished, Server, run

DJANGO_SITE = Path(__file__).parents[2] / "examples" / "django_site"

# The command line ----------------------------------------------------------------------------------------------------


def one_line(finished: Finished) -> str:
    """Return the only line of stderr of a command that ended for a usage or configuration error."""
    assert finished.status == 2, finished
    (line,) = finished.err.splitlines()
    assert line.startswith("spawn: ")
    return line


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--no-such-option", "basics.application"], ["--no-such-option"]),
        ([], ["APP"]),
        (["-s", "many", "basics.application"], ["--processes", "many", "whole number"]),
        (["-t", "-1", "basics.application"], ["--threads", "-1", "from 0"]),
        (["--boot-timeout", "-3", "basics.application"], ["--boot-timeout", "-3", "seconds"]),
        (["--reload", "always", "basics.application"], ["--reload", "always", "dev"]),
        (["--port", "123456", "basics.application"], ["--port", "123456", "65535"]),
        (["--host", "no.such.host.invalid", "basics.application"], ["--host", "no.such.host.invalid"]),
        (["--access-log-file", "/no/such/directory/log", "basics.application"], ["--access-log-file", "/no/such"]),
        (["--pidfile", "/no/such/directory/pid", "basics.application"], ["--pidfile", "/no/such/directory/pid"]),
    ],
)
def test_a_bad_option_is_one_line_that_names_it(args: list[str], words: list[str]) -> None:
    line = one_line(run(*args))
    assert [word for word in words if word not in line] == [], line


@pytest.mark.parametrize("name", ["PORT", "WEB_CONCURRENCY"])
def test_a_bad_environment_variable_is_named(name: str) -> None:
    command = [sys.executable, "-m", "spawning", "basics.application"]
    with Server(command=command, env={name: "lots"}, ready=False) as server:
        line = one_line(Finished(server.wait(), "", server.log()))
    assert name in line
    assert "lots" in line


def test_a_port_that_is_taken_is_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        line = one_line(run("--port", port, "--pidfile", str(tmp_path / "pid"), "basics.application"))
    assert port in line
    assert "--port" in line
    assert not (tmp_path / "pid").exists()


def test_a_privileged_port_is_one_line() -> None:
    command = [sys.executable, "-m", "spawning", "--port", "1", "basics.application"]
    if os.geteuid() == 0:  # root without the capability is as powerless as anybody
        command = ["setpriv", "--bounding-set", "-net_bind_service", *command]
    with Server(command=command, ready=False) as server:
        line = one_line(Finished(server.wait(), "", server.log()))
    assert "--port" in line
    assert re.search(r"\b1\b", line)


def test_a_missing_extra_is_one_line_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\nsys.modules['paste.deploy'] = None\n"
    )  # as if not installed
    (tmp_path / "development.ini").write_text("[app:main]\nuse = egg:nothing\n")
    line = one_line(run("-f", "paste", "development.ini", cwd=tmp_path, env={"PYTHONPATH": str(tmp_path)}))
    assert "spawning[paste]" in line


# The application at first start --------------------------------------------------------------------------------------


def app_error(finished: Finished) -> tuple[str, str]:
    """Return traceback and last line of a command whose application could not be loaded."""
    assert finished.status == 3, finished
    trace, _, last = finished.err.rpartition("\n")
    return trace, last


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("no_such_module.application", ["no_such_module"]),
        ("basics.no_such_name", ["basics", "no_such_name"]),
        ("basics:aplication", ["aplication", "application"]),
        ("basics.PATHS", ["basics.PATHS", "callable"]),
    ],
)
def test_an_application_that_is_not_there_is_named(name: str, words: list[str]) -> None:
    _, last = app_error(run("-s", "1", name))
    assert [word for word in words if word not in last] == [], last


def test_an_application_that_raises_shows_its_own_traceback(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("import json\n\njson.loads('no')\n")
    trace, last = app_error(run("broken.application", cwd=tmp_path))
    assert 'broken.py", line 3' in trace
    assert "JSONDecodeError" in trace
    assert "importlib" not in trace
    assert "spawning/" not in trace
    assert "broken" in last


@pytest.mark.parametrize("options", [[], ["--no-preload"]])
def test_a_missing_settings_module_is_named(options: list[str]) -> None:
    _, last = app_error(run("-f", "django", *options, "no_such_settings", cwd=DJANGO_SITE))
    assert "no_such_settings" in last


def test_a_misconfigured_django_says_what_django_says(tmp_path: Path) -> None:
    (tmp_path / "settings.py").write_text("SECRET_KEY = 'x'\nROOT_URLCONF = 'no_such_urls'\n")
    finished = run("-f", "django", "settings", cwd=tmp_path)
    assert finished.status == 3
    assert "no_such_urls" in finished.err


def test_with_reload_dev_a_broken_application_waits_for_its_repair(tmp_path: Path) -> None:
    source = tmp_path / "repaired.py"
    source.write_text("raise LookupError('not yet')\n")
    options = ["--reload", "dev", "-s", "1", "repaired.application"]
    with Server(*options, cwd=tmp_path, env={"PYTHONDONTWRITEBYTECODE": "1"}, ready=False) as server:
        server.wait_for_log("^  LookupError: not yet")
        source.write_text("from basics import application\n")
        (tmp_path / "basics.py").write_text((Path(__file__).parent / "apps" / "basics.py").read_text())
        source.touch()
        server.wait_for_log(r" (ready url|reload finished )")


# Clients -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"\x17\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
        (b"GET\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nNo colon\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nno size\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabcd\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX-Long: " + b"x" * 140_000 + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X-Many: 1\r\n" * 200 + b"\r\n", 431),
    ],
    ids=lambda value: (
        value[:60].decode("latin-1").encode("unicode_escape").decode() if isinstance(value, bytes) else None
    ),
)
def test_what_is_no_request_is_refused_and_the_connection_closed(basics: Server, data: bytes, status: int) -> None:
    with Client(basics.port) as client:
        client.send(data)
        response = client.read()
        assert (response.status, response.closes) == (status, True)
        assert 0 < len(response.body) < 1000
        assert client.read_eof() == b""
    assert fetch(basics.port, "/hello").status == 200


def test_a_refused_request_is_one_debug_line() -> None:
    with Server("basics.application", "-s", "1", "-v") as server:
        with Client(server.port) as client:
            client.send(b"nonsense\r\n\r\n")
            assert client.read().status == 400
        assert " DEBUG " in server.wait_for_log(r".* status=400 .*|.*bad request.*").group()


# Applications --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/raise-early", "early on purpose"),
        ("/raise-started", "started on purpose"),
    ],
)
def test_an_application_that_fails_before_a_byte_is_answered_500(basics: Server, path: str, name: str) -> None:
    mark = basics.mark()
    assert fetch(basics.port, path).status == 500
    basics.wait_for_log(rf" ERROR .*method=GET path='?{path}", after=mark)
    basics.wait_for_log(name, after=mark)
    assert fetch(basics.port, "/hello").status == 200
    assert sum("Traceback" in line for line in basics.err.since(mark)) == 1


@pytest.mark.parametrize("path", ["/not-bytes", "/too-short", "/too-long"])
def test_a_response_that_cannot_be_sent_is_answered_500(basics: Server, path: str) -> None:
    mark = basics.mark()
    assert fetch(basics.port, path).status == 500
    basics.wait_for_log(rf" ERROR .*method=GET path='{path}'$", after=mark)
    assert fetch(basics.port, "/hello").status == 200
    assert len(basics.err.since(mark)) == 1


@pytest.mark.parametrize("path", ["/raise-late", "/too-short-stream"])
def test_a_response_that_cannot_be_finished_is_cut(basics: Server, path: str) -> None:
    mark = basics.mark()
    with Client(basics.port) as client, pytest.raises(Closed):
        client.get(path)
    basics.wait_for_log(rf"path='?{path}", after=mark)
    assert fetch(basics.port, "/hello").status == 200


def test_a_response_longer_than_promised_is_no_second_response(basics: Server) -> None:
    mark = basics.mark()
    with Client(basics.port) as client:
        client.send(request("/too-long-stream", "Connection: close"))
        assert b"67890" not in client.read_eof()
    basics.wait_for_log(r" ERROR response longer .*path='/too-long-stream'$", after=mark)


def test_a_field_cannot_be_smuggled_into_a_response(basics: Server) -> None:
    response = fetch(basics.port, "/split-header")
    assert response.status == 500
    assert response["x-injected"] == ""
