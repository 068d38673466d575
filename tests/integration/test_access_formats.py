"""Access lines of the real command: their formats, and where they may go."""

import json
import os
import re
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from integration.client import Client, fetch
from integration.server import DEADLINE, Server, run, until

APP = "basics.application"


class Daemon:
    """A syslog daemon: a datagram socket, by path or by UDP."""

    def __init__(self, path: Path | None = None) -> None:
        self.sock = socket.socket(socket.AF_UNIX if path else socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind(str(path) if path else ("127.0.0.1", 0))
        self.sock.settimeout(DEADLINE)
        self.address = str(path) if path else f"127.0.0.1:{self.sock.getsockname()[1]}"

    def receive(self) -> str:
        return self.sock.recv(65536).decode()

    def close(self) -> None:
        self.sock.close()


@pytest.fixture(params=["unix", "udp"])
def daemon(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Daemon]:
    daemon = Daemon(tmp_path / "log" if request.param == "unix" else None)
    yield daemon
    daemon.close()


def refuse(port: int, data: bytes) -> None:
    """Send what is refused, and wait for the end of the answer."""
    with socket.create_connection(("127.0.0.1", port), DEADLINE) as sock:
        sock.sendall(data)
        while sock.recv(65536):
            pass


def test_every_line_in_json_is_an_object_also_of_what_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    with Server(APP, "-s", "2", "-l", str(path), "--access-log-format", "json") as server:
        fetch(server.port, "/hello?x=%22")
        refuse(server.port, b'GET / "\x1b\n{"a": 1}\nHTTP/1.1\r\n\r\n')
        refuse(server.port, b"GET /%0a HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n")
        until(lambda: path.read_text().count("\n") >= 3, "all lines")
        assert server.stop() == 0
    found = [json.loads(text) for text in path.read_text().splitlines()]
    assert sorted(each["http.response.status_code"] for each in found) == [200, 400, 400]
    (good,) = (each for each in found if each["http.response.status_code"] == 200)
    assert (good["url.path"], good["url.query"], good["client.address"]) == ("/hello", "x=%22", "127.0.0.1")


@pytest.mark.parametrize("name", ["/dev/stderr", "/dev/stdout", "-"])
def test_a_format_goes_to_a_stream(name: str) -> None:
    with Server(APP, "-s", "1", "-l", name, "--access-log-format", "%m %U %>s") as server:
        fetch(server.port, "/hello")
        stream = server.err if name == "/dev/stderr" else server.out
        stream.find("^GET /hello 200$", DEADLINE)
        mark = server.mark()
        server.signal(signal.SIGUSR1)
        wanted = "stderr" if name == "/dev/stderr" else "stdout"
        server.wait_for_log(f'log not reopened log=access reason="it is {wanted}"', after=mark)
        fetch(server.port, "/hello")
        until(lambda: stream.since().count("GET /hello 200") == 2, "the log goes on")


def test_lines_go_to_a_syslog(daemon: Daemon) -> None:
    with Server(APP, "-s", "1", "-l", f"syslog:{daemon.address},facility=local3,tag=shop") as server:
        worker = server.workers()[0].pid
        fetch(server.port, "/hello")
        got = daemon.receive()
        by_udp = not daemon.address.startswith("/")
        head = (
            rf"<158>1 \d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{{3}}[+-]\d\d:\d\d {re.escape(socket.gethostname())} shop"
            rf" {worker} - - "
            if by_udp
            else rf"<158>[A-Z][a-z]{{2}} [ \d]\d \d\d:\d\d:\d\d shop\[{worker}\]: "
        )
        assert re.fullmatch(head + r'127\.0\.0\.1 - - \[.*\] "GET /hello HTTP/1\.1" 200 .*', got)
        server.signal(signal.SIGUSR1)
        server.wait_for_log('log not reopened log=access reason="it is syslog"')


def test_a_syslog_that_is_started_anew_gets_lines_again(tmp_path: Path) -> None:
    path = tmp_path / "log"
    daemon = Daemon(path)
    with Server(APP, "-s", "1", "-l", f"syslog:{path}") as server:
        fetch(server.port, "/hello")
        assert "/hello" in daemon.receive()
        daemon.close()
        path.unlink()
        fetch(server.port, "/hello?lost")
        assert server.reload()  # a log costs no reload
        daemon = Daemon(path)
        got: list[str] = []
        while not got or "?again" not in got[-1]:
            fetch(server.port, "/hello?again")
            daemon.sock.settimeout(0.2)
            try:
                got.append(daemon.receive())
            except TimeoutError:
                continue
        assert server.stop() == 0
    assert re.search(r" log lines lost count=\d+ log=access$", server.log(), re.MULTILINE)
    daemon.close()


def test_a_syslog_that_does_not_read_changes_nothing_else(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path / "log")
    daemon.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
    with Server(APP, "-s", "1", "-l", f"syslog:{daemon.address}") as server:
        with Client(server.port) as client:
            for _ in range(500):
                assert client.get("/hello").status == 200
        assert server.reload()
        assert fetch(server.port, "/hello").status == 200
        assert server.stop() == 0
    assert re.search(r" log lines lost count=\d+ log=access$", server.log(), re.MULTILINE)
    daemon.close()


def test_a_long_line_is_cut(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path / "log")
    with Server(APP, "-s", "1", "-l", f"syslog:{daemon.address}") as server:
        fetch(server.port, "/hello?" + "x" * 16000)
        assert len(daemon.receive()) == 8192
    daemon.close()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["-l", "syslog:/no/where"], "file: no syslog daemon at /no/where: No such file or directory"),
        (["-l", "syslog:,facility=loud"], "file: 'syslog:,facility=loud' is not a syslog with ,facility=NAME"),
        (["-l", "syslog:host:port"], "file: 'syslog:host:port' is not the address of a syslog"),
        (["--access-log-format", "%(nothing)s"], "format: '%(nothing)s' is not combined, json,"),
        (["--access-log-format", "common"], "format: 'common' is not combined, json,"),
    ],
)
@pytest.mark.parametrize("check", [[], ["--check-config"]])
def test_what_is_wrong_is_one_line(options: list[str], message: str, check: list[str]) -> None:
    finished = run(*check, APP, "-s", "1", *options)
    assert finished.status == 2
    (line,) = finished.err.splitlines()
    assert line.startswith(f"spawn: option --access-log-{message}")


def test_a_reload_changes_format_and_destination(tmp_path: Path) -> None:
    site = tmp_path / "site"
    site.mkdir()
    log = tmp_path / "access.log"
    (site / "site_app.py").write_text("def application(e, s):\n    s('200 OK', [])\n    return [b'x']\n")
    file = site / "spawning.toml"
    file.write_text('app = "site_app:application"\nprocesses = 1\n')
    with Server("--config", str(file), cwd=site) as server:
        fetch(server.port, "/first")
        server.out.find('"GET /first HTTP', DEADLINE)
        file.write_text(file.read_text() + f'access-log-file = "{log}"\naccess-log-format = "%m %U"\n')
        assert server.reload()
        fetch(server.port, "/second")
        until(lambda: log.exists() and log.read_text() == "GET /second\n", "the line is in the file")
    assert os.stat(log).st_size == len("GET /second\n")
