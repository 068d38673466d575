"""The status service: health checks, page, events and JSON; who may see them; and that it never is in the way."""

import json
import os
import re
import signal
import socket
from pathlib import Path

import jsonschema
import pytest

from integration.client import Client, Response, fetch, request
from integration.gate import Gate
from integration.ports import free_port
from integration.server import DEADLINE, Server, run, until
from integration.sites import held, version, waits_at, write
from integration.status import STATUS, counters, samples, status, status_pid, status_port, wait_counted

SITE = ("basics.application", "-s", "2", "-t", "4", *STATUS)
SCHEMA = json.loads((Path(__file__).parents[2] / "docs" / "status.schema.json").read_text())


def over_unix(path: Path, target: str) -> Response:
    client = Client.__new__(Client)
    client.sock, client._buffer = socket.socket(socket.AF_UNIX), b""
    client.sock.settimeout(DEADLINE)
    client.sock.connect(str(path))
    with client:
        return client.get(target, "Connection: close")


# Health -------------------------------------------------------------------------------------------------------------


def test_livez_is_yes_and_readyz_is_no_while_the_application_loads(tmp_path: Path, gate: Gate) -> None:
    write(tmp_path, "1", before=waits_at(gate))
    with Server("site_app:application", *STATUS, "-s", "1", cwd=tmp_path, ready=False) as server:
        port = status_port(server)
        gate.wait_entered()
        assert (fetch(port, "/livez").status, fetch(port, "/livez").text) == (200, "ok\n")
        assert fetch(port, "/readyz").status == 503
        assert "starting" in fetch(port, "/readyz").text
        gate.open()
        server.wait_ready()
        until(lambda: fetch(port, "/readyz").status == 200, "ready")


def test_readyz_is_no_while_the_service_drains() -> None:
    with Server(*SITE, "--drain-delay", "60") as server:
        port = status_port(server)
        until(lambda: fetch(port, "/readyz").status == 200, "ready")
        server.signal(signal.SIGTERM)
        until(lambda: fetch(port, "/readyz").status == 503, "not ready")
        assert fetch(port, "/livez").status == 200
        assert fetch(server.port, "/hello").status == 200
        assert server.stop(signal.SIGINT) == 0


def test_it_answers_until_the_last_request_is_finished(gate: Gate) -> None:
    with Server(*SITE) as server, held(gate, server.port) as client:
        port = status_port(server)
        server.signal(signal.SIGTERM)
        until(lambda: fetch(port, "/readyz").status == 503, "not ready")
        values = status(port)
        assert (values["service"], values["ready"], values["phase"]) == ("drain", False, "stopping")
        gate.open()
        assert client.read().status == 200
        assert server.wait() == 0
        assert "status service died" not in server.log()


def test_readyz_is_no_without_a_worker(tmp_path: Path) -> None:
    write(tmp_path, "1")
    with Server(
        "site_app:application", *STATUS, "-s", "1", "--no-preload", "--keep-previous", "0", cwd=tmp_path
    ) as server:
        port = status_port(server)
        until(lambda: fetch(port, "/readyz").status == 200, "ready")
        write(tmp_path, "2", before="raise ValueError('broken meanwhile')")
        os.kill(server.workers()[0].pid, signal.SIGKILL)
        until(lambda: fetch(port, "/readyz").status == 503, "not ready")
        assert fetch(port, "/livez").status == 200
        write(tmp_path, "3")
        until(lambda: fetch(port, "/readyz").status == 200, "ready")
        assert version(server.port) == "3"


def test_livez_is_no_when_the_controller_hangs() -> None:
    with Server(*SITE) as server:
        port = status_port(server)
        assert fetch(port, "/livez").status == 200
        server.signal(signal.SIGSTOP)
        try:
            until(lambda: fetch(port, "/livez").status == 503, "not alive")
            assert "has said nothing" in fetch(port, "/livez").text
            assert fetch(port, "/readyz").status == 503
            assert "silent" in fetch(port, "/").text
            assert fetch(server.port, "/hello").status == 200
        finally:
            server.signal(signal.SIGCONT)
        until(lambda: fetch(port, "/livez").status == 200, "alive")


# Its life -----------------------------------------------------------------------------------------------------------


