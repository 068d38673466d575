"""The shipped configurations of nginx and Caddy, over a Unix socket and over TCP: files, and what is said of clients.

Everything is in a network of its own, so the proxies have port 80; only the paths below /srv and /run are others.
"""

import contextlib
import http.client
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from clients.programs import program
from deploy.base import ROOT
from deploy.namespaces import Machines, inside
from integration.load import Load
from integration.server import DEADLINE, Server, until

PORT = 80
CLIENT = "127.0.0.2"  # another address than the proxy's, which is 127.0.0.1
STATIC, REPORT = b"body { color: teal }\n" * 1000, b"a report\n" * 100_000

FORGED = {
    "X-Forwarded-For": "203.0.113.66",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Host": "evil.example",
    "X-Forwarded-Port": "666",
    "X-Forwarded-Prefix": "/evil",
    "Forwarded": "for=203.0.113.66;proto=https;host=evil.example",
}

NGINX = """\
daemon off;
user root;
pid {place}/pid;
error_log stderr;
events {{}}
http {{
    include /etc/nginx/mime.types;
    access_log off;
    client_body_temp_path {place}/body;
    proxy_temp_path {place}/proxy;
    fastcgi_temp_path {place}/fastcgi;
    uwsgi_temp_path {place}/uwsgi;
    scgi_temp_path {place}/scgi;
{site}}}
"""


@dataclass(frozen=True)
class Fronted:
    """A server, and the code that it serves, behind the proxy at port 80."""

    server: Server
    code: Path


def nginx(place: Path, upstream: str) -> list[str]:
    site = (ROOT / "examples/nginx/mysite.conf").read_text().replace("/srv/mysite", str(place))
    site = replaced(site, "server unix:/run/mysite/socket;", f"server {upstream};")
    (place / "nginx.conf").write_text(NGINX.format(place=place, site=site))
    return [program("nginx"), "-p", str(place), "-e", "stderr", "-c", str(place / "nginx.conf")]


def caddy(place: Path, upstream: str) -> list[str]:
    site = (ROOT / "examples/caddy/Caddyfile").read_text().replace("/srv/mysite", str(place))
    site = replaced(site, "reverse_proxy unix//run/mysite/socket {", f"reverse_proxy {upstream.replace(':/', '//')} {{")
    site = replaced(site, "\nwww.example.com {", "\n{\n\tadmin off\n}\n\nhttp:// {")  # without TLS, for every name
    (place / "Caddyfile").write_text(site)
    return [program("caddy"), "run", "--config", str(place / "Caddyfile"), "--adapter", "caddyfile"]


def replaced(text: str, old: str, new: str) -> str:
    assert text.count(old) == 1
    return text.replace(old, new)


@pytest.fixture(scope="module", params=[nginx, caddy], ids=lambda proxy: proxy.__name__)
def proxy(request: pytest.FixtureRequest) -> object:
    return request.param


@pytest.fixture(scope="module", params=["unix", "tcp"])
def fronted(request: pytest.FixtureRequest, proxy: object) -> Iterator[Fronted]:
    """A site behind a proxy; the test is in their network."""
    assert callable(proxy)
    with tempfile.TemporaryDirectory(prefix="spawning-") as name, Machines(1) as machines:
        place = Path(name)
        place.chmod(0o755)
        for file, content in {"static/site.css": STATIC, "protected/report.txt": REPORT}.items():
            (place / file).parent.mkdir()
            (place / file).write_bytes(content)
        shutil.copy(Path(__file__).parent / "fronted" / "fronted_app.py", place)
        upstream, trusted = (f"unix:{place}/socket", "unix") if request.param == "unix" else ("127.0.0.1:8000",) * 2
        options = ("-s", "2", "-t", "4", "-l", "/dev/null", "--forwarded-allow-ips", trusted.partition(":")[0])
        with (
            inside(machines.network(0)),
            Server("fronted_app:application", *options, cwd=place, bind=upstream) as server,
            running(proxy(place, upstream), place),
        ):
            until(answers, "the proxy serves")
            yield Fronted(server, place / "fronted_app.py")


@contextlib.contextmanager
def running(command: list[str], place: Path) -> Iterator[None]:
    environment = os.environ | {"HOME": str(place), "XDG_DATA_HOME": str(place), "XDG_CONFIG_HOME": str(place)}
    with (place / "proxy.log").open("wb") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment)
    try:
        yield
        assert process.poll() is None
    except BaseException as error:
        error.add_note((place / "proxy.log").read_text()[-5000:])
        raise
    finally:
        process.terminate()
        process.wait(DEADLINE)


def answers() -> bool:
    with contextlib.suppress(OSError):
        return asked("/", {})[0] == 200
    return False


def asked(path: str, fields: dict[str, str]) -> tuple[int, bytes, dict[str, str]]:
    """Ask from the client's address and return the status, the content and the fields, with small letters."""
    connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=30, source_address=(CLIENT, 0))
    with contextlib.closing(connection):
        connection.request("GET", path, headers={"Host": "www.example.com", **fields})
        response = connection.getresponse()
        return response.status, response.read(), {name.lower(): value for name, value in response.getheaders()}


@pytest.mark.parametrize("fields", [{}, FORGED], ids=["plain", "forged"])
def test_the_site_is_told_who_its_client_is(fronted: Fronted, fields: dict[str, str]) -> None:
    status, content, _ = asked("/environ", fields)
    found = json.loads(content)
    assert (status, found["REMOTE_ADDR"], found["wsgi.url_scheme"], found["SCRIPT_NAME"]) == (200, CLIENT, "http", "")
    assert (found["HTTP_HOST"], found["SERVER_PORT"]) == ("www.example.com", "80")
    assert "WARNING" not in fronted.server.log()


def test_static_files_are_the_proxys(fronted: Fronted) -> None:
    status, content, fields = asked("/static/site.css", {})
    assert (status, content, fields["content-type"].partition(";")[0]) == (200, STATIC, "text/css")
    assert fields.get("server") != "spawning"


def test_a_file_that_the_site_hands_out_is_sent_by_the_proxy(fronted: Fronted) -> None:
    assert asked("/report", {})[:2] == (200, REPORT)
    status, content, _ = asked("/report", {"Range": "bytes=2-7"})
    assert (status, content) == (206, b"report")
    assert asked("/protected/report.txt", {})[1] != REPORT


def test_a_reload_behind_the_proxy_loses_no_request(fronted: Fronted) -> None:
    text = fronted.code.read_text()
    with Load(PORT, fresh=2, kept=4) as load:
        for version in ("2", "3"):
            fronted.code.write_text(text.replace('VERSION = "1"', f'VERSION = "{version}"'))
            assert fronted.server.reload()
            load.wait_for(int(version))
    assert load.failures == []
