"""Static files by WhiteNoise, a middleware: no proxy in front, sent by Spawning as files (``wsgi.file_wrapper``)."""

import gzip
import shutil
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from integration.client import Client
from integration.server import Server

CONTENT = b"body { color: teal }\n" * 50_000


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    assert find_spec("whitenoise"), "install the dependency group deploy: whitenoise"
    place = tmp_path_factory.mktemp("site")
    for path in (Path(__file__).parent / "fronted").glob("*.py"):
        shutil.copy(path, place)
    (place / "static").mkdir()
    (place / "static" / "site.css").write_bytes(CONTENT)
    (place / "static" / "site.css.gz").write_bytes(gzip.compress(CONTENT))
    with Server("whitenoise_app:application", "-s", "2", "-t", "4", "-l", "/dev/null", cwd=place) as server:
        yield server


def test_files_in_whole_in_part_and_not_again(server: Server) -> None:
    with Client(server.port) as client:
        answer = client.get("/static/site.css")
        assert (answer.status, answer.body, answer["content-type"]) == (200, CONTENT, 'text/css; charset="utf-8"')
        assert client.get("/static/site.css", "Range: bytes=0-3").body == b"body"
        assert client.get("/static/site.css", f"If-None-Match: {answer['etag']}").status == 304
        head = client.get("/static/site.css", method="HEAD")
        assert (head.status, head["content-length"]) == (200, str(len(CONTENT)))
        packed = client.get("/static/site.css", "Accept-Encoding: gzip")
        assert (packed["content-encoding"], gzip.decompress(packed.body)) == ("gzip", CONTENT)
        assert client.get("/").text == "1"


def test_a_reload_between_two_files_of_a_connection(server: Server) -> None:
    with Client(server.port) as client:
        assert client.get("/static/site.css").body == CONTENT
        assert server.reload()
        assert client.get("/static/site.css").body == CONTENT