def test_one_that_dies_is_started_again_at_the_same_address_and_nobody_notices() -> None:
    with Server(*SITE) as server, Client(server.port) as client:
        port = status_port(server)
        pid = status_pid(server)
        for _ in range(3):
            mark = server.mark()
            os.kill(pid, signal.SIGKILL)
            server.wait_for_log(rf" WARNING status service died pid={pid} signal=SIGKILL$", after=mark)
            pid = status_pid(server, after=mark)
            assert fetch(port, "/livez").status == 200
            assert client.get("/hello").status == 200
        assert "worker died" not in server.log()


def test_it_goes_when_the_controller_is_killed() -> None:
    with Server(*SITE, check_leftovers=False) as server:
        pid = status_pid(server)
        server.signal(signal.SIGKILL)
        until(lambda: pid not in [process.pid for process in server.processes()], "the status service has gone")


def test_an_upgrade_in_place_keeps_address_and_counts_and_replaces_the_process() -> None:
    with Server(*SITE) as server:
        port, pid = status_port(server), status_pid(server)
        for _ in range(7):
            assert fetch(server.port, "/hello").status == 200
        wait_counted(port, 'spawning_requests_total{method="GET",status="2xx"}', 7)
        before, mark = counters(port), server.mark()
        server.signal(signal.SIGUSR2)
        assert status_pid(server, after=mark) != pid
        server.wait_for_log(r" reload finished generation=2 ", after=mark)
        after = counters(port)
        assert {name: (value, after.get(name)) for name, value in before.items() if after.get(name, -1) < value} == {}
        assert fetch(port, "/readyz").status == 200
        assert "status service died" not in server.log()


def test_with_a_reload_it_tells_of_the_new_generation_and_of_a_refusal(tmp_path: Path) -> None:
    write(tmp_path, "1")
    with Server("site_app:application", *STATUS, "-s", "1", cwd=tmp_path) as server:
        port = status_port(server)
        assert server.reload()
        until(lambda: status(port)["serving"] == 2, "the new generation")
        write(tmp_path, "3", before="raise ValueError('<b>broken</b>')")
        assert not server.reload()
        until(lambda: status(port)["reloads"][0]["result"] == "refused", "the refusal")
        refused, finished = status(port)["reloads"][:2]
        assert (refused["generation"], refused["trigger"], finished["result"]) == (3, "SIGHUP", "finished")
        assert "ValueError: <b>broken</b>" in refused["traceback"]
        page = fetch(port, "/").text
        assert "ValueError: &lt;b&gt;broken&lt;/b&gt;" in page
        assert "<b>broken" not in page
        found = samples(port)
        assert (
            found['spawning_reloads_total{result="finished"}'],
            found['spawning_reloads_total{result="refused"}'],
        ) == (1, 1)
        assert (found["spawning_generation"], found["spawning_ready"]) == (2, 1)


# What there is ------------------------------------------------------------------------------------------------------


def test_json_is_as_its_schema_says_with_requests_in_flight(gate: Gate) -> None:
    with Server(*SITE) as server, held(gate, server.port):
        values = status(status_port(server))
        jsonschema.validate(values, SCHEMA)
        (flight,) = values["requests"]
        assert (flight["method"], flight["path"], flight["address"]) == ("GET", "/hold", "127.0.0.1")
        assert values["memory"] > 0
        workers = values["generations"][0]["workers"]
        assert sorted(each["name"] for each in workers) == ["1.1", "1.2"]
        assert all(worker["memory"] > 0 for worker in workers)
        assert values["listeners"][0]["address"] == f"127.0.0.1:{server.port}"
        assert values["settings"]["threadpool_workers"] == 4
        gate.open()


def test_a_listener_has_room_for_as_many_as_backlog_says() -> None:
    with Server(*SITE, "--backlog", "7") as server:
        (listener,) = status(status_port(server))["listeners"]
        assert (listener["backlog"], listener["most"]) == (0, 7)


def test_the_page_needs_no_script_and_nothing_from_elsewhere(gate: Gate) -> None:
    with Server(*SITE) as server, Client(server.port) as client:
        client.send(request(f"{gate.target}&x=</script><script>alert(1)</script>"))
        client.send(b"")
        gate.wait_entered()
        port = status_port(server)
        answer = fetch(port, "/")
        assert answer["content-type"] == "text/html; charset=utf-8"
        assert "default-src 'none'" in answer["content-security-policy"]
        assert "alert(1)" not in answer.text
        assert "1.1" in answer.text
        assert "/hold" in answer.text
        links = set(re.findall(r"(?:src|href)=\"([^\"]*)", answer.text))
        assert links == {"status.css", "status.js", "status.json", "metrics", "livez", "readyz"}
        assert fetch(port, "/status.css")["content-type"].startswith("text/css")
        assert fetch(port, "/status.js")["content-type"].startswith("text/javascript")
        assert fetch(port, "/status").status == 200  # the original's address
        gate.open()


