"""Certificates that change while the server serves, and sessions that go on in other processes."""

import json
import os
import shutil
import signal
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from integration.certificates import Certificate, own, trusting
from integration.client import Client, Closed, fetch
from integration.control import spawnctl
from integration.server import Server, until

ONE = ("-s", "1", "-t", "2", "-l", "/dev/null", "basics.application")
V1_2, V1_3 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> tuple[Certificate, Certificate]:
    """A certificate, and the one that takes its place."""
    directory = tmp_path_factory.mktemp("two")
    return own(directory, name="old"), own(directory, name="new")


@pytest.fixture
def live(two: tuple[Certificate, Certificate], tmp_path: Path) -> Certificate:
    """The files that the server is told of."""
    found = Certificate(tmp_path / "live" / "cert.pem", tmp_path / "live" / "key.pem")
    (tmp_path / "archive").mkdir()
    for each in two:
        shutil.copy(each.file, tmp_path / "archive" / each.file.name)
        shutil.copy(each.key, tmp_path / "archive" / each.key.name)
    found.file.parent.mkdir()
    return found


def link(live: Certificate, name: str) -> None:
    """Have both be links to others, as certbot has them."""
    for path, suffix in ((live.file, "pem"), (live.key, "key")):
        draft = path.with_suffix(".draft")
        draft.symlink_to(f"../archive/{name}.{suffix}")
        draft.replace(path)


def move(live: Certificate, name: str) -> None:
    """Have both be files that are renamed."""
    for path, suffix in ((live.file, "pem"), (live.key, "key")):
        draft = path.with_suffix(".draft")
        shutil.copy(live.file.parent.parent / "archive" / f"{name}.{suffix}", draft)
        draft.replace(path)


def write(live: Certificate, name: str) -> None:
    """Write both where they are."""
    for path, suffix in ((live.file, "pem"), (live.key, "key")):
        path.write_bytes((live.file.parent.parent / "archive" / f"{name}.{suffix}").read_bytes())


def serves(server: Server, certificate: Certificate) -> bool:
    """Whether this is the certificate that clients are shown."""
    shown = ssl.get_server_certificate(("127.0.0.1", server.port), timeout=30)
    return ssl.PEM_cert_to_DER_cert(shown) == ssl.PEM_cert_to_DER_cert(certificate.file.read_text())


@pytest.mark.parametrize("put", [link, move, write])
def test_a_new_certificate_is_served_without_a_reload(
    two: tuple[Certificate, Certificate], live: Certificate, put: Callable[[Certificate, str], None]
) -> None:
    old, new = two
    put(live, "old")
    with Server(*live.options, *ONE, bind="127.0.0.1:0") as server, Client(server.where) as kept:
        server.wait_for_log(rf"INFO certificate loaded file={live.file} names=localhost,127\.0\.0\.1 days=(89|90)$")
        assert serves(server, old)
        assert kept.get("/hello").status == 200
        workers = server.workers()
        put(live, "new")
        server.wait_for_log(rf"INFO certificate replaced file={live.file} names=localhost,127\.0\.0\.1 days=(89|90)$")
        until(lambda: serves(server, new), "the worker has it")
        assert kept.get("/hello").status == 200
        assert server.workers() == workers


def test_what_does_not_fit_keeps_the_old_and_says_so_once(
    two: tuple[Certificate, Certificate], live: Certificate, tmp_path: Path
) -> None:
    old, new = two
    move(live, "old")
    with Server(*live.options, *ONE, bind="127.0.0.1:0") as server:
        shutil.copy(new.file, live.file)
        kept = "certificate not replaced, the one before is served reason="
        server.wait_for_log(rf'ERROR {kept}"option --keyfile: the key in {live.key} does not belong to the certificate')
        assert serves(server, old)
        (worker,) = server.workers()
        os.kill(worker.pid, signal.SIGKILL)
        server.wait_for_log(r"worker started worker=1\.2 ")
        assert serves(server, old)
        assert server.reload()
        assert serves(server, old)
        shutil.copy(new.key, live.key)
        server.wait_for_log("INFO certificate replaced ")
        until(lambda: serves(server, new), "the worker has it")
        assert server.log().count(kept) == 1
        live.file.unlink()
        server.wait_for_log(rf"ERROR {kept}[\"']option --certfile: there is no file {live.file}[\"']")
        assert serves(server, new)


