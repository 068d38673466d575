"""Listening anywhere: several addresses, Unix sockets, descriptors, and a set of listeners that changes at a reload."""

import contextlib
import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from integration.client import Client, fetch, request
from integration.control import spawnctl
from integration.load import Load, steps_back
from integration.ports import free_port
from integration.server import Server, run, until
from integration.sites import version, write

APP = "site_app:application"
ENVIRON = "basics.application"

FACTORY = """\
import json, pathlib

def config_factory(config):
    said = json.loads(pathlib.Path("said.json").read_text())
    return {**config, **said, "app_factory": "spawning.wsgi_factory.app_factory"}
"""


@pytest.fixture
def directory() -> Iterator[Path]:
    """A directory with a short path, for sockets."""
    with tempfile.TemporaryDirectory(prefix="spawning-") as directory:
        yield Path(directory)


class Configured:
    """A site whose factory takes settings from a file, which a test changes between reloads."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        (directory / "own.py").write_text(FACTORY)
        write(directory, "1")

    def say(self, *addresses: str, **settings: object) -> None:
        (self.directory / "said.json").write_text(json.dumps({"bind": addresses, **settings}))

    def serve(self, *options: str, ready: bool = True) -> Server:
        command = [sys.executable, "-m", "spawning", APP, "-f", "own.config_factory", "-s", "2", *options]
        env = {"PYTHONDONTWRITEBYTECODE": "1", "PWD": str(self.directory)}
        return Server(command=command, cwd=self.directory, env=env, ready=ready)


@pytest.fixture
def configured(directory: Path) -> Configured:
    return Configured(directory)


def environ(where: int | str, *fields: str, host: str = "127.0.0.1") -> dict[str, Any]:
    with Client(where, host) as client:
        seen: dict[str, Any] = json.loads(client.get("/environ", "Connection: close", *fields).body)
        return seen


# What environs and the log say ---------------------------------------------------------------------------------------


def test_each_connection_has_the_names_of_its_own_listener_also_when_it_has_moved(directory: Path) -> None:
    ports = [free_port() for _ in range(2)]
    paths = [str(directory / "a"), f"@{directory.name}"]
    binds = [f"127.0.0.1:{ports[0]}", f"[::1]:{ports[1]}", *(f"unix:{path}" for path in paths)]
    options = [option for bind in binds for option in ("--bind", bind)]
    with Server(ENVIRON, "-s", "2", *options) as server:
        expected: list[tuple[int | str, str, tuple[str, str, str]]] = [
            (server.port, "127.0.0.1", ("127.0.0.1", str(server.port), "127.0.0.1")),
            (ports[0], "127.0.0.1", ("127.0.0.1", str(ports[0]), "127.0.0.1")),
            (ports[1], "::1", ("[::1]", str(ports[1]), "::1")),
            *((path, "", ("localhost", "80", "")) for path in paths),
        ]
        with contextlib.ExitStack() as stack:
            clients = [stack.enter_context(Client(where, host)) for where, host, _ in expected]
            for _ in range(2):
                for client, (_, _, names) in zip(clients, expected, strict=True):
                    seen = json.loads(client.get("/environ").body)
                    assert (seen["SERVER_NAME"], seen["SERVER_PORT"], seen["REMOTE_ADDR"]) == names
                    assert bool(seen["REMOTE_PORT"]) == bool(names[2])
                    assert seen["wsgi.url_scheme"] == "http"
                assert server.reload()
        server.out.find(r'^- - - .*"GET /environ ', 30)
        server.out.find(r'^::1 - - .*"GET /environ ', 30)


@pytest.mark.parametrize("said", ["unix", "*", "10.0.0.0/8,unix"])
def test_a_unix_peer_is_trusted_when_that_is_said(directory: Path, said: str) -> None:
    with Server(ENVIRON, "-s", "1", "--forwarded-allow-ips", said, bind=f"unix:{directory}/s") as server:
        seen = environ(server.where, "X-Forwarded-For: 203.0.113.7", "X-Forwarded-Proto: https")
        assert (seen["REMOTE_ADDR"], seen["wsgi.url_scheme"]) == ("203.0.113.7", "https")
        assert "ignored" not in server.log()


@pytest.mark.parametrize("options", [[], ["--forwarded-allow-ips", "127.0.0.1"]])
def test_that_nobody_is_trusted_on_a_unix_socket_is_said_once(directory: Path, options: list[str]) -> None:
    with Server(ENVIRON, "-s", "1", *options, bind=f"unix:{directory}/s") as server:
        assert environ(server.where)["REMOTE_ADDR"] == ""
        assert "ignored" not in server.log()
        for _ in range(3):
            seen = environ(server.where, "X-Forwarded-For: 203.0.113.7", "Forwarded: for=203.0.113.7")
            assert (seen["REMOTE_ADDR"], seen.get("HTTP_X_FORWARDED_FOR")) == ("", None)
        line = server.wait_for_log(r"WARNING (X-Forwarded-For.*)$")[1]
        assert line == "X-Forwarded-For, Forwarded from a Unix socket ignored, see --forwarded-allow-ips unix"
        assert server.stop() == 0
        assert server.log().count("ignored") == 1


@pytest.mark.parametrize("options", [[], ["--bind", "[::]:0"], ["--bind", ":0"]])
def test_every_address(options: list[str]) -> None:
    port = free_port()
    env = {"PORT": str(port)} if not options else {}
    command = [sys.executable, "-m", "spawning", ENVIRON, "-s", "1", *options]
    with Server(command=command, env=env) as server:
        assert server.port == port or options
        for host, address in (("127.0.0.1", "127.0.0.1"), ("127.0.0.2", "127.0.0.1"), ("::1", "::1")):
            assert environ(server.port, host=host)["REMOTE_ADDR"] == address


def test_ipv6_alone() -> None:
    with Server(ENVIRON, "-s", "1", bind=f"[::]:{free_port()}?v6only") as server:
        assert environ(server.port, host="::1")["REMOTE_ADDR"] == "::1"
        with pytest.raises(ConnectionRefusedError):
            Client(server.port)


# Unix sockets --------------------------------------------------------------------------------------------------------


def test_a_socket_file_has_its_mode_and_lives_as_long_as_the_server(directory: Path) -> None:
    path = directory / "s"
    with Server(ENVIRON, "-s", "2", "--umask", "077", bind=f"unix:{path}?mode=606") as server:
        inode = path.stat().st_ino
        assert stat.S_IMODE(path.stat().st_mode) == 0o606
        for step in (signal.SIGHUP, signal.SIGUSR2):
            mark = server.mark()
            server.signal(step)
            server.wait_for_log(" reload finished ", after=mark)
            assert path.stat().st_ino == inode
        os.kill(server.wait_workers(2)[0].pid, signal.SIGKILL)
        server.wait_for_log("worker died ")
        server.wait_for_log(r"worker started worker=3\.3 ")
        assert path.stat().st_ino == inode
        assert server.stop() == 0
    assert not path.exists()


def test_the_mask_of_permissions_is_that_of_all_processes(directory: Path) -> None:
    log = directory / "log"
    (directory / "asks.py").write_text(
        "import os\n\ndef application(environ, start_response):\n"
        "    mask = os.umask(0); os.umask(mask)\n"
        "    start_response('200 OK', [])\n    return [oct(mask).encode()]\n"
    )
    with Server("asks:application", "-s", "1", "--umask", "027", "-l", str(log), cwd=directory) as server:
        assert fetch(server.port).body == b"0o27"
        assert stat.S_IMODE(log.stat().st_mode) == 0o640


def test_a_stale_socket_file_is_replaced_and_a_living_server_is_not(directory: Path) -> None:
    path = directory / "s"
    with Server(ENVIRON, "-s", "1", bind=f"unix:{path}") as server:
        finished = run(ENVIRON, "--bind", f"unix:{path}")
        assert finished.status == 2
        taken = (
            rf"option --bind: {re.escape(str(path))} is taken by .*\(pid {server.pid}\); stop it first, or take another"
        )
        assert re.fullmatch(f"spawn: {taken} path", finished.err), finished.err
        assert fetch(server.where, "/hello").status == 200
        server.signal(signal.SIGKILL)
        server.wait_gone()
        assert path.exists()
        with Server(ENVIRON, "-s", "1", bind=f"unix:{path}") as another:
            assert fetch(another.where, "/hello").status == 200
    assert not path.exists()


def test_a_newer_server_keeps_its_socket_file_when_the_older_one_ends(directory: Path) -> None:
    path = directory / "s"
    with Server(ENVIRON, "-s", "1", bind=f"unix:{path}") as server:
        path.unlink()
        with Server(ENVIRON, "-s", "1", bind=f"unix:{path}") as newer:
            assert server.stop() == 0
            assert fetch(newer.where, "/hello").status == 200


def test_the_readiness_of_a_server_on_a_unix_socket_is_asked_as_of_any_other(directory: Path) -> None:
    with Server(ENVIRON, "-s", "1", "--ready-path", "/hello", bind=f"unix:{directory}/s") as server:
        assert server.reload()
    finished = run(ENVIRON, "-s", "1", "--ready-path", "/status?code=500", "--bind", f"unix:{directory}/s")
    assert finished.status == 3
    assert os.listdir(directory) == []


def test_curl_and_spawnctl_find_a_server_by_its_unix_socket(directory: Path) -> None:
    with Server(ENVIRON, "-s", "1", bind=f"unix:{directory}/s") as server:
        done = subprocess.run(
            ["curl", "-sS", "--unix-socket", f"{directory}/s", "http://localhost/hello"],
            capture_output=True,
            check=True,
        )
        assert done.stdout == b"Hello, world!\n"
        status = json.loads(spawnctl("-a", f"unix:{directory}/s", "status", "--json").out)
        assert (status["pid"], status["addresses"]) == (server.pid, [f"unix:{directory}/s"])


# Descriptors ---------------------------------------------------------------------------------------------------------


PASSES = """\
import os, socket, sys
kind, *command = sys.argv[1:]
listener = socket.socket(socket.AF_UNIX if kind else socket.AF_INET)
listener.bind(kind or ("127.0.0.1", 0))
listener.listen()
os.dup2(listener.fileno(), 9)
os.execv(command[0], command)
"""


@pytest.mark.parametrize("name", ["", "s"])
def test_an_inherited_descriptor_is_served_through_reload_and_upgrade(directory: Path, name: str) -> None:
    path = str(directory / name) if name else ""
    command = [
        sys.executable,
        "-c",
        PASSES,
        path,
        sys.executable,
        "-m",
        "spawning",
        "--bind",
        "fd:9",
        "-s",
        "1",
        ENVIRON,
    ]
    with Server(command=command) as server:
        assert server.where == (path or server.port)
        for step in (signal.SIGHUP, signal.SIGUSR2):
            mark = server.mark()
            server.signal(step)
            server.wait_for_log(" reload finished ", after=mark)
            assert environ(server.where)["SERVER_PORT"] == ("80" if path else str(server.port))
        assert server.stop() == 0
    assert os.listdir(directory) == ([name] if name else [])  # it belongs to whoever has made it


# A set that changes --------------------------------------------------------------------------------------------------


def test_a_reload_adds_and_removes_listeners_and_touches_no_other(configured: Configured) -> None:
    kept, removed, added = (f"unix:{configured.directory}/{name}" for name in ("kept", "removed", "added"))
    paths = [each.removeprefix("unix:") for each in (kept, removed, added)]
    configured.say(kept, removed)
    with configured.serve() as server:
        inode = os.stat(paths[0]).st_ino
        with Load(paths[0], fresh=2, kept=2) as load, Client(paths[1]) as old:
            assert old.get("/").text == "1"
            configured.say(kept, added)
            write(configured.directory, "2")
            assert server.reload()
            load.wait_for(2)
            assert version(paths[2]) == "2"
            server.wait_for_log(rf" listener closed address={removed}$")
            assert not os.path.exists(paths[1])
            assert old.get("/").text == "2"  # only the listener is gone, not whoever has come through it
        assert load.failures == []
        assert steps_back(load.answers) == []
        assert load.goodbyes == 0
        assert os.stat(paths[0]).st_ino == inode
        server.wait_for_log(rf" listener opened address={added}$")


def test_the_names_of_a_listener_that_is_gone_stay_with_its_connections(configured: Configured) -> None:
    configured.say(f"127.0.0.1:{free_port()}", f"unix:{configured.directory}/s")
    with contextlib.ExitStack() as stack:
        write_environ(configured.directory)
        server = stack.enter_context(configured.serve())
        client = stack.enter_context(Client(server.port))
        before = client.get("/").text
        configured.say(f"unix:{configured.directory}/s")
        for _ in range(2):
            assert server.reload()
            assert client.get("/").text == before == f"127.0.0.1 {server.port}"
        with pytest.raises(ConnectionRefusedError):
            Client(server.port)


def write_environ(directory: Path) -> None:
    (directory / "site_app.py").write_text(
        textwrap.dedent("""\
        def application(environ, start_response):
            start_response("200 OK", [])
            return [f"{environ['SERVER_NAME']} {environ['SERVER_PORT']}".encode()]
        """)
    )


def test_who_waits_at_a_listener_that_is_removed_is_served(configured: Configured) -> None:
    """More than the handoff socket takes at once: all of them connect while no worker accepts."""
    path = f"{configured.directory}/removed"
    configured.say(f"unix:{path}", f"unix:{configured.directory}/kept")
    with configured.serve() as server, contextlib.ExitStack() as stack:
        for worker in server.wait_workers(2):
            os.kill(worker.pid, signal.SIGSTOP)
            process = psutil.Process(worker.pid)
            until(lambda: process.status() == psutil.STATUS_STOPPED, "the worker is stopped")  # noqa: B023
        clients = [stack.enter_context(Client(path)) for _ in range(600)]
        for client in clients:
            client.send(request("/"))
        configured.say(f"unix:{configured.directory}/kept")
        write(configured.directory, "2")
        mark = server.mark()
        server.signal(signal.SIGHUP)
        server.wait_for_log(" reload finished ", after=mark)
        assert {client.read().text for client in clients} == {"2"}
        for worker in server.workers():
            with contextlib.suppress(ProcessLookupError):
                os.kill(worker.pid, signal.SIGCONT)


def test_a_listener_that_cannot_be_bound_refuses_the_reload_and_leaves_nothing(configured: Configured) -> None:
    good, other = f"unix:{configured.directory}/good", f"unix:{configured.directory}/other"
    configured.say(good)
    with configured.serve() as server, socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        configured.say(good, other, f"127.0.0.1:{port}")
        mark = server.mark()
        assert not server.reload()
        reason = server.wait_for_log(r'reload refused .*reason="(.*)" serving=1$', after=mark)[1]
        assert reason.startswith(f"factory own.config_factory, setting bind: port {port} of 127.0.0.1 is taken by ")
        assert not os.path.exists(f"{configured.directory}/other")
        assert version(f"{configured.directory}/good") == "1"
        configured.say(good, other)
        assert server.reload()
        assert version(f"{configured.directory}/other") == "1"


def test_a_generation_that_does_not_load_leaves_no_listener(configured: Configured) -> None:
    good, other = f"unix:{configured.directory}/good", f"unix:{configured.directory}/other"
    configured.say(good)
    with configured.serve() as server:
        configured.say(good, other)
        (configured.directory / "site_app.py").write_text("this is no Python")
        assert not server.reload()
        assert not os.path.exists(f"{configured.directory}/other")
        assert version(f"{configured.directory}/good") == "1"


def test_a_rollback_has_the_listeners_of_the_generation_that_it_goes_back_to(configured: Configured) -> None:
    control = configured.directory / "ctl"
    first, second = (f"unix:{configured.directory}/{name}" for name in ("first", "second"))
    paths = [each.removeprefix("unix:") for each in (first, second)]
    configured.say(first)
    with configured.serve("--control-socket", str(control)) as server:
        configured.say(second)
        write(configured.directory, "2")
        assert server.reload()
        server.wait_for_log(rf" listener closed address={first}$")
        assert (version(paths[1]), os.path.exists(paths[0])) == ("2", False)
        assert spawnctl("-S", control, "rollback", "--wait").status == 0
        server.wait_for_log(rf" listener closed address={second}$")
        assert (version(paths[0]), os.path.exists(paths[1])) == ("1", False)
        (configured.directory / "second").write_text("in the way")
        refused = spawnctl("-S", control, "rollback", "--wait")
        assert refused.status == 1
        assert f"{paths[1]} exists and is not a socket" in refused.err
        assert version(paths[0]) == "1"


def test_an_upgrade_in_place_changes_the_set_too(configured: Configured) -> None:
    kept, removed, added = (f"unix:{configured.directory}/{name}" for name in ("kept", "removed", "added"))
    paths = [each.removeprefix("unix:") for each in (kept, removed, added)]
    configured.say(kept, removed)
    with configured.serve() as server, Load(paths[0], fresh=2, kept=2) as load:
        configured.say(kept, added)
        write(configured.directory, "2")
        server.signal(signal.SIGUSR2)
        server.wait_for_log(" reload finished generation=2 ")
        load.wait_for(2)
        assert version(paths[2]) == "2"
        until(lambda: not os.path.exists(paths[1]), "the removed listener is closed")
        configured.say(kept, removed)
        assert server.reload()
        assert version(paths[1]) == "2"
        until(lambda: not os.path.exists(paths[2]), "its file is removed, behind the end of the reload")
    assert load.failures == []


def test_what_a_listener_wants_of_its_connections_may_change(configured: Configured) -> None:
    place = f"unix:{configured.directory}/s"
    path = place.removeprefix("unix:")
    configured.say(place)
    with configured.serve() as server, Client(path) as old:
        assert old.get("/").text == "1"
        configured.say(f"{place}?proxy&mode=600")
        assert server.reload()
        assert old.get("/").text == "1"  # it is known without a header
        with Client(path) as new:
            new.send(b"PROXY UNKNOWN\r\n" + request("/"))
            assert new.read().text == "1"
            configured.say(place)
            assert server.reload()
            assert new.get("/").text == "1"
        assert version(path) == "1"


# Bad input -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("binds", "message"),
    [
        (["nowhere"], r"option --bind: 'nowhere' is not an address: HOST:PORT, "),
        (
            ["127.0.0.1:0?tsl"],
            r"option --bind: .* 'tsl' is no property of a TCP address; there are v6only, proxy, ",
        ),
        (["unix:{d}/s", "unix:{d}/s?mode=600"], r"option --bind: unix:{d}/s is there twice"),
        (
            ["unix:{d}/s", "127.0.0.1:{port}"],
            r"option --bind: port {port} of 127\.0\.0\.1 is taken by .* \(pid {pid}\)$",
        ),
        (["unix:{d}/none/s"], r"option --bind: there is no directory {d}/none for a socket; make it first$"),
        (["unix:{d}/file/s"], r"option --bind: there is no directory {d}/file for a socket; make it first$"),
        (["unix:{d}/file"], r"option --bind: {d}/file exists and is not a socket; remove it, or take another path$"),
        (["unix:{d}/{x}"], r"option --bind: {d}/x+ is too long for a Unix socket; 107 bytes are the most$"),
        (["unix:{d}/s?owner=nobody-at-all"], r"option --bind: owner=nobody-at-all: there is no user of that name$"),
        (["unix:{d}/s?group=nobody-at-all"], r"option --bind: group=nobody-at-all: there is no group of that name$"),
        (["unix:{d}/s", "fd:77"], r"option --bind: fd:77 is no socket that was inherited; who starts the server "),
        (["fd:0"], r"option --bind: fd:0 is no socket that was inherited; who starts the server has to open it"),
        (["systemd:web"], r"option --bind: systemd:web: no such socket was inherited; there are none at all "),
        (["192.0.2.1:0"], r"option --bind: '192\.0\.2\.1' is not an address of this machine$"),
        (["no-such-host.invalid:0"], r"option --bind: cannot find the address of 'no-such-host\.invalid': "),
    ],
)
def test_what_cannot_be_listened_on_is_one_line_and_leaves_nothing(
    directory: Path, binds: list[str], message: str
) -> None:
    (directory / "file").write_text("")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        known = {"d": str(directory), "port": taken.getsockname()[1], "x": "x" * 100, "pid": os.getpid()}
        options = [option for bind in binds for option in ("--bind", bind.format(**known))]
        command = [sys.executable, "-m", "spawning", ENVIRON, *options]
        with Server(command=command, ready=False) as server:
            assert server.wait() == 2
            (line,) = server.log().splitlines()
    assert line.startswith("spawn: ")
    assert re.search(message.format(**{**known, "d": re.escape(str(directory))}), line.removeprefix("spawn: ")), line
    assert os.listdir(directory) == ["file"]


@pytest.mark.parametrize("option", ["--host", "--port"])
def test_an_option_that_counts_once_is_not_said_twice(option: str) -> None:
    finished = run(ENVIRON, option, "1", option, "2")
    assert finished.status == 2
    assert finished.err == f"spawn: option {option}: given twice, as '1' and as '2'; use --bind for more addresses"