def test_events_bring_the_page_anew_and_end_with_the_service() -> None:
    with Server(*SITE) as server, Client(status_port(server)) as client:
        client.send(request("/events"))
        assert b"text/event-stream" in client._until(b"\r\n\r\n")
        for _ in range(2):
            client._until(b"data: ")
            html = json.loads(client._until(b"\n\n"))
            assert "Generation 1" in html
        assert server.stop() == 0


def test_streams_are_bounded_and_leave_room_for_health_checks() -> None:
    with Server(*SITE) as server:
        port = status_port(server)
        clients = [Client(port) for _ in range(20)]
        for client in clients:
            client.send(request("/events"))
        heads = [client._until(b"\r\n\r\n") for client in clients]
        assert sum(head.startswith(b"HTTP/1.1 503") for head in heads) == 4
        assert fetch(port, "/livez").status == 200
        assert fetch(port, "/metrics").status == 200
        for client in clients:
            client.close()

        def again() -> bool:
            with Client(port) as client:
                client.send(request("/events"))
                return client._until(b"\r\n\r\n").startswith(b"HTTP/1.1 200")

        until(again, "a place that is free again")


@pytest.mark.parametrize(
    ("target", "method", "expected"),
    [
        ("/", "POST", 405), ("/livez", "DELETE", 405), ("/nothing", "GET", 404), ("/../etc/passwd", "GET", 404),
        ("/status.json", "HEAD", 200), ("/events", "HEAD", 200), ("/events", "POST", 405),
        ("/static/status.css", "GET", 404),
    ],
)  # fmt: skip
def test_anything_else_is_refused(shared: int, target: str, method: str, expected: int) -> None:
    assert fetch(shared, target, method=method).status == expected


@pytest.fixture(scope="module")
def shared() -> object:
    with Server(*SITE) as server:
        yield status_port(server)


# Who may see it -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "localhost.evil.example", "127.0.0.1.nip.io"])
@pytest.mark.parametrize("target", ["/", "/status.json", "/metrics", "/events"])
def test_a_foreign_name_that_means_this_machine_is_refused(shared: int, host: str, target: str) -> None:
    with Client(shared) as client:
        client.send(f"GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        assert client.read().status == 403


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1:9", "[::1]:80", "10.0.0.1"])
def test_an_address_is_not(shared: int, host: str) -> None:
    with Client(shared) as client:
        client.send(f"GET /status.json HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        assert client.read().status == 200


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ([], 401), (["Authorization: Bearer s3cret-token"], 200), (["Authorization: bearer s3cret-token"], 200),
        (["Authorization: Bearer s3cret-toke"], 401), (["Authorization: Bearer"], 401),
        (["Authorization: Basic YW55Ym9keTpzM2NyZXQtdG9rZW4="], 200), (["Authorization: Basic YW55Ym9keTpzM2Ny"], 401),
        (["Authorization: Basic ====="], 401), (["Authorization: Basic \xff\xff"], 401),
        (["Authorization: Digest x"], 401), (["Authorization: Bearer \xe9"], 401),
    ],
)  # fmt: skip
def test_with_a_token_only_those_see_anything_who_know_it(tokened: int, fields: list[str], expected: int) -> None:
    for target in ("/", "/status.json", "/metrics", "/nothing"):
        answer = fetch(tokened, target, *fields)
        assert answer.status == (404 if target == "/nothing" and expected == 200 else expected)
        assert expected == 200 or ("1.1" not in answer.text and answer["www-authenticate"].startswith("Basic "))
    assert fetch(tokened, "/livez", *fields).status == 200
    assert "s3cret-token" not in fetch(tokened, "/status.json", *fields).text


@pytest.fixture(scope="module")
def tokened() -> object:
    with Server(*SITE, env={"SPAWNING_STATUS_TOKEN": "s3cret-token"}) as server:
        yield status_port(server)