def test_days_are_told(tmp_path: Path) -> None:
    soon = own(tmp_path, days=10)
    with Server(*soon.options, *ONE, "--status", f"unix:{tmp_path}/status", bind="127.0.0.1:0") as server:
        server.wait_for_log(rf"WARNING certificate expires soon file={soon.file} days=\d+ ends=\d{{4}}-\S+Z$")
        text = spawnctl("status", "-a", f"127.0.0.1:{server.port}").out
        assert f"certificate {soon.file} (localhost, 127.0.0.1): " in text
        (told,) = json.loads(fetch(f"{tmp_path}/status", "/status.json").body)["certificates"]
        assert told["file"] == str(soon.file)
        assert told["names"] == ["localhost", "127.0.0.1"]
        assert told["days"] in (9, 10)
        metric = f'spawning_certificate_expiry_timestamp_seconds{{file="{soon.file}"}}'
        assert metric in fetch(f"{tmp_path}/status", "/metrics").text
        assert "<h2>Certificates</h2>" in fetch(f"{tmp_path}/status").text


# Sessions ------------------------------------------------------------------------------------------------------------


class Visitor:
    """A client that brings the ticket of its last visit."""

    def __init__(self, server: Server, context: ssl.SSLContext) -> None:
        self._server = server
        self._context = context
        self._session: ssl.SSLSession | None = None

    def visit(self) -> tuple[int, bool]:
        """Ask who serves; return the worker's process id, and whether the session went on."""
        with Client(self._server.port) as client:
            client.sock = sock = self._context.wrap_socket(
                client.sock, server_hostname="localhost", session=self._session
            )
            pid = json.loads(client.get("/environ").body)["pid"]
            reused = sock.session_reused
            self._session = sock.session
        return int(pid), bool(reused)


@pytest.fixture(params=[V1_2, V1_3], ids=lambda version: version.name)
def visitor(request: pytest.FixtureRequest, certificate: Certificate) -> Iterator[Visitor]:
    with Server("-s", "2", *certificate.options, *ONE[2:], bind="127.0.0.1:0") as server:
        yield Visitor(server, trusting(certificate, request.param))


def test_a_session_goes_on_in_another_worker_and_another_generation(visitor: Visitor) -> None:
    server = visitor._server
    first, reused = visitor.visit()
    assert not reused
    os.kill(first, signal.SIGKILL)
    second, reused = visitor.visit()
    assert (second != first, reused) == (True, True)
    rate_before = [visitor.visit()[1] for _ in range(20)].count(True)
    assert server.reload()
    generation_2 = {worker.pid for worker in server.workers() if worker.generation == 2}
    visits = [visitor.visit() for _ in range(20)]
    assert {pid for pid, _ in visits} <= generation_2
    assert (rate_before, [reused for _, reused in visits].count(True)) == (20, 20)


@pytest.mark.parametrize("version", [V1_2, V1_3], ids=lambda version: version.name)
def test_a_session_does_not_pass_a_check_that_was_not_made(
    two: tuple[Certificate, Certificate], tmp_path: Path, version: ssl.TLSVersion
) -> None:
    own = two[0]
    file = tmp_path / "settings.toml"
    lines = f"certfile = '{own.file}'\nkeyfile = '{own.key}'\nca-certs = '{own.file}'\n"
    file.write_text(f"{lines}client-certs = 'optional'\n")
    with Server("--config", str(file), *ONE, bind="127.0.0.1:0") as server:
        visitor = Visitor(server, trusting(own, version))
        visitor.visit()
        assert visitor.visit()[1]
        file.write_text(f"{lines}client-certs = 'required'\n")
        assert server.reload()
        with pytest.raises((ssl.SSLError, Closed, ConnectionError)):
            visitor.visit()


def test_a_session_goes_on_behind_an_upgrade(visitor: Visitor) -> None:
    server = visitor._server
    visitor.visit()
    server.signal(signal.SIGUSR2)
    server.wait_for_log(r" reload finished generation=2 ")
    assert visitor.visit()[1]
