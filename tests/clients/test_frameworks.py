"""Flask and Pyramid, each asked by ``requests`` and by ``httpx``: what people build sites of works the same."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import requests

from clients.big import Body, sha256
from integration.client import Client
from integration.server import Server

APPS = Path(__file__).parent / "apps"
Session = requests.Session | httpx.Client


@pytest.fixture(scope="module", params=["flask_pages:app", "pyramid_pages:application"])
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Each framework's application; the file that it sends has 300 KB."""
    path = tmp_path_factory.mktemp("file") / "file.bin"
    path.write_bytes(bytes(range(250)) * 1200)
    os.utime(path, (1_700_000_000, 1_700_000_000))
    with Server(
        request.param, "-s", "2", "-t", "4", "-l", "/dev/null", cwd=APPS, env={"PAGES_FILE": str(path)}
    ) as site:
        yield site


@pytest.fixture(params=["requests", "httpx"])
def session(request: pytest.FixtureRequest) -> Iterator[Session]:
    """A client that keeps its connection and its cookies, and follows redirects."""
    made: Session = requests.Session() if request.param == "requests" else httpx.Client(follow_redirects=True)
    with made:
        yield made


def test_a_form_a_session_cookies_and_a_redirect(site: Server, session: Session) -> None:
    assert session.get(f"{site.url}/me").json()["user"] is None
    answer = session.post(f"{site.url}/login", data={"user": "Zoë & co"})
    assert [step.status_code for step in (*answer.history, answer)] == [303, 200]
    seen = answer.json()
    assert (seen["user"], seen["flashed"], seen["cookies"]["size"]) == ("Zoë & co", ["welcome"], "large")
    assert session.get(f"{site.url}/me").json()["flashed"] == []


@pytest.mark.parametrize("size", [0, 1000, 1 << 20])
def test_an_upload_in_a_form(site: Server, session: Session, size: int) -> None:
    content = os.urandom(size)
    sent: dict[str, Any] = {"data": {"note": "ä & ö"}, "files": {"file": ("name.bin", content)}}
    answer = session.post(f"{site.url}/upload", **sent).json()
    assert answer == {"name": "name.bin", "sha256": sha256(iter([content])), "note": "ä & ö"}


def test_a_body_of_unknown_length(site: Server, session: Session) -> None:
    body = Body(5)
    sent: dict[str, Any] = {"data": iter(body)} if isinstance(session, requests.Session) else {"content": iter(body)}
    answer = session.post(f"{site.url}/raw", **sent)
    assert answer.request.headers["Transfer-Encoding"] == "chunked"
    assert answer.json() == {"sha256": body.sha256}


def test_json_both_ways(site: Server, session: Session) -> None:
    value = {"list": [1, 2.5, None, "ä"], "nested": {"empty": {}}}
    assert session.post(f"{site.url}/json", json=value).json() == {"got": value}


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
def test_other_methods(site: Server, session: Session, method: str) -> None:
    assert session.request(method, f"{site.url}/any", data={"a": "b"}).json() == {"method": method, "body": "a=b"}


def test_a_stream(site: Server, session: Session) -> None:
    answer = session.get(f"{site.url}/stream?lines=5000")
    assert answer.headers["Transfer-Encoding"] == "chunked"
    assert answer.text == "".join(f"line {number}\n" for number in range(5000))


def test_a_file_and_its_conditions(site: Server, session: Session) -> None:
    answer = session.get(f"{site.url}/file")
    assert answer.content == bytes(range(250)) * 1200
    assert answer.headers["Last-Modified"] == "Tue, 14 Nov 2023 22:13:20 GMT"
    again = session.get(f"{site.url}/file", headers={"If-Modified-Since": answer.headers["Last-Modified"]})
    assert (again.status_code, again.content) == (304, b"")
    assert session.head(f"{site.url}/file").content == b""
    assert session.get(f"{site.url}/me").status_code == 200


def test_a_part_of_a_file(site: Server, session: Session) -> None:
    answer = session.get(f"{site.url}/file", headers={"Range": "bytes=250-749"})
    assert (answer.status_code, answer.headers["Content-Range"]) == (206, "bytes 250-749/300000")
    assert answer.content == bytes(range(250)) * 2


def test_what_werkzeug_makes_of_a_function_is_served_and_reloaded(tmp_path: Path) -> None:
    """``functools.wraps`` has it look like the function inside, which takes a request only."""
    source = (
        "from werkzeug.wrappers import Request, Response\n"
        "@Request.application\n"
        "def site(request):\n"
        "    return Response({!r})\n"
    )
    path = tmp_path / "decorated.py"
    path.write_text(source.format("first"))
    with Server("decorated:site", "-s", "1", cwd=tmp_path) as server:
        assert requests.get(server.url, timeout=30).text == "first"
        path.write_text(source.format("second"))
        assert server.reload()
        assert requests.get(server.url, timeout=30).text == "second"


def test_many_requests_need_one_connection(site: Server) -> None:
    with Client(site.port) as client:
        answers = [client.get("/me") for _ in range(50)]
    assert {(answer.status, answer.closes) for answer in answers} == {(200, False)}
