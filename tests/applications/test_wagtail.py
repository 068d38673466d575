"""Wagtail: a page and a picture, from its editor to its readers, through reloads."""

import concurrent.futures
import re
import struct
import zlib
from collections.abc import Iterator
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import httpx
import pytest

from applications.djangos import Person, prepare, python
from applications.holding import LONG, held, reload_meanwhile, serve
from integration.gate import Gate
from integration.server import Server


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    assert find_spec("wagtail"), "install the dependency group applications: wagtail"
    place = tmp_path_factory.mktemp("wagtail")
    python("-c", "from wagtail.bin.wagtail import main; main()", "start", "paper", str(place), cwd=place)
    prepare(place, "paper")
    return place


@pytest.fixture
def server(project: Path, gate: Gate) -> Iterator[Server]:
    with serve("held_site:application", gate, {"DJANGO_SETTINGS_MODULE": "paper.settings.dev"}, project) as server:
        yield server


def picture(side: int) -> bytes:
    """Return a PNG of that many pixels a side, in grey."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + bytes((x * y) % 251 for x in range(side)) for y in range(side))
    head = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def test_a_page_is_published_during_a_reload(server: Server, gate: Gate) -> None:
    editor = Person(server.url, "/admin/login/?next=/admin/")
    (home,) = set(re.findall(r"/admin/pages/(\d+)/edit/", editor.see("/admin/pages/"))) - {"1"}
    path = f"/admin/pages/add/home/homepage/{home}/"
    fields = {"title": "News of today", "slug": "news", "action-publish": "1"}
    fields |= {f"comments-{name}": "0" for name in ("TOTAL_FORMS", "INITIAL_FORMS", "MIN_NUM_FORMS", "MAX_NUM_FORMS")}
    with concurrent.futures.ThreadPoolExecutor(1) as pool, held(gate, f"POST {path}"):
        publishing = pool.submit(partial(editor.send, path, fields))
        reload_meanwhile(server, gate)
        assert "News of today" in publishing.result(LONG).text
    assert httpx.get(f"{server.url}/news/").status_code == 200
    assert "News of today" in editor.see(f"/admin/pages/{home}/")


def test_a_picture_is_uploaded_during_a_reload(server: Server, gate: Gate) -> None:
    editor = Person(server.url, "/admin/login/?next=/admin/")
    path = "/admin/images/add/"
    with concurrent.futures.ThreadPoolExecutor(1) as pool, held(gate, f"POST {path}"):
        sent = {"file": ("grey.png", picture(600))}
        sending = pool.submit(partial(editor.send, path, {"title": "Grey"}, sent))
        reload_meanwhile(server, gate)
        assert sending.result(LONG).url.endswith("/admin/images/")  # where it leads when all was right
    assert 'title="Grey"' in editor.see("/admin/images/") or "Grey" in editor.see("/admin/images/?q=Grey")