def test_a_unix_socket_is_made_replaced_and_removed(tmp_path: Path) -> None:
    path = tmp_path / "status.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    with Server("basics.application", "-s", "1", "--status", f"unix:{path}", "-l", "/dev/null") as server:
        assert path.stat().st_mode & 0o777 == 0o660
        until(lambda: over_unix(path, "/livez").status == 200, "alive")
        assert over_unix(path, "/status.json").status == 200
        taken = run("--port", "0", "--status", f"unix:{path}", "basics.application")
        assert taken.status == 2
        assert taken.err == f"spawn: option --status: another program listens on {str(path)!r}"
        mark = server.mark()
        server.signal(signal.SIGUSR2)
        status_pid(server, after=mark)
        until(lambda: over_unix(path, "/livez").status == 200, "alive")
        assert server.stop() == 0
    assert not path.exists()


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--status", "0.0.0.0:0"], ["--status", "0.0.0.0", "--status-token", "127.0.0.1"]),
        (["--status", "[::]:0"], ["--status", "::", "--status-token"]),
        (["--status-port", "1", "--status-host", "0.0.0.0"], ["--status-port", "--status-token"]),
        (["--status", "nowhere"], ["--status", "'nowhere'", "HOST:PORT", "unix:PATH"]),
        (["--status", "::1:9000"], ["--status", "[::1]:9001"]),
        (["--status", "127.0.0.1:70000"], ["--status", "70000"]),
        (["--status", "no.such.host.invalid:9000"], ["--status", "no.such.host.invalid"]),
        (["--status", "192.0.2.1:9000", "--status-token", "long-enough"], ["--status", "192.0.2.1"]),
        (["--status", "unix:/no/such/directory/socket"], ["--status", "/no/such/directory/socket"]),
        (["--status", "unix:/etc/passwd"], ["--status", "/etc/passwd", "no socket"]),
        (["--status", "1", "--status-port", "2"], ["--status", "--status-port"]),
        (["--status-token", "short"], ["--status-token", "8"]),
        (["--status-token", "with a space"], ["--status-token"]),
        (["--status-port", "many"], ["--status-port", "many"]),
        (["--statsd-host", "nowhere"], ["--statsd-host", "HOST:PORT"]),
        (["--statsd-host", "h:0"], ["--statsd-host", "HOST:PORT"]),
        (["--statsd-prefix", "a|b"], ["--statsd-prefix", "letters"]),
        (["--statsd-tags", "env:live,|c"], ["--statsd-tags", "|c"]),
    ],
)
def test_a_bad_option_is_one_line_that_names_it(args: list[str], words: list[str], tmp_path: Path) -> None:
    done = run("--port", "0", *args, "--pidfile", str(tmp_path / "pid"), "basics.application")
    assert done.status == 2, done.err
    (line,) = done.err.splitlines()
    assert [word for word in words if word not in line] == [], line
    assert not (tmp_path / "pid").exists()


def test_a_port_that_is_taken_is_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = run("--port", "0", "--status", str(taken.getsockname()[1]), "basics.application")
    assert done.status == 2
    assert "option --status: cannot bind '127.0.0.1'" in done.err
    assert "taken" in done.err


def test_without_the_option_there_is_none_of_it() -> None:
    with Server("basics.application", "-s", "1") as server:
        assert "status service" not in server.log()
        assert [p for p in server.processes() if "spawning: status" in " ".join(p.cmdline())] == []


def test_the_originals_options_mean_the_same() -> None:
    port = free_port()
    with Server("basics.application", "-s", "1", "--status-port", str(port), "-l", "/dev/null") as server:
        assert status_port(server) == port
        assert fetch(port, "/status").status == 200


def test_settings_that_a_reload_cannot_change_are_named(tmp_path: Path) -> None:
    factory = "def config(values):\n    return {{**values, 'app_factory': 'spawning.wsgi_factory.app_factory', {}}}\n"
    write(tmp_path, "1")
    (tmp_path / "own.py").write_text(factory.format("'status': '127.0.0.1:0'"))
    with Server("-f", "own.config", "site_app:application", "-s", "1", cwd=tmp_path) as server:
        port, mark = status_port(server), server.mark()
        (tmp_path / "own.py").write_text(factory.format("'status': '127.0.0.1:1', 'statsd_host': 'localhost:8125'"))
        assert server.reload()
        server.wait_for_log(
            r' WARNING settings need a restart generation=2 settings="status, statsd_host"$', after=mark
        )
        until(lambda: fetch(port, "/readyz").status == 200, "the status service knows")
